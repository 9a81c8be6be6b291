"""The moments that are shown side by side."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from weaksvr.runtime.explain import Aligned, Difference, Explanation, Shown
from weaksvr.runtime.report_moments import MOST, choose_moments

times = st.floats(0, 600)
spans = st.tuples(times, times).map(lambda pair: (min(pair), max(pair)))


def explanation(differences=(), aligned=(), unlike=((1, 2), (3, 4))):
    return Explanation(
        summary="",
        differences=tuple(differences),
        steps=(),
        shown_a=(Shown(start=0, end=9, label=0),),
        shown_b=(Shown(start=0, end=9, label=0),),
        aligned=tuple(aligned),
        most_unlike=unlike,
    )


def pair(start, stop, rows):
    step = (stop - start) / rows
    seconds = tuple((start + step * row, start + step * row) for row in range(rows))
    return Aligned(a=(start, stop), b=(start, stop), times=seconds)


def test_differences_stand_between_their_neighbours():
    found = choose_moments(
        explanation(
            [
                Difference(kind="missing", a=(4, 6), text=""),
                Difference(kind="extra", b=(7, 9), text=""),
                Difference(kind="swapped", a=(10, 12), b=(13, 15), other_a=(12, 14), other_b=(11, 13), text=""),
            ],
            [pair(0, 4, 2), pair(6, 7, 1)],
        )
    )
    assert [(each.a, each.b, each.mark, each.number) for each in found] == [
        (0.0, 0.0, "counterpart", None),
        (2.0, 2.0, "counterpart", None),
        (5.0, None, "missing", 1),
        (6.0, 6.0, "counterpart", None),
        (None, 8.0, "extra", 2),
        (11.0, 14.0, "swapped", 3),
        (13.0, 12.0, "swapped", 3),
    ]


def test_every_stretch_comes_before_any_comes_twice():
    found = choose_moments(explanation(aligned=[pair(0, 100, 40), *(pair(100 + i, 101 + i, 1) for i in range(5))]))
    assert len(found) == 10
    assert sum(each.a < 100 for each in found) == 5


def test_where_nothing_was_found_the_least_alike_place_is_shown():
    (found,) = choose_moments(explanation(), different=True)
    assert (found.a, found.b, found.mark) == (1.5, 3.5, "least alike")
    assert choose_moments(explanation()) == ()


@given(
    st.lists(st.builds(Difference, kind=st.just("missing"), a=spans, text=st.just("")), max_size=40),
    st.lists(st.builds(pair, st.just(0.0), times.map(lambda end: end + 1), st.integers(1, 30)), max_size=20),
)
def test_never_too_many_and_counterparts_among_them(differences, aligned):
    found = choose_moments(explanation(differences, aligned))
    assert len(found) <= MOST
    assert bool(differences) is any(each.mark == "missing" for each in found)
    assert bool(aligned) is any(each.mark == "counterpart" for each in found)
    assert [each.a for each in found] == sorted(each.a for each in found)
