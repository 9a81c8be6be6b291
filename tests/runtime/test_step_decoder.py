"""The decoders against exhaustive search, and on planted answers."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from weaksvr.runtime.errors import OptionError
from weaksvr.runtime.step_decoder import Segment, segments_in_any_order, segments_in_order

GAINS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(1, 3)),
    elements=st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]),
)
COSTS = st.sampled_from([0.0, 0.5, 1.0])


def best_in_order(gain, min_frames, segment_cost, missing_cost):
    num_frames, num_steps = gain.shape

    @functools.cache
    def best(step, first):
        if step == num_steps:
            return 0.0
        values = [best(step + 1, first) - missing_cost]
        for start in range(first, num_frames):
            values += [
                best(step + 1, stop) + gain[start:stop, step].sum() - segment_cost
                for stop in range(start + min_frames, num_frames + 1)
            ]
        return max(values)

    return best(0, 0)


def best_in_any_order(gain, min_frames, segment_cost):
    num_frames, num_steps = gain.shape

    @functools.cache
    def best(first):
        if first == num_frames:
            return 0.0
        values = [best(first + 1)]
        for stop in range(first + min_frames, num_frames + 1):
            values += [best(stop) + gain[first:stop, step].sum() - segment_cost for step in range(num_steps)]
        return max(values)

    return best(0)


def value(segments, gain, segment_cost):
    return sum(gain[s.start : s.stop, s.step].sum() - segment_cost for s in segments)


def check_apart(segments, min_frames, num_frames):
    assert all(0 <= s.start <= s.stop - min_frames and s.stop <= num_frames for s in segments)
    assert all(a.stop <= b.start for a, b in itertools.pairwise(segments))


@settings(max_examples=150, deadline=None)
@given(gain=GAINS, min_frames=st.integers(1, 4), segment_cost=COSTS, missing_cost=COSTS)
def test_in_order_is_the_best_of_all(gain, min_frames, segment_cost, missing_cost):
    options = {"min_frames": min_frames, "segment_cost": segment_cost, "missing_cost": missing_cost}
    found = segments_in_order(gain, **options)
    check_apart(found, min_frames, len(gain))
    assert all(a.step < b.step for a, b in itertools.pairwise(found))
    missing = gain.shape[1] - len(found)
    assert value(found, gain, segment_cost) - missing * missing_cost == pytest.approx(best_in_order(gain, **options))
    assert segments_in_order(gain, **options) == found


@settings(max_examples=150, deadline=None)
@given(gain=GAINS, min_frames=st.integers(1, 4), segment_cost=COSTS)
def test_any_order_is_the_best_of_all(gain, min_frames, segment_cost):
    options = {"min_frames": min_frames, "segment_cost": segment_cost}
    found = segments_in_any_order(gain, **options)
    check_apart(found, min_frames, len(gain))
    assert value(found, gain, segment_cost) == pytest.approx(best_in_any_order(gain, **options))


@given(gain=GAINS)
def test_any_order_is_never_worse_than_in_order(gain):
    both = segments_in_any_order(gain), segments_in_order(gain)
    assert value(both[0], gain, 0) >= value(both[1], gain, 0) - 1e-9


def planted(spans, num_frames, num_steps):
    gain = np.full((num_frames, num_steps), -1.0)
    for start, stop, step in spans:
        gain[start:stop, step] = 1.0
    return gain


def test_finds_what_was_planted():
    gain = planted([(2, 5, 0), (5, 9, 1), (12, 15, 2)], 20, 3)
    expected = (Segment(2, 5, 0), Segment(5, 9, 1), Segment(12, 15, 2))
    assert segments_in_order(gain, min_frames=2) == expected
    assert segments_in_any_order(gain, min_frames=2) == expected


def test_a_step_that_does_not_happen_has_no_segment():
    gain = planted([(2, 5, 0), (12, 15, 2)], 20, 3)
    assert [s.step for s in segments_in_order(gain, min_frames=2)] == [0, 2]


def test_a_missing_step_is_forced_in_where_missing_costs_more():
    gain = planted([(2, 5, 0), (12, 15, 2)], 20, 3)
    assert [s.step for s in segments_in_order(gain, min_frames=2, missing_cost=5.0)] == [0, 1, 2]


def test_equal_columns_share_what_is_shown_twice():
    gain = planted([(2, 5, 0), (9, 12, 0)], 20, 1)[:, [0, 0]]
    assert segments_in_order(gain, min_frames=2) == (Segment(2, 5, 0), Segment(9, 12, 1))


def test_a_video_shorter_than_a_segment_shows_nothing():
    assert segments_in_order(np.ones((2, 2)), min_frames=3) == ()
    assert segments_in_any_order(np.ones((2, 2)), min_frames=3) == ()


@pytest.mark.parametrize("decode", [segments_in_order, segments_in_any_order])
@pytest.mark.parametrize(
    ("gain", "options", "message"),
    [
        (np.zeros((0, 2)), {}, "at least one frame and one step"),
        (np.zeros(3), {}, r"must be \(T, K\)"),
        (np.array([[np.nan]]), {}, "NaN or infinite"),
        (np.array([[-np.inf]]), {}, "NaN or infinite"),
        (np.zeros((2, 2)), {"min_frames": 0}, "must be at least 1"),
        (np.zeros((2, 2)), {"segment_cost": -1.0}, "at least 0"),
    ],
)
def test_refuses_what_cannot_be_meant(decode, gain, options, message):
    with pytest.raises(OptionError, match=message):
        decode(gain, **options)
