from __future__ import annotations

import itertools

import numpy as np
import pytest
from weaksvr.train.datasets.workbench.schedule import FRAMES_PER_SECOND, draw_schedule


@pytest.mark.parametrize("num_base_steps", [4, 5, 6, 7])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_schedules_keep_to_the_limits(num_base_steps, more):
    steps = tuple("abcdefgh"[: num_base_steps + more])
    rng = np.random.default_rng(num_base_steps)
    for _ in range(200):
        schedule = draw_schedule(steps, num_base_steps=num_base_steps, rng=rng)
        segments = schedule.segments
        assert 10 <= schedule.num_frames / FRAMES_PER_SECOND <= 20
        assert tuple(segment.step for segment in segments) == steps
        assert segments[0].start > 0
        assert segments[-1].end < schedule.num_frames
        assert all(a.end <= b.start for a, b in itertools.pairwise(segments))
        lengths = [(segment.end - segment.start) / FRAMES_PER_SECOND for segment in segments]
        assert min(lengths) >= 1.2
        assert max(lengths) <= 3.5


def test_length_does_not_depend_on_the_number_of_steps_done():
    lengths = [
        np.mean(
            [
                draw_schedule(tuple("abcdefg"[:k]), num_base_steps=5, rng=np.random.default_rng(seed)).num_frames
                for seed in range(300)
            ]
        )
        for k in (4, 5, 6)
    ]
    assert lengths[0] == lengths[1] == lengths[2]
