from __future__ import annotations

import numpy as np
import pytest
from weaksvr.runtime.embedder import VideoEmbedding
from weaksvr.runtime.sampling_interval import interval_notes, sampling_interval
from weaksvr.runtime.script import parse_script


def video(times):
    rows = len(times)
    features = np.ones((rows, 3), np.float32)
    return VideoEmbedding(
        path="a.mp4",
        vector=features[0],
        frame_features=features,
        indices=np.arange(rows),
        times_seconds=np.array(times),
    )


def test_the_longest_gap_counts():
    assert sampling_interval(video([0.0, 2.0, 7.0, 8.0])) == 5.0


@pytest.mark.parametrize(("interval", "noted"), [(10.0, False), (10.5, True)])
def test_without_a_script_a_number_of_seconds_decides(interval, noted):
    notes = interval_notes(video(np.arange(4) * interval))
    assert notes == (
        ["a.mp4: a frame is looked at every 10.5 s; steps that are shorter may be missed"] if noted else []
    )


def test_with_a_script_its_steps_decide():
    sparse = video(np.arange(4) * 20.0)
    assert interval_notes(sparse, script=parse_script("a\nb\nc\nd | max 20 s", name="s")) == []
    notes = interval_notes(sparse, script=parse_script("a\nb | max 5 s\nc\nd\ne", name="s"))
    assert notes == [
        "a.mp4: 4 frames are looked at, one every 20.0 s, but the script has 5 steps: some are shorter than that and "
        "may be missed",
        "a.mp4: a frame is looked at every 20.0 s, but step 2 (b) takes at most 5 s and may be missed",
    ]
