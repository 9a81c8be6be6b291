"""Planted likenesses of frames and steps: what is found of them."""

from __future__ import annotations

import numpy as np
import pytest
from weaksvr.runtime.errors import OptionError
from weaksvr.runtime.step_finding import TimelineSettings, find_steps, gaps

SECONDS = 0.25  # a frame


def find(shown, columns, **changes):
    """`shown`: one text number a frame, or None where nothing is shown; the likeness to it is 0.7, to others 0."""
    num_texts = max(columns) + 1
    cosines = np.array([[0.7 if text == one else 0.0 for text in range(num_texts)] for one in shown])
    edges = SECONDS * np.arange(len(shown) + 1)
    return find_steps(cosines, np.array(columns), edges, TimelineSettings(**changes))


def spans(segments):
    return [(s.step, s.start, s.stop) for s in segments]


def test_in_order():
    found = find([None] * 2 + [0] * 4 + [None] * 3 + [1] * 5 + [2] * 4, [0, 1, 2])
    assert spans(found.in_order) == [(0, 2, 6), (1, 9, 14), (2, 14, 18)]
    assert not found.displaced
    assert not found.repeats
    assert (found.confidence > 0.9).all()


def test_swapped_steps():
    found = find([0] * 4 + [2] * 6 + [1] * 4 + [3] * 4, [0, 1, 2, 3])
    assert spans(found.in_order) == [(0, 0, 4), (2, 4, 10), (3, 14, 18)]
    assert spans(found.displaced) == [(1, 10, 14)]
    assert not found.repeats


def test_repeated_step():
    found = find([0] * 6 + [1] * 6 + [0] * 4, [0, 1])
    assert spans(found.in_order) == [(0, 0, 6), (1, 6, 12)]
    assert spans(found.repeats) == [(0, 12, 16)]
    assert len(found.repeat_confidence) == 1


def test_missing_step_and_the_confidence_of_its_absence():
    found = find([0] * 6 + [2] * 6, [0, 1, 2])
    assert spans(found.in_order) == [(0, 0, 6), (2, 6, 12)]
    assert found.confidence[1] > 0.9
    weak = np.array([[0.7, 0.0, 0.0]] * 6 + [[0.0, 0.45, 0.7]] * 6)
    doubtful = find_steps(weak, np.arange(3), SECONDS * np.arange(13), TimelineSettings())
    assert spans(doubtful.in_order) == spans(found.in_order)
    assert doubtful.confidence[1] < 0.5


def test_a_missing_second_time_is_judged_by_what_the_first_does_not_hold():
    found = find([0] * 6 + [1] * 6, [0, 1, 0])
    assert [s.step for s in found.in_order] == [0, 1]
    assert found.confidence[2] > 0.9
    assert np.isfinite(find([0] * 3, [0, 0, 0]).confidence).all()


def test_equal_texts():
    assert spans(find([0] * 4 + [1] * 4 + [0] * 4, [0, 1, 0]).in_order) == [(0, 0, 4), (1, 4, 8), (2, 8, 12)]
    twice_in_a_row = find([0] * 4 + [None] * 4 + [0] * 4, [0, 0])
    assert spans(twice_in_a_row.in_order) == [(0, 0, 4), (1, 8, 12)]
    once = find([0] * 4 + [1] * 4, [0, 1, 0])
    assert [s.step for s in once.in_order] == [0, 1]


def test_one_step_script():
    assert spans(find([None] * 3 + [0] * 3, [0]).in_order) == [(0, 3, 6)]
    assert not find([None] * 6, [0]).segments


def test_segments_never_overlap_and_confidence_rises_with_likeness():
    rng = np.random.default_rng(0)
    edges = SECONDS * np.arange(41)
    for _ in range(30):
        cosines = rng.uniform(-0.3, 0.9, size=(40, 4))
        columns = rng.permutation([0, 1, 2, 3, int(rng.integers(0, 4))])
        found = find_steps(cosines, columns, edges, TimelineSettings())
        assert all(a.stop <= b.start for a, b in zip(found.segments, found.segments[1:], strict=False))
        assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
        for segment in (*found.in_order, *found.displaced):
            part = cosines[segment.start : segment.stop].copy()
            part[:, columns[segment.step]] += 0.1
            above = 1 / (1 + np.exp(-(9.13 * np.quantile(part[:, columns[segment.step]], 0.2) - 0.81)))
            assert above > found.confidence[segment.step]


def test_more_sampled_frames_find_the_same():
    cosines = np.repeat(np.eye(3) * 0.7, 4, axis=0)
    coarse = find_steps(cosines, np.arange(3), 0.5 * np.arange(13), TimelineSettings())
    fine = find_steps(np.repeat(cosines, 5, axis=0), np.arange(3), 0.1 * np.arange(61), TimelineSettings())
    assert [(s.step, 5 * s.start, 5 * s.stop) for s in coarse.in_order] == spans(fine.in_order)


def test_gaps():
    assert gaps((), 5) == [(0, 5)]
    found = find([None] * 2 + [0] * 4 + [None] * 3, [0]).in_order
    assert gaps(found, 9) == [(0, 2), (6, 9)]
    assert gaps(find([0] * 4, [0]).in_order, 4) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_seconds": 0.0}, "above 0"),
        ({"window_seconds": float("nan")}, "finite"),
        ({"phases": 0}, "above 0"),
        ({"segment_cost": -0.1}, "at least 0"),
        ({"background": -2.0}, "at least -1"),
        ({"max_unexplained_seconds": -1.0}, "at least 0"),
    ],
)
def test_settings_that_cannot_be_meant(changes, message):
    with pytest.raises(OptionError, match=message):
        TimelineSettings(**changes)
