from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weaksvr.runtime.step_changes import Change, compare_labels

BASE = (0, 1, 2, 3, 4, 5)

ONE = {
    "exchange": ((0, 4, 2, 3, 1, 5), Change(kind="swapped", a=(1,), b=(4,), other_a=(4,), other_b=(1,))),
    "neighbours": ((0, 1, 3, 2, 4, 5), Change(kind="swapped", a=(2,), b=(3,), other_a=(3,), other_b=(2,))),
    "moved back": ((0, 2, 3, 1, 4, 5), Change(kind="swapped", a=(1,), b=(3,), other_a=(2, 3), other_b=(1, 2))),
    "moved ahead": ((0, 4, 1, 2, 3, 5), Change(kind="swapped", a=(1, 2, 3), b=(2, 3, 4), other_a=(4,), other_b=(1,))),
    "missing": ((0, 1, 3, 4, 5), Change(kind="missing", a=(2,))),
    "extra": ((0, 1, 9, 2, 3, 4, 5), Change(kind="extra", b=(2,))),
    "at the end": ((0, 1, 2, 3, 4, 5, 9), Change(kind="extra", b=(6,))),
    "repeated": ((0, 1, 2, 3, 1, 4, 5), Change(kind="repeated", b=(4,), other_a=(1,), other_b=(1,))),
    "replaced": ((0, 1, 9, 3, 4, 5), Change(kind="replaced", a=(2,), b=(2,))),
    "two for one": ((0, 1, 9, 8, 3, 4, 5), Change(kind="replaced", a=(2,), b=(2, 3))),
}


@pytest.mark.parametrize("case", ONE)
def test_one_change(case):
    other, change = ONE[case]
    assert compare_labels(BASE, other).found == (change,)


def test_the_other_way_round():
    assert compare_labels((0, 1, 2, 1, 3), (0, 1, 2, 3)).found == (
        Change(kind="repeated", a=(3,), other_a=(1,), other_b=(1,)),
    )
    assert compare_labels((0, 9, 1), (0, 1)).found == (Change(kind="missing", a=(1,)),)


def test_named_steps_are_told_one_by_one():
    assert compare_labels((0, 8, 9, 1), (0, 1)).found == (Change(kind="missing", a=(1, 2)),)
    found = compare_labels((0, 8, 9, 1), (0, 1), named=9).found
    assert found == (Change(kind="missing", a=(1,)), Change(kind="missing", a=(2,)))


def test_two_changes_at_once():
    found = compare_labels((0, 1, 2, 3, 4, 5), (0, 2, 1, 3, 5, 9)).found
    assert {(change.kind, change.a, change.b) for change in found} == {
        ("swapped", (1,), (2,)),
        ("missing", (4,), ()),
        ("extra", (), (5,)),
    }


def test_nothing_in_common():
    found = compare_labels((0, 1), (2, 3)).found
    assert found == (Change(kind="replaced", a=(0, 1), b=(0, 1)),)


LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=9).map(
    lambda labels: [label for row, label in enumerate(labels) if not row or labels[row - 1] != label]
)


@settings(max_examples=300, deadline=None)
@given(LABELS, LABELS, st.integers(0, 6))
def test_every_stretch_is_told_of_once(a, b, named):
    changes = compare_labels(a, b, named=named)
    assert all(a[i] == b[j] for i, j in changes.pairs)
    for labels, side in ((a, 0), (b, 1)):
        paired = [pair[side] for pair in changes.pairs]
        told = [row for change in changes.found if change.kind != "swapped" for row in (change.a, change.b)[side]]
        assert sorted(paired + told) == list(range(len(labels)))
    assert (not changes.found) == (a == b)
    counterpart = dict(changes.pairs)
    for change in changes.found:
        if change.kind == "swapped":
            assert [counterpart[i] for i in change.a] == list(change.b)
            assert [counterpart[i] for i in change.other_a] == list(change.other_b)
            assert max(change.a) < min(change.other_a)
            assert min(change.b) > max(change.other_b)
        if change.kind == "repeated":
            (other_a,), (other_b,) = change.other_a, change.other_b
            assert counterpart[other_a] == other_b
            assert {a[row] for row in change.a} | {b[row] for row in change.b} == {a[other_a]}
    crossing = any(i < k and j > m for i, j in changes.pairs for k, m in changes.pairs)
    assert crossing == any(change.kind == "swapped" for change in changes.found)


def test_many_stretches_take_no_search():
    a = [row % 40 for row in range(200)]
    b = a.copy()
    b[10], b[11] = b[11], b[10]
    kinds = [change.kind for change in compare_labels(a, b).found]
    assert kinds == ["swapped"]
