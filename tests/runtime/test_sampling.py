from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weaksvr.runtime.errors import OptionError, TooFewFramesError
from weaksvr.runtime.sampling import frame_indices, segment_indices, segments, three_view_indices, uniform_indices
from weaksvr.runtime.spec import SamplingSpec

LENGTHS = st.integers(2, 40).flatmap(lambda T: st.tuples(st.integers(T + 2, 5000), st.just(T)))


def never(parts):
    raise AssertionError("only the policy segment chooses")


@given(LENGTHS)
@settings(deadline=None, max_examples=50)
def test_segments_are_equal_and_cover_the_video(lengths):
    N, T = lengths
    found = segments(N, T)
    assert found.shape == (T, 2)
    assert (found[0, 0], found[-1, 1]) == (0, N)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(found.tolist()))
    sizes = np.diff(found, axis=1)
    assert sizes.min() >= 1
    assert sizes.max() - sizes.min() <= 1


@given(LENGTHS)
@settings(deadline=None, max_examples=50)
def test_every_policy_takes_frames_in_their_order(lengths):
    N, T = lengths
    bounds = segments(N, T)
    for policy in ("uniform", "three-view", "segment"):
        spec = SamplingSpec(policy=policy, num_frames=T)
        found = frame_indices(N, spec, choose=lambda parts: parts[:, 1] - 1)
        assert found.shape == (spec.num_views, T)
        assert (np.diff(found, axis=1) > 0).all()
        assert found.min() >= 0
        assert found.max() < N
        if policy == "segment":
            assert ((bounds[:, 0] <= found[0]) & (found[0] < bounds[:, 1])).all()
    drawn = segment_indices(N, T, np.random.default_rng(0))
    assert ((bounds[:, 0] <= drawn) & (drawn < bounds[:, 1])).all()


def test_indices_by_hand():
    assert segments(10, 4).tolist() == [[0, 2], [2, 5], [5, 7], [7, 10]]
    assert uniform_indices(10, 4).tolist() == [1, 3, 6, 8]
    assert three_view_indices(18, 4).tolist() == [[1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]]
    spec = SamplingSpec(policy="segment", num_frames=4)
    asked = []
    assert frame_indices(10, spec, choose=lambda parts: asked.append(parts) or parts[:, 0]).tolist() == [[0, 2, 5, 7]]
    assert asked[0].tolist() == segments(10, 4).tolist()
    assert frame_indices(10, SamplingSpec(num_frames=4), choose=never).tolist() == [[1, 3, 6, 8]]


def test_too_few_frames():
    for policy, needed in (("uniform", 4), ("segment", 4), ("three-view", 6)):
        spec = SamplingSpec(policy=policy, num_frames=4)
        assert frame_indices(needed, spec, choose=lambda parts: parts[:, 0]).shape[1] == 4
        with pytest.raises(TooFewFramesError, match=f"has {needed - 1} frames, but {needed} are needed"):
            frame_indices(needed - 1, spec, choose=never)


def test_policies_that_are_not_known():
    with pytest.raises(OptionError, match=r"sampling policy 'random' is not known; use one of .*segment"):
        SamplingSpec(policy="random")
    assert (SamplingSpec(policy="segment").key, SamplingSpec(policy="segment").num_views) == ("segment-16", 1)
