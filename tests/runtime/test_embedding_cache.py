from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from weaksvr.runtime import embedding_cache
from weaksvr.runtime.cache import open_cache
from weaksvr.runtime.commands.embed import embed
from weaksvr.runtime.commands.verify import verify
from weaksvr.runtime.errors import OptionError, VideoError
from weaksvr.runtime.pipeline import embed_stream
from weaksvr.runtime.verify import load
from weaksvr.runtime.video_part import VideoPart

ARRAYS = ("vector", "frame_features", "indices", "times_seconds")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """The files of these tests are young."""
    monkeypatch.setattr(embedding_cache, "SETTLED_SECONDS", 0.0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WEAKSVR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def video(videos, tmp_path):
    return Path(shutil.copy(videos.first, tmp_path / "video.mp4"))


def blind(model):
    """The model, which can no longer decode or compute: what it still gives comes from the cache."""

    def refuse(*_, **__):
        raise AssertionError("was not in the cache")

    model.embedder.read = model.embedder.embed_sampled = refuse
    return model


def known(model, path, **part):
    return model.embedder.look(VideoPart(path=str(path), **part)).found is not None


def assert_equal(one, other):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)
    assert (one.path, one.notes) == (other.path, other.notes)


@pytest.mark.parametrize("sampling", ["uniform", "three-view"])
def test_a_hit_is_equal_bit_for_bit(toy_bundle, video, folder, sampling):
    plain = load(toy_bundle, device="cpu", sampling=sampling).embed(video)
    first = load(toy_bundle, device="cpu", sampling=sampling, cache=True).embed(video)
    second = blind(load(toy_bundle, device="cpu", sampling=sampling, cache=True)).embed(video)
    assert_equal(first, plain)
    assert_equal(second, plain)
    second.vector[:] = 0  # it is the caller's own


def test_verdicts_are_the_same_with_and_without(toy_bundle, videos, folder):
    paths = (videos.first, videos.other)
    plain = load(toy_bundle, device="cpu").verify(*paths).to_json()
    assert load(toy_bundle, device="cpu", cache=True).verify(*paths).to_json() == plain
    assert blind_networks(toy_bundle).verify(*paths).to_json() == plain
    model = load(toy_bundle, device="cpu", cache=True)
    assert known(model, videos.first)
    assert not known(model, videos.again)
    mixed = model.verify(videos.first, videos.again).to_json()  # one is known, one is not
    assert mixed == load(toy_bundle, device="cpu").verify(videos.first, videos.again).to_json()


def blind_networks(bundle):
    model = load(bundle, device="cpu", cache=True)
    model.embedder.embed_sampled = None
    return model


def test_another_name_is_another_path_and_the_same_video(toy_bundle, video, folder, tmp_path):
    load(toy_bundle, device="cpu", cache=True).embed(video)
    copy = shutil.copy(video, tmp_path / "copy.mp4")
    model = load(toy_bundle, device="cpu", cache=True)
    assert blind(model).embed(copy).path == str(copy)
    assert not known(model, shutil.copy(video, tmp_path / "copy.mkv"))


def test_parts_are_kept_apart(toy_bundle, video, folder):
    model = load(toy_bundle, device="cpu", cache=True)
    part = model.embed(video, start=0.5, end=1.5)
    assert not known(model, video)
    assert not known(model, video, start=0.5)
    assert_equal(blind(model).embed(video, start=0.5, end=1.5), part)
    with pytest.raises(OptionError, match="must be seconds with 0 <= start < end"):
        model.embed(video, start=2, end=1)


def test_models_are_kept_apart(toys, toy_bundle, video, folder, tmp_path):
    load(toy_bundle, device="cpu", cache=True).embed(video)
    assert not known(load(toy_bundle, device="cpu", sampling="three-view", cache=True), video)
    assert not known(load(toys.write(tmp_path / "other", seed=1), device="cpu", cache=True), video)


def padded(path, size):
    """The MP4 file made larger by a box of nothing."""
    data = path.read_bytes()
    return data + (size - len(data)).to_bytes(4, "big") + b"free" + bytes(size - len(data) - 8)


def test_a_changed_file_never_hits(toy_bundle, videos, video, folder):
    """Its size, its inode and the time of its last change are the same, which a program can bring about."""
    video.write_bytes(padded(videos.first, 100_000))
    model = load(toy_bundle, device="cpu", cache=True)
    old = model.embed(video)
    status = video.stat()
    with video.open("r+b") as file:
        file.write(padded(videos.other, 100_000))
    os.utime(video, ns=(status.st_atime_ns, status.st_mtime_ns))
    now = video.stat()
    assert (now.st_size, now.st_ino, now.st_mtime_ns) == (status.st_size, status.st_ino, status.st_mtime_ns)
    assert not known(model, video)
    assert not np.array_equal(model.embed(video).vector, old.vector)


def test_a_file_that_changes_while_it_is_read_is_not_kept(toy_bundle, videos, video, folder):
    model = load(toy_bundle, device="cpu", cache=True)
    looked = model.embedder.look(VideoPart.of(video))
    sampled = model.embedder.read(video)
    shutil.copyfile(videos.other, video)
    model.embedder.embed_read(sampled, looked)
    shutil.copyfile(videos.first, video)
    assert not known(model, video)


def test_a_file_that_was_just_written_is_not_kept(toy_bundle, video, folder, monkeypatch):
    monkeypatch.setattr(embedding_cache, "SETTLED_SECONDS", 3600.0)
    model = load(toy_bundle, device="cpu", cache=True)
    model.embed(video)
    assert not known(model, video)
    assert open_cache().size() == 0


@pytest.mark.parametrize(
    "change",
    [
        {"num_frames": 1},
        {"indices": np.array([3, 2, 1, 0])},
        {"indices": np.array([-1, 0, 1, 2])},
        {"vector": np.full(5, np.nan, np.float32)},
        {"times_seconds": np.full(4, np.inf)},
    ],
)
def test_what_cannot_be_right_is_ignored(toy_bundle, video, folder, change):
    model = load(toy_bundle, device="cpu", cache=True)
    model.embed(video)
    looked = model.embedder.look(VideoPart.of(video))
    looked.keep(dataclasses.replace(looked.found, **change))
    assert not known(model, video)
    model.embed(video)
    assert known(model, video)


@pytest.mark.parametrize(
    "payload", [b"", b"\x02\0\0\0[]", b"\x04\0\0\0null", b"\xff\xff\xff\xff{}", b"\x02\0\0\0{}", b"\x01\0\0\0{" * 99]
)
def test_foreign_bytes_are_ignored(payload):
    assert embedding_cache._unpacked(payload, rows=4) is None


def test_what_cannot_be_given_back_is_not_kept(toy_bundle, video, folder):
    model = load(toy_bundle, device="cpu", cache=True)
    model.embed(video)
    found = model.embedder.look(VideoPart.of(video)).found
    wrong = [{"duration_seconds": float("inf")}, {"vector": found.vector.astype(np.float64)}]
    assert [embedding_cache._packed(dataclasses.replace(found, **change)) for change in wrong] == [None, None]


def test_trouble_with_a_video_is_told_as_ever(toy_bundle, videos, folder, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    for path in (tmp_path / "absent.mp4", text, tmp_path / "a\0b"):
        with pytest.raises(VideoError) as plain:
            load(toy_bundle, device="cpu").embed(path)
        with pytest.raises(type(plain.value)) as found:
            load(toy_bundle, device="cpu", cache=True).embed(path)
        assert str(found.value) == str(plain.value)


def test_streams_use_it(toy_bundle, videos, folder):
    paths = [videos.first, videos.other]
    first = list(embed_stream(load(toy_bundle, device="cpu", cache=True).embedder, paths, workers=2))
    second = list(embed_stream(blind(load(toy_bundle, device="cpu", cache=True)).embedder, paths, workers=2))
    for one, other in zip(first, second, strict=True):
        assert_equal(one.embedding, other.embedding)
        fields = ("path", "num_frames", "duration_seconds", "error")
        assert [getattr(one, name) for name in fields] == [getattr(other, name) for name in fields]


def test_off(toy_bundle, video, folder, monkeypatch):
    load(toy_bundle, device="cpu").embed(video)
    assert not folder.exists()
    monkeypatch.setenv("WEAKSVR_CACHE", "off")
    assert load(toy_bundle, device="cpu", cache=True).embedder.cache is None


def run(command, *arguments):
    found = CliRunner().invoke(command, list(map(str, arguments)), standalone_mode=False)
    assert found.exception is None
    return found.stdout


def test_commands(toy_bundle, videos, folder, tmp_path):
    pair = (videos.first, videos.other, "--bundle", toy_bundle, "--json")
    plain = run(verify, *pair, "--no-cache")
    assert not folder.exists()
    assert run(verify, *pair) == plain
    filled = open_cache().size()
    assert filled > 0
    assert run(verify, *pair) == plain
    out = tmp_path / "out.parquet"
    for option in ("--no-cache", "--fresh"):
        run(embed, videos.again, "--bundle", toy_bundle, "--out", out, "--fresh", option)
        assert open_cache().size() == filled
    out.unlink()
    run(embed, videos.again, "--bundle", toy_bundle, "--out", out)
    assert open_cache().size() > filled


def test_commands_at_once_on_one_small_cache(toy_bundle, videos, folder):
    command = [sys.executable, "-m", "weaksvr.runtime.commands.verify", videos.first, videos.other]
    command += ["--bundle", toy_bundle, "--json"]
    environment = {**os.environ, "WEAKSVR_CACHE_BYTES": str(16 * 4096)}
    running = [
        subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    outputs = {process.communicate(timeout=120) for process in running}
    assert len(outputs) == 1
    ((out, error),) = outputs
    assert error == b""
    assert json.loads(out)["same"] is False
    assert open_cache().size() <= 16 * 4096
