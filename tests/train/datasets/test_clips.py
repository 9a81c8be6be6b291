from __future__ import annotations

import dataclasses
import os
import shutil

import av
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from weaksvr.runtime import open_video
from weaksvr.runtime.errors import DataError, OutputError, TooFewFramesError, VideoError, VideoNotFoundError
from weaksvr.runtime.manifest import Clip, read_manifest
from weaksvr.runtime.preprocess import read_frames
from weaksvr.runtime.spec import PreprocessSpec
from weaksvr.train.config import AugmentConfig
from weaksvr.train.datasets.clips import ClipDataset, EpochSampler, FrameCache, batches_of, collate_clips

SPEC = PreprocessSpec(height=24, width=24)
T = 8


@pytest.fixture(scope="module")
def clips(data):
    return read_manifest(data / "train.jsonl")[:3]


def dataset(clips, *, seed=0, cache=None, num_frames=T, epochs=0):
    augment = AugmentConfig(color=0.5, noise=0.1)
    return ClipDataset(
        clips, num_frames=num_frames, preprocess=SPEC, augment=augment, seed=seed, cache=cache, epochs=epochs
    )


def every(times):
    return np.arange(len(times))


def equal(left, right):
    return all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(left, right, strict=True))


def all_frames(path):
    with open_video(path) as video:
        return read_frames(video, np.arange(video.num_frames), SPEC)


def write_video(path, num_frames, *, shade=0):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for number in range(num_frames):
            picture = np.full((32, 32, 3), (shade + 8 * number) % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_an_item_depends_on_seed_epoch_and_index_alone(clips):
    items = dataset(clips)
    first = items[2, 1]
    assert first[0].shape == (T, 24, 24, 3)
    assert first[0].dtype == torch.uint8
    assert first[1].dtype == torch.float64
    assert first[2] == 1
    items[0, 0], items[2, 2]  # what was asked for before does not matter
    assert equal(first, items[2, 1])
    assert equal(first, dataset(clips)[2, 1])
    assert not equal(first, items[3, 1])
    assert not equal(first, dataset(clips, seed=1)[2, 1])
    assert len(items) == len(clips)


def test_frames_are_those_of_the_video_one_from_each_segment_in_order(clips):
    every = all_frames(clips[0].video)
    borders = [segment * len(every) // T for segment in range(T + 1)]
    seen = set()
    for epoch in range(6):
        frames = dataset(clips)[epoch, 0][0].numpy()
        for segment, frame in enumerate(frames):
            candidates = range(borders[segment], borders[segment + 1])
            matching = [index for index in candidates if np.array_equal(every[index], frame)]
            assert matching
            seen.update(matching)
    assert len(seen) > T


def test_the_cache_gives_the_frames_that_decoding_gives(clips, tmp_path):
    cache = FrameCache(tmp_path / "deep" / "cache", SPEC)
    plain, cached = dataset(clips), dataset(clips, cache=cache)
    for epoch in range(2):
        for index in range(len(clips)):
            assert equal(plain[epoch, index], cached[epoch, index])
    stored = cache.find(clips[0].video)
    assert np.array_equal(stored.frames, all_frames(clips[0].video))
    with open_video(clips[0].video) as video:
        assert np.array_equal(stored.times, video.times(np.arange(video.num_frames)))
    assert len(list(cache.folder.iterdir())) == len(clips)


def test_the_cache_holds_what_the_run_draws(tmp_path):
    video = write_video(tmp_path / "video.mp4", 90)
    clips = [Clip(video=video, steps=("a",))]
    cache = FrameCache(tmp_path / "cache", SPEC)
    short = dataset(clips, cache=cache, epochs=3)
    first = short[0, 0]
    stored = cache.find(video)
    assert T <= len(stored.numbers) <= 3 * T
    assert np.array_equal(stored.frames, all_frames(video)[stored.numbers])
    files = {file: file.stat().st_ino for file in cache.folder.iterdir()}
    for epoch in range(3):
        assert equal(short[epoch, 0], dataset(clips)[epoch, 0])
    assert {file: file.stat().st_ino for file in cache.folder.iterdir()} == files  # no epoch brought anything new
    other = dataset(clips, cache=cache, epochs=3, seed=1)
    assert equal(other[2, 0], dataset(clips, seed=1)[2, 0])
    both = cache.find(video)
    assert set(stored.numbers) < set(both.numbers)
    assert np.array_equal(both.frames, all_frames(video)[both.numbers])
    assert equal(short[0, 0], first)
    long = dataset(clips, cache=cache, epochs=40)
    assert equal(long[39, 0], dataset(clips)[39, 0])
    assert len(cache.find(video).numbers) == 90  # most of them are drawn, so all are kept


def test_an_epoch_beyond_the_run_brings_its_own_frames(tmp_path):
    video = write_video(tmp_path / "video.mp4", 90)
    clips = [Clip(video=video, steps=("a",))]
    items = dataset(clips, cache=FrameCache(tmp_path / "cache", SPEC), epochs=1)
    for epoch in (0, 5):
        assert equal(items[epoch, 0], dataset(clips)[epoch, 0])


def test_what_is_cached_is_not_decoded_again(clips, tmp_path):
    cache = FrameCache(tmp_path, SPEC)
    video = tmp_path / "video.mp4"
    shutil.copy(clips[0].video, video)
    frames = cache.bring(video, every).frames
    state = video.stat()
    video.write_bytes(b"\0" * state.st_size)
    os.utime(video, ns=(state.st_atime_ns, state.st_mtime_ns))
    stored = cache.find(video)
    assert np.array_equal(stored.take(every(stored.times)), frames)


def test_a_changed_video_or_size_gets_a_new_entry(tmp_path):
    cache = FrameCache(tmp_path / "cache", SPEC)
    video = write_video(tmp_path / "video.mp4", 12)
    before = cache.bring(video, every).frames
    write_video(video, 12, shade=100)
    assert cache.find(video) is None
    after = cache.bring(video, every).frames
    assert not np.array_equal(before, after)
    assert np.array_equal(after, all_frames(video))
    other = FrameCache(tmp_path / "cache", dataclasses.replace(SPEC, height=16, width=16))
    assert other.bring(video, every).frames.shape == (12, 16, 16, 3)
    squashed = FrameCache(tmp_path / "cache", dataclasses.replace(SPEC, resize="squash"))
    squashed.bring(video, every)
    assert len(list((tmp_path / "cache").glob("*.frames"))) == 4


def test_a_changed_picture_of_a_folder_gets_a_new_entry(tmp_path):
    from PIL import Image

    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(1, 5):
        Image.new("RGB", (32, 32), (number * 40, 0, 0)).save(folder / f"{number}.png")
    cache = FrameCache(tmp_path / "cache", SPEC)
    before = cache.bring(folder, every).frames
    state = (folder / "3.png").stat()
    Image.new("RGB", (32, 32), (0, 200, 0)).save(folder / "3.png")
    os.utime(folder / "3.png", ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    after = cache.bring(folder, every).frames
    assert np.array_equal(before[[0, 1, 3]], after[[0, 1, 3]])
    assert not np.array_equal(before[2], after[2])


@pytest.mark.parametrize("cached", [True, False])
def test_start_and_end_are_respected(tmp_path, cached):
    video = write_video(tmp_path / "video.mp4", 30)
    cache = FrameCache(tmp_path / "cache", SPEC) if cached else None
    every = all_frames(video)
    for start, end, part in ((0.5, 2.0, range(5, 20)), (None, 1.0, range(10)), (2.05, None, range(21, 30))):
        clip = Clip(video=video, steps=("a",), start=start, end=end)
        whole = dataset([clip], cache=cache, num_frames=len(part))[0, 0][0].numpy()
        assert np.array_equal(whole, every[part])


@pytest.mark.parametrize("cached", [True, False])
def test_a_video_that_is_too_short_is_named(tmp_path, cached):
    video = write_video(tmp_path / "short.mp4", T - 1)
    cache = FrameCache(tmp_path / "cache", SPEC) if cached else None
    with pytest.raises(TooFewFramesError, match=rf"short.mp4: has {T - 1} frames, but {T} are needed"):
        dataset([Clip(video=video, steps=("a",))], cache=cache)[0, 0]
    part = Clip(video=write_video(tmp_path / "long.mp4", 30), steps=("a",), start=0.5, end=1.0)
    with pytest.raises(TooFewFramesError, match=r"long.mp4: has 5 frames, but 8 are needed"):
        dataset([part], cache=cache)[0, 0]


@pytest.mark.parametrize("cached", [True, False])
def test_videos_that_cannot_be_used_are_named(tmp_path, cached):
    cache = FrameCache(tmp_path / "cache", SPEC) if cached else None
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(b"no video at all")
    for video, kind, message in (
        (tmp_path / "absent.mp4", VideoNotFoundError, r"absent.mp4: "),
        (damaged, VideoError, r"damaged.mp4: "),
    ):
        with pytest.raises(kind, match=message):
            dataset([Clip(video=video, steps=("a",))], cache=cache)[0, 0]
    assert not (cached and list(cache.folder.iterdir()))


def test_a_cache_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"file.cache: the frame cache cannot be created"):
        FrameCache(tmp_path / "file" / "cache", SPEC)


def loader(items, batches, workers):
    return DataLoader(items, batch_sampler=batches, num_workers=workers, collate_fn=collate_clips)


def test_workers_give_what_one_process_gives(clips):
    batches = [[(0, 0), (0, 2)], [(1, 1), (1, 0)]]
    alone = list(batches_of(loader(dataset(clips), batches, 0)))
    assert [batch[2].tolist() for batch in alone] == [[0, 2], [1, 0]]
    assert alone[0][0].shape == (2, T, 24, 24, 3)
    assert all(equal(a, b) for a, b in zip(alone, batches_of(loader(dataset(clips), batches, 2)), strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_worker_stays_one_clear_line(clips, tmp_path, workers):
    video = write_video(tmp_path / "short.mp4", 5)
    items = dataset([*clips, Clip(video=video, steps=("a",))])
    batches = batches_of(loader(items, [[(0, 0)], [(0, 1), (0, 3)]], workers))
    next(batches)
    with pytest.raises(VideoError, match=rf"^{video}: has 5 frames, but 8 are needed; use a longer video$"):
        next(batches)


def joint_batches(epoch, *, world, batch_size, num_clips=23, **options):
    samplers = [
        EpochSampler(
            num_clips, batch_size=batch_size, **{"samples_per_epoch": 0, "seed": 5, **options}, rank=rank, world=world
        )
        for rank in range(world)
    ]
    for sampler in samplers:
        sampler.epoch = epoch
    assert len({len(sampler) for sampler in samplers}) == 1
    assert all(len(list(sampler)) == len(sampler) for sampler in samplers)
    return [[item for part in parts for item in part] for parts in zip(*samplers, strict=True)]


@pytest.mark.parametrize("samples_per_epoch", [0, 13])
def test_joint_batches_do_not_depend_on_the_number_of_processes(samples_per_epoch):
    for epoch in range(3):
        one, two, four = (
            joint_batches(epoch, world=world, batch_size=8 // world, samples_per_epoch=samples_per_epoch)
            for world in (1, 2, 4)
        )
        assert one == two == four
        assert len(one) == (samples_per_epoch or 23) // 8
        assert all(len(batch) == 8 for batch in one)
        drawn = [index for batch in one for _, index in batch]
        assert len(set(drawn)) == len(drawn)
        assert {item[0] for batch in one for item in batch} == {epoch}


def test_what_does_not_fill_a_batch_is_left_out_of_that_epoch_only():
    seen = [{index for batch in joint_batches(epoch, world=1, batch_size=10) for _, index in batch} for epoch in (0, 1)]
    assert [len(indices) for indices in seen] == [20, 20]
    assert seen[0] != seen[1]
    assert joint_batches(0, world=1, batch_size=10) == joint_batches(0, world=1, batch_size=10)
    assert joint_batches(0, world=1, batch_size=10) != joint_batches(0, world=1, batch_size=10, seed=6)


def test_fewer_videos_than_a_batch_are_one_smaller_batch():
    assert [len(batch) for batch in joint_batches(0, world=1, batch_size=64)] == [23]
    assert [len(batch) for batch in joint_batches(0, world=2, batch_size=64)] == [22]


@pytest.mark.parametrize(
    ("num_clips", "samples_per_epoch", "world", "message"),
    [
        (1, 0, 1, r"1 training videos an epoch are too few to contrast; at least 2"),
        (3, 0, 2, r"3 training videos an epoch are too few to contrast; at least 4"),
        (9, 1, 1, r"1 training videos an epoch are too few"),
    ],
)
def test_too_few_videos_to_contrast(num_clips, samples_per_epoch, world, message):
    with pytest.raises(DataError, match=message):
        EpochSampler(num_clips, batch_size=4, samples_per_epoch=samples_per_epoch, seed=0, world=world)
