from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from weaksvr.runtime.bundle import write_bundle
from weaksvr.runtime.cpus import available_cpus
from weaksvr.runtime.embedder import Embedder
from weaksvr.runtime.errors import BundleError, DeviceError, OptionError, TooFewFramesError, VideoNotFoundError
from weaksvr.runtime.pipeline import ThreadPlan, embed_stream, plan_threads
from weaksvr.runtime.verify import load


@pytest.fixture(scope="module")
def model(toy_bundle):
    return load(toy_bundle, device="cpu", num_threads=1)


class Watched(Embedder):
    """Counts how many videos are between decoding and embedding at the same time, and which were begun."""

    def __init__(self, inner: Embedder):
        super().__init__(inner.backend, sampling=inner.sampling, preprocess=inner.preprocess, decode_threads=1)
        self.lock, self.open, self.most, self.begun = threading.Lock(), 0, 0, []

    def read(self, path, **options):
        with self.lock:
            self.open += 1
            self.most = max(self.most, self.open)
            self.begun.append(os.fspath(path))
        try:
            return super().read(path, **options)
        except Exception:
            self.open -= 1
            raise

    def embed_sampled(self, videos):
        with self.lock:
            self.open -= 1
        return super().embed_sampled(videos)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_results_are_those_of_a_plain_loop_in_the_same_order(model, videos, workers):
    paths = [videos.first, videos.other, videos.again, videos.first] * 6
    found = list(embed_stream(model.embedder, paths, workers=workers))
    assert [video.path for video in found] == [str(path) for path in paths]
    expected = {path: model.embed(path) for path in set(paths)}
    for path, video in zip(paths, found, strict=True):
        np.testing.assert_array_equal(video.embedding.vector, expected[path].vector)
        np.testing.assert_array_equal(video.embedding.frame_features, expected[path].frame_features)
    assert [(video.num_frames, video.error) for video in found[:3]] == [(24, None), (24, None), (32, None)]
    assert found[0].duration_seconds == pytest.approx(2.4, abs=0.01)


def test_a_bad_video_is_a_result_and_the_rest_goes_on(model, videos, tmp_path):
    empty = tmp_path / "empty.mp4"
    empty.touch()
    found = list(embed_stream(model.embedder, [videos.first, empty, tmp_path / "no.mp4", videos.other], workers=2))
    assert [video.error is None for video in found] == [True, False, False, True]
    assert found[1].embedding is found[1].num_frames is found[1].duration_seconds is None
    assert "empty.mp4: is an empty file" in str(found[1].error)
    assert isinstance(found[2].error, VideoNotFoundError)


def test_values_that_are_no_numbers_are_that_videos_error(toys, tmp_path, videos):
    weights = toys.model()
    weights.tower[0] = np.nan
    networks = [toys.network(role, graph) for role, graph in weights.graphs().items()]
    bundle = write_bundle(tmp_path / "out", toys.manifest(), networks, tokenizer=toys.tokenizer())
    (found,) = embed_stream(load(bundle.path, device="cpu").embedder, [videos.first], workers=1)
    assert "computed values that are no numbers" in str(found.error)


def test_no_more_videos_are_in_memory_than_workers(model, videos):
    watched = Watched(model.embedder)
    assert sum(1 for _ in embed_stream(watched, [videos.first] * 40, workers=3)) == 40
    assert watched.most <= 3


def test_paths_are_taken_as_they_are_needed(model, videos):
    taken = []

    def paths():
        for number in range(1000):
            taken.append(number)
            yield videos.first

    stream = embed_stream(model.embedder, paths(), workers=2)
    assert taken == []
    next(stream)
    assert len(taken) <= 9
    stream.close()
    assert len(taken) <= 9


def test_closing_early_begins_nothing_new(model, videos):
    watched = Watched(model.embedder)
    stream = embed_stream(watched, [videos.first] * 8, workers=1)
    next(stream)
    stream.close()
    begun = len(watched.begun)
    assert begun < 8
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("weaksvr-embed")]
    assert len(watched.begun) == begun


def test_the_networks_run_one_at_a_time_on_a_gpu(model, videos):
    class Gpu:
        provider, precision, device = "watched", "fp32", "cuda"

        def __init__(self):
            self.lock, self.together = threading.Lock(), False

        def run(self, role, inputs):
            self.together |= not self.lock.acquire(blocking=False)
            outputs = model.backend.run(role, inputs)
            self.lock.release()
            return outputs

    backend = Gpu()
    embedder = Embedder(backend, sampling=model.embedder.sampling, preprocess=model.embedder.preprocess)
    assert all(video.error is None for video in embed_stream(embedder, [videos.first] * 12, workers=4))
    assert not backend.together


def test_what_is_wrong_with_the_networks_ends_the_stream(toys, tmp_path, videos):
    graphs = toys.model().graphs()
    networks = [toys.network("vision", graphs["text"]), *list(toys.networks())[1:]]
    bundle = write_bundle(tmp_path / "out", toys.manifest(), networks, tokenizer=toys.tokenizer())
    with pytest.raises(BundleError, match="are not those of a vision network"):
        next(embed_stream(load(bundle.path, device="cpu").embedder, [videos.first], workers=1))


def test_a_gpu_that_fails_ends_the_stream(model, videos):
    class Failing(Watched):
        def embed_sampled(self, _):
            raise DeviceError("the GPU is gone")

    with pytest.raises(DeviceError, match="the GPU is gone"):
        list(embed_stream(Failing(model.embedder), [videos.first] * 3, workers=2))


@pytest.mark.parametrize(
    ("videos", "total", "plan"),
    [(200, 2, (2, 1)), (1, 2, (1, 2)), (2, 8, (2, 4)), (3, 8, (3, 2)), (0, 4, (1, 4)), (9, 1, (1, 1))],
)
def test_threads_are_shared_out(videos, total, plan):
    workers, num_threads = plan
    assert plan_threads(videos, total=total) == ThreadPlan(workers=workers, num_threads=num_threads)


def test_threads_by_default_are_the_cpus():
    plan = plan_threads(10_000)
    assert plan.workers == available_cpus()
    assert 1 <= available_cpus() <= (os.cpu_count() or 1)


def test_numbers_that_cannot_be_meant(model):
    with pytest.raises(OptionError, match="the number of threads is 0; it must be at least 1"):
        plan_threads(3, total=0)
    with pytest.raises(OptionError, match="workers = 0 must be at least 1"):
        next(embed_stream(model.embedder, [], workers=0))


def test_videos_read_together_are_those_read_alone(toy_bundle, videos):
    embedder = load(toy_bundle, device="cpu", num_threads=4).embedder
    paths = [videos.first, videos.again, videos.other]
    for path, sampled in zip(paths, embedder.read_together(paths), strict=True):
        alone = embedder.read(path)
        assert sampled.path == str(path)
        np.testing.assert_array_equal(sampled.frames, alone.frames)
        np.testing.assert_array_equal(sampled.indices, alone.indices)
    assert embedder.read_together([]) == []


def test_of_several_bad_videos_read_together_the_first_one_is_told(model, videos, toys):
    paths = [videos.first, videos.first.with_name("no.mp4"), videos.first.with_name("nor.mp4")]
    with pytest.raises(VideoNotFoundError, match=r"no\.mp4"):
        model.embedder.read_together(paths)
    own = model.embedder
    sampling = type(own.sampling)(num_frames=99)
    with pytest.raises(TooFewFramesError, match=r"first\.mp4: has 24 frames"):
        Embedder(own.backend, sampling=sampling, preprocess=own.preprocess).read_together([videos.first])
