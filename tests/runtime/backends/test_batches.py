from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weaksvr.runtime.backends.batches import choose_profile, parts_of
from weaksvr.runtime.engine_file import Profile, ShapeRange
from weaksvr.runtime.errors import BundleError


def profile(low: int, usual: int, high: int, width: int = 3) -> Profile:
    return Profile(inputs=(ShapeRange(name="x", min=(low, width), opt=(usual, width), max=(high, width)),))


def batch(rows: int, width: int = 3) -> dict[str, np.ndarray]:
    return {"x": np.arange(rows * width).reshape(rows, width)}


@pytest.mark.parametrize(("rows", "number"), [(1, 0), (2, 0), (3, 1), (8, 1)])
def test_the_profile_for_the_smallest_batches_that_fits(rows, number):
    assert choose_profile([profile(1, 1, 2), profile(1, 4, 8)], batch(rows)) == number
    assert choose_profile([profile(1, 4, 8), profile(1, 1, 2)], batch(rows)) == 1 - number


@given(rows=st.integers(1, 200), largest=st.integers(1, 20))
def test_parts_are_few_and_nearly_equal(rows, largest):
    given_rows = batch(rows)
    parts = [part["x"] for part in parts_of([profile(1, 1, 1), profile(1, 1, largest)], given_rows)]
    np.testing.assert_array_equal(np.concatenate(parts), given_rows["x"])
    sizes = [len(part) for part in parts]
    assert len(sizes) == -(-rows // largest)
    assert max(sizes) - min(sizes) <= 1


def test_a_remainder_is_not_too_small():
    assert [len(part["x"]) for part in parts_of([profile(4, 8, 8)], batch(9))] == [4, 5]


@pytest.mark.parametrize(
    ("inputs", "shape"),
    [
        (batch(3), r"\(3, 3\)"),
        (batch(0), r"\(0, 3\)"),
        (batch(5, width=4), r"\(5, 4\)"),
        ({"x": np.zeros(5)}, r"\(5,\)"),
        ({"x": np.zeros(())}, r"\(\)"),
    ],
)
def test_what_fits_no_profile_is_named(inputs, shape):
    message = rf"x of shape {shape} fits no profile of the engine, which takes \(4, 3\) to \(8, 3\), or \(6, 3\) to"
    with pytest.raises(BundleError, match=message):
        list(parts_of([profile(4, 4, 8), profile(6, 6, 16)], inputs))
