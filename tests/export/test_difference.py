from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from weaksvr.export.difference import Difference
from weaksvr.export.limits import DEFAULT_LIMITS
from weaksvr.runtime.errors import ExportError

LOOSE = dataclasses.replace(DEFAULT_LIMITS["int8"], difference=1e9, cosine=0.0)


def difference(wanted, found):
    wanted, found = np.array(wanted, np.float32), np.array(found, np.float32)
    return Difference.of("it", wanted, found, rows=[f"row {row}" for row in range(len(wanted))])


def test_the_numbers():
    found = difference([[3, 4], [0, 2]], [[3, 4.5], [1, 2]])
    assert (found.absolute, found.where, found.where_cosine) == (1.0, "row 1", "row 1")
    assert found.relative == pytest.approx(1 / np.sqrt((9 + 16 + 0 + 4) / 4))
    assert found.cosine == pytest.approx(2 / np.sqrt(5))
    assert found.finite


def test_rows_of_zeros_have_a_direction_only_if_both_are():
    assert difference([[0, 0]], [[0, 0]]).cosine == 1.0
    assert difference([[0, 0]], [[0, 1]]).cosine == 0.0
    assert difference([[0, 0]], [[0, 1]]).relative == 1.0


def test_the_worse_of_two_in_every_respect():
    turned = dataclasses.replace(difference([[1, 0]], [[0.5, 0.5]]), where_cosine="turned")
    longer = dataclasses.replace(difference([[1, 0]], [[9, 0]]), where="longer")
    for merged in (turned.merged(longer), longer.merged(turned)):
        assert (merged.absolute, merged.where) == (8.0, "longer")
        assert (merged.cosine, merged.where_cosine) == (pytest.approx(np.sqrt(0.5)), "turned")
    broken = difference([[1, 0]], [[np.nan, 0]])
    assert not turned.merged(broken).finite
    assert not broken.merged(turned).finite


def test_refusals_name_the_row_and_the_amount():
    found = difference([[1, 0], [0, 1]], [[1, 0], [0.2, 0.9]])
    assert found.refusals(LOOSE) == []
    (said,) = found.refusals(dataclasses.replace(LOOSE, difference=0.1))
    assert said == "it: differs from PyTorch by 0.2, 0.283 of its size, more than 0.1, at row 1"
    (said,) = found.refusals(dataclasses.replace(LOOSE, cosine=0.99))
    assert said == "it: has a cosine of 0.976187 with PyTorch's, less than 0.99, at row 1"
    for value in (np.nan, np.inf):
        (said,) = difference([[1, 0], [0, 1]], [[1, 0], [value, 0]]).refusals(LOOSE)
        assert said == "it: computes values that are no numbers (NaN or infinite), first at row 1"


def test_what_cannot_be_compared():
    with pytest.raises(ExportError, match=r"it: the export gives shape \(1, 3\), PyTorch \(1, 2\)"):
        difference([[1, 0]], [[1, 0, 0]])
    with pytest.raises(ExportError, match="PyTorch itself computes values that are no numbers; train the model again"):
        difference([[np.nan, 0]], [[1, 0]])
