"""A video that is encoded anew is the same video: by every way of sampling the verdicts stay what they were."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from weaksvr.runtime import load, open_video
from weaksvr.runtime.bundle import DEFAULT_BUNDLE
from weaksvr.runtime.verify import distance

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ENCODINGS = {
    "gop10.mp4": ("libx264", {"g": "10"}),
    "gop250.mp4": ("libx264", {"g": "250"}),
    "hevc.mp4": ("libx265", {"preset": "fast", "x265-params": "log-level=error"}),
    "vp9.webm": ("libvpx-vp9", {"b": "0", "crf": "31", "deadline": "realtime", "cpu-used": "6"}),
}
POLICIES = ("uniform", "three-view", "segment")

pytestmark = pytest.mark.skipif(not DEFAULT_BUNDLE.is_dir(), reason="this checkout holds no default bundle")


@pytest.fixture(scope="module")
def reencoded(tmp_path_factory):
    """The first example video, encoded anew in every way."""
    folder = tmp_path_factory.mktemp("reencoded")
    with open_video(EXAMPLES / "assembly_1.mp4") as video:
        frames = video.frames(range(video.num_frames))
        rate = round(video.num_frames / video.duration_seconds)
    for name, (codec, options) in ENCODINGS.items():
        with av.open(folder / name, "w") as container:
            stream = container.add_stream(codec, rate=rate, options=options)
            stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
            for pixels in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
    return {name: folder / name for name in ENCODINGS}


@pytest.fixture(scope="module", params=POLICIES)
def model(request):
    return load(device="cpu", sampling=request.param)


@pytest.fixture(scope="module")
def embedded(model):
    return {name: model.embed(EXAMPLES / f"assembly_{name}.mp4") for name in ("1", "2", "swapped")}


@pytest.mark.parametrize("name", ENCODINGS)
def test_verdicts_survive_encoding_anew(model, embedded, reencoded, name):
    again = model.embed(reencoded[name])
    precision, sampling = model.backend.precision, model.embedder.sampling.key
    for method in ("vector", "alignment"):
        entry = model.bundle.manifest.threshold(method, precision, sampling)
        low, high = entry.calibrated.evidence.intervals["threshold"]
        for other in ("2", "swapped"):
            before, after = (distance(video, embedded[other], method=method) for video in (embedded["1"], again))
            close = low <= before <= high  # may go either way: so near, the threshold itself is not sure
            assert close or (before <= entry.threshold) == (after <= entry.threshold), (method, other, before, after)
            assert not close or method != model.bundle.manifest.default_method
        assert distance(embedded["1"], again, method=method) < 0.7 * entry.threshold


def test_segments_are_chosen_by_the_encoding(reencoded):
    """The test above would be no test of `segment` if all encodings led to the same frames."""
    segment = load(device="cpu", sampling="segment").embedder
    chosen = [segment.read(path).indices[0] for path in reencoded.values()]
    assert len({tuple(rows.tolist()) for rows in chosen}) > 1
    middle = load(device="cpu", sampling="uniform").embedder
    with open_video(reencoded["gop250.mp4"]) as video:
        cheap, exact = (video.plan(e.read(reencoded["gop250.mp4"]).indices[0]) for e in (segment, middle))
    assert cheap.num_bytes < exact.num_bytes
    assert np.abs(chosen[0] - chosen[1]).max() < video.num_frames // 16 + 1
