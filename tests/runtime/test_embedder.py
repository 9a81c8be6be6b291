from __future__ import annotations

import dataclasses

import av
import numpy as np
import pytest
from weaksvr.export.quantize import quantize
from weaksvr.runtime.backends.ort import OrtBackend
from weaksvr.runtime.bundle import Bundle, NewNetwork, write_bundle
from weaksvr.runtime.embedder import Embedder, SampledVideo, TextEmbedding, VideoEmbedding
from weaksvr.runtime.errors import BundleError, OptionError, TooFewFramesError, VideoNotFoundError
from weaksvr.runtime.preprocess import normalize
from weaksvr.runtime.spec import SamplingSpec
from weaksvr.runtime.verify import load
from weaksvr.runtime.video import open_video


@pytest.fixture(scope="module")
def model(toy_bundle):
    return load(toy_bundle, device="cpu")


def with_sampling(model, **sampling) -> Embedder:
    own = model.embedder
    return Embedder(own.backend, sampling=SamplingSpec(**sampling), preprocess=own.preprocess, tokenizer=own.tokenizer)


def decoded(path) -> np.ndarray:
    """All frames, uint8 (N, 32, 32, 3), decoded without any of our code. Scenes are flat: size is no matter."""
    with av.open(path) as container:
        return np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def oracle(toys, frames) -> tuple[np.ndarray, np.ndarray]:
    """(v, H) of one view in float64, from uint8 (T, H, W, 3)."""
    weights = toys.model()
    pooled = ((frames / 255 - [0.5, 0.4, 0.3]) / [0.25, 0.25, 0.2]).mean((1, 2))
    hidden = np.tanh(pooled @ weights.tower @ weights.head)
    return hidden.mean(0) @ weights.mix, hidden


def test_one_view(model, toys, videos):
    sampled = model.embedder.read(videos.first)
    assert sampled.indices.tolist() == [[3, 9, 15, 21]]
    assert sampled.frames.shape == (1, 4, 16, 16, 3)
    assert sampled.frames.dtype == np.uint8
    np.testing.assert_allclose(sampled.times_seconds, [[0.3, 0.9, 1.5, 2.1]], atol=1e-3)
    expected = decoded(videos.first)[sampled.indices[0], :16, :16]
    np.testing.assert_allclose(sampled.frames[0].astype(int), expected, atol=2)  # two ways to convert colours
    assert (sampled.num_frames, sampled.path, sampled.notes) == (24, str(videos.first), ())
    assert sampled.duration_seconds == pytest.approx(2.4, abs=0.01)
    found = model.embed(videos.first)
    vector, hidden = oracle(toys, sampled.frames[0])
    np.testing.assert_allclose(found.vector, vector, atol=1e-5)
    np.testing.assert_allclose(found.frame_features, hidden, atol=1e-5)
    assert found.vector.dtype == found.frame_features.dtype == np.float32
    assert found.indices.tolist() == [3, 9, 15, 21]


def test_three_views(model, toys, videos):
    embedder = with_sampling(model, policy="three-view", num_frames=3)
    sampled = embedder.read(videos.first)
    # borders 0 7 14 22: a quarter of a segment is 1, 1, 2 frames
    views = [[1, 8, 16], [2, 9, 18], [3, 10, 20]]
    assert sampled.indices.tolist() == views
    found = embedder.embed_sampled(sampled)
    parts = [oracle(toys, frames) for frames in sampled.frames]
    np.testing.assert_allclose(found.vector, np.mean([vector for vector, _ in parts], axis=0), atol=1e-5)
    in_time = sorted(
        (i, *row) for view, (_, rows) in zip(views, parts, strict=True) for i, row in zip(view, rows, strict=True)
    )
    assert found.indices.tolist() == [row[0] for row in in_time]
    np.testing.assert_allclose(found.frame_features, [row[1:] for row in in_time], atol=1e-5)
    np.testing.assert_allclose(found.times_seconds, found.indices / 10, atol=1e-3)


def test_the_cheapest_frame_of_each_segment(model, toys, videos):
    embedder = with_sampling(model, policy="segment", num_frames=4)
    sampled = embedder.read(videos.first)
    with open_video(videos.first) as video:
        assert sampled.indices.tolist() == [video.cheapest([(0, 6), (6, 12), (12, 18), (18, 24)]).tolist()]
        plans = [video.plan(model.embedder.read(videos.first).indices[0]), video.plan(sampled.indices[0])]
    assert plans[1].num_bytes < plans[0].num_bytes
    vector, hidden = oracle(toys, sampled.frames[0])
    found = embedder.embed(videos.first)
    np.testing.assert_allclose(found.vector, vector, atol=1e-5)
    np.testing.assert_allclose(found.frame_features, hidden, atol=1e-5)
    assert embedder.read(videos.first).indices.tolist() == sampled.indices.tolist()
    part = embedder.read(videos.first, start=0.6, end=1.4)  # frames 6 to 13
    assert ((part.indices[0] >= [6, 8, 10, 12]) & (part.indices[0] < [8, 10, 12, 14])).all()
    with pytest.raises(TooFewFramesError, match=r"first\.mp4 from 0\.6 s to 0\.8 s: has 2 frames, but 4 are needed"):
        embedder.read(videos.first, start=0.6, end=0.8)


def test_three_views_of_a_short_video_coincide(model, videos):
    embedder = with_sampling(model, policy="three-view", num_frames=8)
    found = embedder.embed(videos.first)
    assert found.frame_features.shape == (24, 5)
    assert (np.diff(found.indices) >= 0).all()
    np.testing.assert_array_equal(found.frame_features[0], found.frame_features[1])


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, 1.25, [1, 4, 8, 11]),  # frames 0 to 12
        (1.2, None, [13, 16, 19, 22]),  # frames 12 to 23
        (0.6, 1.2, [6, 8, 9, 11]),  # frames 6 to 11: the end is outside
        (0, 99, [3, 9, 15, 21]),
        (0.55, 1.0, [6, 7, 8, 9]),
    ],
)
def test_part_of_a_video(model, videos, start, end, expected):
    sampled = model.embedder.read(videos.first, start=start, end=end)
    assert sampled.indices.tolist() == [expected]
    assert sampled.num_frames == 24
    np.testing.assert_allclose(sampled.times_seconds[0], np.array(expected) / 10, atol=1e-3)
    np.testing.assert_array_equal(model.embed(videos.first, start=start, end=end).indices, expected)


@pytest.mark.parametrize(
    ("start", "end"), [(-1, None), (2, 1), (1, 1), (float("nan"), None), (None, float("nan")), (float("inf"), None)]
)
def test_parts_that_cannot_be_meant(model, videos, start, end):
    with pytest.raises(OptionError, match="must be seconds with 0 <= start < end"):
        model.embedder.read(videos.first, start=start, end=end)


def test_too_few_frames_are_said_with_the_path(model, videos):
    with pytest.raises(TooFewFramesError, match=r"first\.mp4: has 24 frames, but 99 are needed"):
        with_sampling(model, num_frames=99).read(videos.first)
    with pytest.raises(TooFewFramesError, match=r"first\.mp4 from 0\.6 s to 0\.9 s: has 3 frames, but 4 are needed"):
        model.embedder.read(videos.first, start=0.6, end=0.9)
    with pytest.raises(TooFewFramesError, match=r"first\.mp4 from 50 s: has 0 frames"):
        model.embedder.read(videos.first, start=50)
    with pytest.raises(VideoNotFoundError, match=r"none\.mp4"):
        model.embed(videos.first.with_name("none.mp4"))


def test_a_batch_equals_its_videos(model, videos):
    paths = [videos.first, videos.again, videos.other]
    for sampling in ({"num_frames": 4}, {"policy": "three-view", "num_frames": 15}):  # 45 frames: more than a chunk
        if sampling.get("policy"):
            sampling["num_frames"] = 15
        embedder = with_sampling(model, **sampling)
        sampled = [embedder.read(path) for path in paths]
        for one, together in zip(map(embedder.embed_sampled, sampled), embedder.embed_sampled(sampled), strict=True):
            np.testing.assert_allclose(one.vector, together.vector, atol=1e-6)
            np.testing.assert_allclose(one.frame_features, together.frame_features, atol=1e-6)
            assert one.path == together.path
    assert model.embedder.embed_sampled([]) == []


def test_int8_with_ranges_of_the_moment_takes_no_notice_of_other_videos(toy_bundle, videos, tmp_path):
    bundle = Bundle.open(toy_bundle)
    fp32 = [file for file in bundle.manifest.files if file.role in ("vision", "temporal")]
    networks = [
        NewNetwork(
            role=file.role,
            precision="int8",
            opset=file.opset,
            inputs=file.inputs,
            outputs=file.outputs,
            data=quantize(bundle.read(file), static=False, name=file.inputs[0].name, batches=[]) or bundle.read(file),
        )
        for file in fp32
    ]
    manifest = dataclasses.replace(bundle.manifest, files=(), tokenizer=None, reports=(), thresholds=())
    embedder = load(write_bundle(tmp_path / "int8", manifest, networks).path, device="cpu").embedder
    assert embedder.backend.precision == "int8"
    bright = embedder.read(videos.first)
    sampled = [dataclasses.replace(bright, frames=bright.frames // 4 + 96), bright]
    pixels = [normalize(video.frames[0], embedder.preprocess) for video in sampled]
    alone = embedder.backend.run("vision", {"frames": pixels[0]})["features"]
    beside = embedder.backend.run("vision", {"frames": np.concatenate(pixels)})["features"][: len(alone)]
    assert np.abs(alone - beside).max() > 1e-5, "the network itself must mind the batch, else this shows nothing"
    for one, together in zip(map(embedder.embed_sampled, sampled), embedder.embed_sampled(sampled), strict=True):
        np.testing.assert_array_equal(one.vector, together.vector)
        np.testing.assert_array_equal(one.frame_features, together.frame_features)


def test_a_batch_of_different_plans(model, videos):
    sampled = [model.embedder.read(videos.first), with_sampling(model, num_frames=5).read(videos.first)]
    with pytest.raises(OptionError, match="frames of one shape"):
        model.embedder.embed_sampled(sampled)


def test_text(model, toys):
    steps = ["Take the  cup", "pour water"]
    found = model.embed_text(steps)
    table = toys.model().table
    take, pour = [3, 4, 5], [6, 7]

    def mean(ids):
        return table[[1, *ids, 2] + [0] * (10 - len(ids))].mean(0)

    np.testing.assert_allclose(found.sentence_features, [mean(take), mean(pour)], atol=1e-5)
    np.testing.assert_allclose(found.paragraph_feature, mean([*take, 9, *pour]), atol=1e-5)
    assert found.steps == tuple(steps)
    many = model.embed_text(["stir"] * 70)
    np.testing.assert_allclose(many.sentence_features, np.tile(mean([8]), (70, 1)), atol=1e-5)


@pytest.mark.parametrize("steps", [[], ["take", " "], "take"])
def test_steps_that_cannot_be_meant(model, steps):
    with pytest.raises(OptionError, match="at least one step, none of them empty"):
        model.embed_text(steps)


def test_a_model_without_text(toys, tmp_path):
    write_bundle(tmp_path / "out", toys.manifest(), list(toys.networks())[:2])
    with pytest.raises(BundleError, match="has no text network"):
        load(tmp_path / "out").embed_text(["stir"])


@pytest.mark.parametrize(("role", "name"), [("vision", "tower"), ("temporal", "mix"), ("text", "table")])
def test_values_that_are_no_numbers(toys, tmp_path, videos, role, name):
    weights = toys.model()
    getattr(weights, name)[1] = np.nan
    networks = [toys.network(role, graph) for role, graph in weights.graphs().items()]
    bundle = write_bundle(tmp_path / "out", toys.manifest(), networks, tokenizer=toys.tokenizer())
    model = load(bundle.path, device="cpu")
    where = "the steps" if role == "text" else r"first\.mp4"
    message = rf"{where}: the {role} network \(fp32 on cpu\) computed values that are no numbers"
    with pytest.raises(BundleError, match=message):
        model.embed_text(["stir"]) if role == "text" else model.embed(videos.first)


def test_results_show_shapes_not_arrays(model, videos):
    assert "frames=uint8 (1, 4, 16, 16, 3)" in repr(model.embedder.read(videos.first))
    text = repr(model.embed(videos.first))
    assert "vector=float32 (5,)" in text
    assert "frame_features=float32 (4, 5)" in text
    assert "sentence_features=float32 (1, 5)" in repr(model.embed_text(["stir"]))


def test_results_refuse_shapes_that_do_not_fit():
    times, indices = np.zeros((1, 4)), np.zeros((1, 4), np.int64)
    rest = {"path": "a", "num_frames": 9, "duration_seconds": 1.0}
    with pytest.raises(OptionError, match=r"not \(V, T, H, W, 3\) and \(V, T\)"):
        SampledVideo(frames=np.zeros((4, 8, 8, 3), np.uint8), indices=indices, times_seconds=times, **rest)
    with pytest.raises(OptionError, match=r"SampledVideo: frames has shape \(1, 3, 8, 8, 3\), but must have \(1, 4"):
        SampledVideo(frames=np.zeros((1, 3, 8, 8, 3), np.uint8), indices=indices, times_seconds=times, **rest)
    with pytest.raises(OptionError, match=r"VideoEmbedding: vector has shape \(3,\), but must have \(5,\)"):
        VideoEmbedding(
            path="a",
            vector=np.zeros(3, np.float32),
            frame_features=np.zeros((4, 5), np.float32),
            indices=np.arange(4),
            times_seconds=np.zeros(4),
        )
    with pytest.raises(OptionError, match="TextEmbedding: sentence_features has shape"):
        TextEmbedding(
            steps=("a",), sentence_features=np.zeros((2, 5), np.float32), paragraph_feature=np.zeros(5, np.float32)
        )


def test_the_backend_may_be_any(toy_bundle, videos):
    """The embedder asks nothing of its backend but the protocol."""

    class Wrapped:
        def __init__(self, inner):
            self.inner, self.seen = inner, []
            self.device, self.provider, self.precision = "cpu", "wrapped", "fp32"

        def run(self, role, inputs):
            self.seen.append((role, next(iter(inputs.values())).shape))
            return self.inner.run(role, inputs)

    bundle = Bundle.open(toy_bundle)
    backend = Wrapped(OrtBackend(bundle, device="cpu"))
    embedder = Embedder(
        backend, sampling=SamplingSpec(policy="three-view", num_frames=15), preprocess=bundle.manifest.preprocess
    )
    embedder.embed(videos.first)
    assert backend.seen == [("vision", (32, 3, 16, 16)), ("vision", (13, 3, 16, 16)), ("temporal", (3, 15, 4))]
