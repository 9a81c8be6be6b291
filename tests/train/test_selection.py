from __future__ import annotations

import pytest
from weaksvr.train.config import OptimConfig
from weaksvr.train.selection import Selection, selected_on

VALUES = [(0.9, 0.5), (0.8, 0.99), (0.9, 0.6)]


def line_of(alignment, vector, split="val"):
    return {"val": None, split: {"auc_alignment": alignment, "auc_vector": vector}}


@pytest.mark.parametrize(("method", "best"), [("alignment", [0, 2]), ("vector", [0, 1])])
@pytest.mark.parametrize("split", ["val", "test"])
def test_one_method_decides_and_the_other_breaks_ties(method, best, split):
    selection = Selection.of(OptimConfig(select=split, select_method=method))
    lines = [line_of(*value, split=split) for value in VALUES]
    kept, improved = None, []
    for row, line in enumerate(lines):
        if selection.improves(line, kept):
            kept = line
            improved.append(row)
    assert improved == best
    assert not selection.improves(kept, kept)


def test_an_epoch_without_an_evaluation_is_never_the_best():
    assert not Selection(split="val", method="alignment").improves({"val": None}, None)
    assert not Selection(split="test", method="alignment").improves({**line_of(1.0, 1.0), "test": None}, None)


def test_validation_selects_unless_told_otherwise():
    assert Selection.of(OptimConfig()).record == {"selected_on": "val", "selected_by": "alignment"}
    assert Selection.of(OptimConfig()).place == "validation"
    assert Selection.of(OptimConfig(select="test")).place == "the test set"


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({"metrics": {}, "selected_on": "test"}, "test"),
        ({"metrics": {}, "selected_on": "val"}, "val"),
        ({"metrics": {}}, "val"),
        ({"imported": {}}, None),
        ({}, None),
    ],
)
def test_what_chose_the_epoch_of_a_model(facts, found):
    assert selected_on(facts) == found
