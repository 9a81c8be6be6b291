"""The paper's Tables 1 to 6 on rendered workbench videos: every row trained and evaluated, beside what was published.

Small towers of the same families, trained from scratch: the numbers are comparable with each other, not with the
published ones; what can be compared is the order of the rows. Finished trainings are kept in the results file and are
not repeated. The weights are those of the last epoch, nothing is chosen on the test set. The last line of stdout is the
results file's JSON document.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from paper_rows import ROWS, TABLES, Row, small_config
from training_runs import Run, complete, open_document

MARKERS = ("<!-- tables, written by benchmarks/paper_tables.py -->", "<!-- end of the tables -->")


@functools.cache
def _names() -> tuple[str, ...]:
    """A name for each of `ROWS`; rows of equal settings have that of the first one."""
    names: dict[str, str] = {}
    found = []
    for row in ROWS:
        settings = small_config(row, seed=0, epochs=1, samples=2, cache="").to_json()
        settings.pop("preset")
        own = f"{row.preset} {row.label}" if row.changes else row.preset
        found.append(names.setdefault(json.dumps(settings), own))
    return tuple(found)


def run_name(row: Row) -> str:
    """What the row's training is called in the results."""
    return _names()[ROWS.index(row)]


def planned(rows: Sequence[Row], *, epochs: int, samples: int, cache: str) -> list[Run]:
    """The trainings of all rows, each once, the first seed of every row before the second of any."""
    runs: dict[tuple[int, str], Run] = {}
    for row in sorted(rows, key=lambda row: bool(row.changes)):
        name = run_name(row)
        for seed in range(row.seeds):
            config = small_config(row, seed=seed, epochs=epochs, samples=samples, cache=cache)
            runs.setdefault((seed, name), Run(name=name, seed=seed, config=config))
    return [runs[key] for key in sorted(runs, key=lambda key: (key[1].endswith(")"), key[0]))]


def values_of(document: Mapping[str, Any], row: Row, measure: str, method: str) -> np.ndarray:
    """The row's results in percent, one a seed, float64; `measure` is a key of a run's result."""
    name = run_name(row)
    runs = [run for run in document["runs"] if run["name"] == name]
    return np.array([100 * run[measure][method] for run in runs if method in run[measure]])


def order_of(row: Row, rows: Sequence[Row], document: Mapping[str, Any], method: str) -> tuple[int, int]:
    """How many of the table's published orders with this row hold here, and how many there are; on CSV."""
    measure = "matching" if row.table == 3 else "test"
    own = values_of(document, row, measure, method)
    held = total = 0
    for other in rows:
        theirs = values_of(document, other, measure, method)
        if other is row or not other.published or not row.published or not len(own) or not len(theirs):
            continue
        published = row.published["CSV"] - other.published["CSV"]
        if published:
            total += 1
            held += (own.mean() - theirs.mean()) * published > 0
    return int(held), total


def _shown(values: np.ndarray) -> str:
    if not len(values):
        return "-"
    return f"{values.mean():.1f}" + (f" ± {values.std():.1f}" if len(values) > 1 else "")


def _lines(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown, the first column to the left and all others to the right."""
    rule = "|---|" + "---:|" * (len(heads) - 1)
    return [f"| {' | '.join(heads)} |", rule, *(f"| {' | '.join(cells)} |" for cells in rows)]


def table_text(document: Mapping[str, Any], table: int) -> str:
    """A table of the paper in Markdown."""
    rows = [row for row in ROWS if row.table == table]
    measure, unit = ("matching", "accuracy") if table == 3 else ("test", "AUC")
    datasets = [name for name in ("CSV", "Diving48-SV", "COIN-SV") if name in rows[0].published]
    heads = ["row", *(f"published, {name}" for name in datasets)]
    heads += [f"here, {unit} by vector", f"here, {unit} by alignment", "order kept"]
    cells = []
    for row in rows:
        held, total = order_of(row, rows, document, "vector")
        own = [_shown(values_of(document, row, measure, method)) for method in ("vector", "alignment")]
        published = [f"{row.published[name]:.2f}" if row.published else "" for name in datasets]
        label = row.label + ("\\*" if row.pretraining else "")
        cells.append([label, *published, *own, f"{held} of {total}" if total else ""])
    return "\n".join([f"### Table {table}: {TABLES[table]}", "", *_lines(heads, cells)]) + "\n"


def tables_text(document: Mapping[str, Any]) -> str:
    """All tables in Markdown, and what they were made with."""
    seconds, setting = [run["seconds"] for run in document["runs"]], document["setting"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    made = (
        f"{len(seconds)} trainings of {setting['epochs']} epochs of {setting['samples']} videos, {min(seconds):.0f} to "
        f"{max(seconds):.0f} s each, {sum(seconds) / 3600:.1f} hours in all; {document['machine']}; {versions}."
    )
    return "\n".join([*(table_text(document, table) for table in TABLES), made, ""])


def fine_losses_text(document: Mapping[str, Any]) -> str:
    """Everything that was measured of the rows of Table 6, in Markdown."""
    columns = [
        (f"{name}, {method}", measure, method)
        for name, measure in (("validation", "val"), ("test", "test"), ("matching", "matching"))
        for method in ("alignment", "vector")
    ]
    rows = [row for row in ROWS if row.table == 6]
    cells = [
        [row.label, *(_shown(values_of(document, row, measure, method)) for _, measure, method in columns)]
        for row in rows
    ]
    return "\n".join(_lines(["fine loss", *(head for head, _, _ in columns)], cells)) + "\n"


def write_page(page: Path, text: str) -> None:
    """Put `text` between the markers of a page."""
    before, _, rest = page.read_text().partition(MARKERS[0])
    _, found, after = rest.partition(MARKERS[1])
    if not found:
        raise SystemExit(f"{page}: has no place for the tables")
    page.write_text(f"{before}{MARKERS[0]}\n\n{text}\n{MARKERS[1]}{after}")


def main() -> None:
    """Run what is missing, print the tables, print the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="by weaksvr-make-videos, with several --takes of a procedure")
    parser.add_argument("--out", type=Path, required=True, help="results file, also what is resumed from")
    parser.add_argument("--docs", type=Path, help="folder of the pages between whose markers the tables are put")
    parser.add_argument("--tables", type=int, nargs="+", choices=tuple(TABLES), default=tuple(TABLES))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--samples", type=int, default=800, help="training videos an epoch")
    parser.add_argument("--cache", default="runs/cache", help="folder of decoded frames")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of each run")
    arguments = parser.parse_args()
    setting = {"epochs": arguments.epochs, "samples": arguments.samples}
    document = open_document(
        arguments.out, benchmark="paper_tables", setting=setting, data=arguments.data, jobs=arguments.jobs
    )
    rows = [row for row in ROWS if row.table in arguments.tables]
    runs = planned(rows, epochs=arguments.epochs, samples=arguments.samples, cache=arguments.cache)
    for run in complete(
        document,
        runs,
        data=arguments.data,
        out=arguments.out,
        jobs=arguments.jobs,
        threads=arguments.threads,
        device=arguments.device,
    ):
        print(f"{run['name']}, seed {run['seed']}: {run['test']} {run['matching']} {run['seconds']} s", flush=True)
    print(tables_text(document))
    if arguments.docs:
        write_page(arguments.docs / "results.md", tables_text(document))
        write_page(arguments.docs / "fine_losses.md", fine_losses_text(document))
    print(json.dumps(document))


if __name__ == "__main__":
    main()
