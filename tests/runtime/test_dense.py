"""Dense frame features: which frames, in which windows, and that they are those of the frames."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weaksvr.runtime.dense import DenseVideo, dense_plan
from weaksvr.runtime.errors import BundleError, OptionError, TooFewFramesError, VideoError, VideoNotFoundError
from weaksvr.runtime.preprocess import normalize, read_frames
from weaksvr.runtime.sampling import uniform_indices
from weaksvr.runtime.verify import load
from weaksvr.runtime.video import open_video

OPTIONS = {"phases": 3, "window_seconds": 0.9, "whole_seconds": 0.0}


class Recorder:
    """A real backend that remembers what goes through it."""

    def __init__(self, backend, change=None):
        self.backend = backend
        self.change = change
        self.calls = {"vision": [], "temporal": [], "text": []}

    def __getattr__(self, name):
        return getattr(self.backend, name)

    def run(self, role, inputs):
        outputs = self.backend.run(role, inputs)
        self.calls[role].append((inputs, outputs))
        return outputs if self.change is None else self.change(role, outputs)


@pytest.fixture
def embedder(toy_bundle):
    return load(toy_bundle, device="cpu").embedder


def frame_vectors(embedder, path, indices):
    """What the toy networks say of single frames: their temporal network looks at each frame alone."""
    with open_video(path) as video:
        pixels = normalize(read_frames(video, indices, embedder.preprocess), embedder.preprocess)
    features = embedder.backend.run("vision", {"frames": pixels})["features"]
    rows = embedder.backend.run("temporal", {"features": features[None]})["frame_features"][0]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@settings(deadline=None)
@given(
    num_frames=st.integers(2, 16),
    extra=st.integers(0, 3000),
    rate=st.sampled_from([1, 10, 29.97]),
    phases=st.integers(1, 6),
    window=st.floats(0.5, 60),
    whole=st.floats(0, 100),
)
def test_plans(num_frames, extra, rate, phases, window, whole):
    total = num_frames + extra
    options = {"phases": phases, "window_seconds": window, "whole_seconds": whole}
    plan = dense_plan(total, total / rate, num_frames=num_frames, **options)
    length = plan.num_frames * plan.phases
    assert (plan.num_frames, 1 <= plan.phases <= phases) == (num_frames, True)
    assert (np.diff(plan.indices) > 0).all()
    assert 0 <= plan.indices[0] <= plan.indices[-1] < total
    assert (plan.windows[:, 1] - plan.windows[:, 0] == length).all()
    assert (plan.windows[0, 0], plan.windows[-1, 1]) == (0, len(plan.indices))
    assert (np.diff(plan.windows[:, 0]) == max(1, length // 2)).all()
    if total / rate <= max(window, whole):
        assert len(plan.windows) == 1


def test_one_window_of_one_phase_is_the_sampling_of_verification():
    plan = dense_plan(100, 10.0, num_frames=16, phases=1, window_seconds=12.0, whole_seconds=20.0)
    np.testing.assert_array_equal(plan.indices, uniform_indices(100, 16))


@pytest.mark.parametrize("seconds", [37.0, 60.0, 3600.0])
def test_windows_are_about_as_long_as_asked(seconds):
    plan = dense_plan(int(10 * seconds), seconds, num_frames=16, phases=4, window_seconds=12.0, whole_seconds=20.0)
    length = seconds * 64 / len(plan.indices)
    assert 12 / 1.25 < length < 12 * 1.25


def test_a_slow_video_is_taken_in_windows_of_enough_frames():
    plan = dense_plan(7200, 7200.0, num_frames=16, phases=4, window_seconds=12.0, whole_seconds=20.0)
    assert plan.phases == 1
    assert len(plan.indices) > 7000


@pytest.mark.parametrize("window_seconds", [0.5, 0.9, 100.0])
@pytest.mark.parametrize("phases", [1, 3])
def test_features_are_those_of_the_frames(embedder, videos, window_seconds, phases):
    with DenseVideo(videos.again, embedder, phases=phases, window_seconds=window_seconds, whole_seconds=0) as video:
        parts = list(video.features())
        expected = frame_vectors(embedder, videos.again, video.plan.indices)
        assert len(parts) == len(video.plan.windows)
        assert len(video.times_seconds) == len(video.edges_seconds) - 1 == len(video.plan.indices)
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-5)
    assert all(part.dtype == np.float32 for part in parts)


def test_every_frame_is_seen_once_and_every_phase_is_spread_over_its_window(embedder, videos):
    recorder = embedder.backend = Recorder(embedder.backend)
    with DenseVideo(videos.again, embedder, **OPTIONS) as video:
        rows = np.concatenate(list(video.features()))
        plan = video.plan
    assert len(plan.windows) > 1
    assert plan.phases > 1
    assert sum(len(inputs["frames"]) for inputs, _ in recorder.calls["vision"]) == len(rows)
    seen = np.concatenate([outputs["features"] for _, outputs in recorder.calls["vision"]])
    clips = [inputs["features"][0] for inputs, _ in recorder.calls["temporal"]]
    expected = [seen[a + p : b : plan.phases] for a, b in plan.windows for p in range(plan.phases)]
    np.testing.assert_array_equal(clips, expected)


def test_overlaps_are_averaged_with_the_weights_of_their_places(embedder, videos):
    marks = iter(np.eye(5, dtype=np.float32)[[0, 0, 1, 1, 2, 2, 3, 3, 4, 4] * 9])

    def mark(role, outputs):
        if role != "temporal":
            return outputs
        return {**outputs, "frame_features": np.broadcast_to(next(marks), outputs["frame_features"].shape)}

    embedder.backend = Recorder(embedder.backend, mark)
    with DenseVideo(videos.again, embedder, phases=2, window_seconds=0.9, whole_seconds=0) as video:
        rows = np.concatenate(list(video.features()))
        assert (video.plan.phases, len(video.plan.windows) > 2) == (2, True)
    np.testing.assert_allclose(rows[0], np.eye(5)[0], atol=1e-6)
    assert (np.diff(rows[4:8, 1]) > 0).all()  # from the first window to the second
    np.testing.assert_allclose(rows[4, 1] / rows[4, 0], 0.5 / 3.5, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)


def test_parts(embedder, videos):
    with DenseVideo(videos.first, embedder, start=0.6, end=1.8, **OPTIONS) as video:
        assert (video.times_seconds >= 0.6).all()
        assert (video.times_seconds < 1.8).all()
        assert video.edges_seconds[[0, -1]] == pytest.approx([0.6, 1.8])
        assert video.windows_seconds[0, 0] == pytest.approx(0.6)
        rows = np.concatenate(list(video.features()))
        np.testing.assert_allclose(rows, frame_vectors(embedder, videos.first, video.plan.indices), atol=1e-5)
    with DenseVideo(videos.first, embedder, start=0.6, end=99, **OPTIONS) as video:
        assert video.edges_seconds[-1] == pytest.approx(video.duration_seconds)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"start": 2.0, "end": 1.0}, OptionError, "0 <= start < end"),
        ({"start": float("nan")}, OptionError, "0 <= start < end"),
        ({"end": float("nan")}, OptionError, "0 <= start < end"),
        ({"start": -1.0}, OptionError, "0 <= start < end"),
        ({"start": 99.0}, TooFewFramesError, r"first\.mp4 from 99 s: has 0 frames"),
        ({"end": 0.15}, TooFewFramesError, r"first\.mp4 from 0 s to 0\.15 s: has 2 frames"),
        ({"phases": 0}, OptionError, "phases"),
        ({"window_seconds": 0.0}, OptionError, "window_seconds"),
        ({"whole_seconds": float("nan")}, OptionError, "whole_seconds"),
    ],
)
def test_parts_and_options_that_cannot_be_meant(embedder, videos, options, error, message):
    with pytest.raises(error, match=message):
        DenseVideo(videos.first, embedder, **{**OPTIONS, **options})


def test_a_video_that_is_not_there(embedder, tmp_path):
    with pytest.raises(VideoNotFoundError, match=json.dumps("none.mp4")[1:-1]):
        DenseVideo(tmp_path / "none.mp4", embedder, **OPTIONS)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [(np.nan, BundleError, "values that are no numbers"), (0.0, VideoError, "the network sees nothing in it")],
)
def test_networks_that_say_nothing(embedder, videos, value, error, message):
    def change(role, outputs):
        return {name: np.full_like(values, value) for name, values in outputs.items()}

    embedder.backend = Recorder(embedder.backend, change)
    with DenseVideo(videos.first, embedder, **OPTIONS) as video, pytest.raises(error, match=message):
        list(video.features())
