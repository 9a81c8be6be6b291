"""The paper's Tables 1 to 6 on rendered workbench videos: every row trained and evaluated, beside what was published.

Small towers of the same families, trained from scratch: the numbers are comparable with each other, not with the
published ones; what can be compared is the order of the rows. Finished trainings are kept in the results file and are
not repeated. The weights are those of the last epoch, nothing is chosen on the test set. The last line of stdout is the
results file's JSON document.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from paper_rows import ROWS, TABLES, Row, small_config
from training_runs import Run, complete, open_document

_MARKERS = ("<!-- tables, written by benchmarks/paper_tables.py -->", "<!-- end of the tables -->")


def run_name(row: Row) -> str:
    """What the row's training is called in the results: rows of equal settings share one."""
    plain = small_config(row, seed=0, epochs=1, samples=2, cache="").to_json()
    plain.pop("preset")
    for first in ROWS:
        other = small_config(first, seed=0, epochs=1, samples=2, cache="").to_json()
        other.pop("preset")
        if other == plain:
            return first.preset + (" (ours)" if first.changes else "")
    raise AssertionError("a row is equal to itself")


def planned(rows: Sequence[Row], *, epochs: int, samples: int, cache: str) -> list[Run]:
    """The trainings of all rows, each once, the first seed of every row before the second of any."""
    runs: dict[tuple[int, str], Run] = {}
    for row in rows:
        name = run_name(row)
        for seed in range(row.seeds):
            config = small_config(row, seed=seed, epochs=epochs, samples=samples, cache=cache)
            runs.setdefault((seed, name), Run(name=name, seed=seed, config=config))
    return [runs[key] for key in sorted(runs, key=lambda key: key[0])]


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


def table_text(document: Mapping[str, Any], table: int) -> str:
    """A table in Markdown."""
    rows = [row for row in ROWS if row.table == table]
    measure, unit = ("matching", "matching accuracy") if table == 3 else ("test", "AUC")
    datasets = [name for name in ("CSV", "Diving48-SV", "COIN-SV") if name in rows[0].published]
    heads = ["row", *(f"published, {name}" for name in datasets)]
    heads += [f"here, {unit} by vector", f"here, {unit} by alignment", "orders held"]
    lines = [f"### Table {table}: {TABLES[table]}", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        held, total = order_of(row, rows, document, "vector")
        cells = [row.label + ("¹" if row.pretraining else "")]
        cells += [f"{row.published[name]:.2f}" if row.published else "" for name in datasets]
        cells += [_shown(values_of(document, row, measure, method)) for method in ("vector", "alignment")]
        cells.append(f"{held} of {total}" if total else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def tables_text(document: Mapping[str, Any]) -> str:
    """All tables in Markdown."""
    return "\n".join(table_text(document, table) for table in TABLES)


def write_page(page: Path, document: Mapping[str, Any]) -> None:
    """Put the tables between the markers of a page."""
    text = page.read_text()
    before, _, rest = text.partition(_MARKERS[0])
    _, found, after = rest.partition(_MARKERS[1])
    if not found:
        raise SystemExit(f"{page}: has no place for the tables")
    page.write_text(f"{before}{_MARKERS[0]}\n\n{tables_text(document)}\n{_MARKERS[1]}{after}")


def main() -> None:
    """Run what is missing, print the tables, print the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="by weaksvr-make-videos, with several --takes of a procedure")
    parser.add_argument("--out", type=Path, required=True, help="results file, also what is resumed from")
    parser.add_argument("--page", type=Path, help="page between whose markers the tables are put")
    parser.add_argument("--tables", type=int, nargs="+", choices=tuple(TABLES), default=tuple(TABLES))
    parser.add_argument("--epochs", type=int, default=10)
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
    if arguments.page:
        write_page(arguments.page, document)
    print(json.dumps(document))


if __name__ == "__main__":
    main()
