"""The tables of the paper: which trainings stand for them, what is counted, and that the pages show the results."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "paper_tables.json"


@pytest.fixture(scope="module")
def tables():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("paper_tables")


@pytest.fixture(scope="module")
def rows(tables):
    return importlib.import_module("paper_rows").ROWS


def named(rows, table, label):
    (row,) = [row for row in rows if (row.table, row.label) == (table, label)]
    return row


def test_the_rows_are_the_published_ones(rows):
    counts = {table: sum(1 for row in rows if row.table == table and row.published) for table in range(1, 7)}
    assert counts == {1: 6, 2: 7, 3: 4, 4: 12, 5: 4, 6: 4}
    assert named(rows, 1, "Ours").published == {"CSV": 79.80, "Diving48-SV": 85.19, "COIN-SV": 52.56}
    assert named(rows, 2, "Ours").published["CSV"] == 86.92
    assert named(rows, 6, "viterbi").published == {"CSV": 78.46}


def test_rows_of_equal_settings_share_a_training(tables, rows):
    shared = [(1, "Ours"), (2, "Ours (weak)"), (3, "Ours"), (4, "CLIP ViT, coarse and fine"), (6, "sort")]
    assert {tables.run_name(named(rows, *row)) for row in shared} == {"table1/ours"}
    assert tables.run_name(named(rows, 6, "no fine loss")) == tables.run_name(named(rows, 1, "CLIP+TE+MLP"))
    ours = [tables.run_name(row) for row in rows if row.changes]
    assert len(set(ours)) == 6  # in Tables 1, 3 and 6 the same, in Tables 2 and 5 the same, four more forms
    runs = tables.planned(rows, epochs=2, samples=32, cache="")
    assert len({(run.name, run.seed) for run in runs}) == len(runs)
    for row in rows:
        assert {run.seed for run in runs if run.name == tables.run_name(row)} >= set(range(row.seeds))


def test_rows_differ_in_what_their_table_is_about(tables, rows):
    paper_rows = importlib.import_module("paper_rows")

    def settings(table, label):
        return paper_rows.small_config(named(rows, table, label), seed=0, epochs=2, samples=32, cache="").to_json()

    pooled, learned = settings(1, "CLIP+TE+Pool"), settings(1, "CLIP+TE+MLP")
    assert pooled.pop("preset") != learned.pop("preset")
    assert pooled["model"].pop("video_vector") == "pool" != learned["model"].pop("video_vector")
    assert pooled == learned
    with_fine, without = settings(5, "with fine"), settings(5, "classes")
    assert with_fine["loss"].pop("fine") == "sort"
    assert without["loss"].pop("fine") == "none"
    assert {**with_fine, "preset": ""} == {**without, "preset": ""}
    assert with_fine["data"]["pairs"]
    assert with_fine["data"]["batch_size"] * 2 == learned["data"]["batch_size"]


def planted(tables, rows, aucs):
    runs = [
        {"name": tables.run_name(named(rows, 6, label)), "seed": seed, "test": {"vector": auc, "alignment": 0.5}}
        for label, values in aucs.items()
        for seed, auc in enumerate(values)
    ]
    return {"runs": runs}


def test_orders_are_counted_by_the_mean_of_the_seeds(tables, rows):
    six = [row for row in rows if row.table == 6]
    document = planted(tables, rows, {"no fine loss": [0.6, 0.7], "split": [0.66], "viterbi": [0.8], "sort": [0.7]})
    orders = {row.label: tables.order_of(row, six, document, "vector") for row in six if row.published}
    # published: split < none < viterbi < sort; here none < split < sort < viterbi
    assert orders == {"no fine loss": (2, 3), "split": (2, 3), "viterbi": (2, 3), "sort": (2, 3)}
    assert tables.order_of(named(six, 6, "(order, batch)"), six, document, "vector") == (0, 0)
    text = tables.table_text(document, 6)
    assert "| no fine loss | 74.82 | 65.0 ± 5.0 | 50.0 ± 0.0 | 2 of 3 |" in text
    assert "| (order, batch) |  | - | - |  |" in text


def test_the_text_goes_between_the_markers(tables, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{tables.MARKERS[0]}\nold\n{tables.MARKERS[1]}\nafter\n")
    tables.write_page(page, "new\n")
    assert page.read_text() == f"before\n{tables.MARKERS[0]}\n\nnew\n\n{tables.MARKERS[1]}\nafter\n"
    page.write_text("nothing")
    with pytest.raises(SystemExit, match="has no place for the tables"):
        tables.write_page(page, "new\n")


def test_the_pages_show_the_results(tables):
    document = json.loads(RESULTS.read_text())
    assert tables.tables_text(document) in (ROOT / "docs" / "results.md").read_text()
    assert tables.fine_losses_text(document) in (ROOT / "docs" / "fine_losses.md").read_text()


def test_every_row_was_trained_as_often_as_it_says(tables, rows):
    document = json.loads(RESULTS.read_text())
    done = {(run["name"], run["seed"]) for run in document["runs"]}
    for row in rows:
        assert {(tables.run_name(row), seed) for seed in range(row.seeds)} <= done
