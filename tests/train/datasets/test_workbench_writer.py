from __future__ import annotations

import csv
import itertools
import json
import subprocess
import sys

import av
import numpy as np
import pytest
from weaksvr.runtime import open_video
from weaksvr.runtime.errors import OptionError, OutputError
from weaksvr.train.datasets.workbench.tasks import split_of
from weaksvr.train.datasets.workbench.writer import make_dataset


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def content_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "data"
    calls = []
    facts = make_dataset(out, train=2, val=6, test=0, seed=4, size=64, on_video=lambda: calls.append(1))
    assert len(calls) == 8
    return out, facts


def test_the_folder_holds_what_it_says(dataset):
    out, facts = dataset
    names = {path.name for path in out.iterdir()}
    assert names == {"boundaries.jsonl", "dataset.json", "train.jsonl", "val.jsonl", "val_pairs.csv", "videos"}
    assert json.loads((out / "dataset.json").read_text()) == facts
    for name, count in facts["lines"].items():
        assert len((out / name).read_text().splitlines()) - name.endswith(".csv") == count


def test_manifests_pairs_and_boundaries_agree(dataset):
    out, _ = dataset
    boundaries = {row["video"]: row for row in lines_of(out / "boundaries.jsonl")}
    rows = {split: lines_of(out / f"{split}.jsonl") for split in ("train", "val")}
    procedure_of = {}
    for split, manifest in rows.items():
        for row in manifest:
            assert set(row) == {"video", "steps", "task", "procedure"}
            true = boundaries[row["video"]]
            assert len(true["steps"]) == len(row["steps"])
            assert split_of(tuple(step["step"] for step in true["steps"])) == split
            assert 10 <= true["seconds"] <= 20
            assert true["steps"][-1]["end"] <= true["seconds"]
            procedure_of[row["video"]] = row["procedure"]
    with (out / "val_pairs.csv").open(newline="") as file:
        pairs = list(csv.DictReader(file))
    assert {pair["kind"] for pair in pairs} == {"same", "swap", "drop", "replace", "repeat"}
    for pair in pairs:
        same = procedure_of[pair["video_a"]] == procedure_of[pair["video_b"]]
        assert pair["same"] == str(int(same))


def test_videos_are_h264_with_b_frames_and_readable(dataset):
    out, _ = dataset
    row = lines_of(out / "boundaries.jsonl")[0]
    with av.open(str(out / row["video"])) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        packets = [packet for packet in container.demux(stream) if packet.size]
    assert any(packet.pts != packet.dts for packet in packets)
    assert any(a.pts > b.pts for a, b in itertools.pairwise(packets))
    with open_video(out / row["video"]) as video:
        assert video.num_frames == round(row["seconds"] * 10)
        assert (video.height, video.width) == (64, 64)
        assert float(video.duration_seconds) == pytest.approx(row["seconds"], abs=0.05)


def test_neither_workers_nor_other_splits_change_a_file(dataset, tmp_path):
    out, _ = dataset
    make_dataset(tmp_path / "again", train=0, val=7, test=1, seed=4, size=64, workers=2)
    first, again = content_of(out), content_of(tmp_path / "again")
    videos = [path for path in first if path.parts[:2] == ("videos", "val")]
    assert len(videos) == 6
    assert all(first[path] == again[path] for path in videos)
    rows = lines_of(out / "val.jsonl")
    assert lines_of(tmp_path / "again" / "val.jsonl")[:6] == rows
    make_dataset(tmp_path / "other", train=0, val=1, test=0, seed=5, size=64)
    assert content_of(tmp_path / "other")[videos[0]] != first[videos[0]]


def test_a_full_test_task_has_matching(tmp_path):
    make_dataset(tmp_path / "out", train=0, val=0, test=16, seed=0, size=64, workers=2)
    questions = lines_of(tmp_path / "out" / "matching.jsonl")
    assert len(questions) == 15
    assert all((tmp_path / "out" / video).exists() for question in questions for video in question["videos"])
    assert all(len(question["videos"]) == 5 for question in questions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": -1}, r"--train -1: the number of videos cannot be negative"),
        ({"train": 0}, r"no videos asked for"),
        ({"seed": -3}, r"--seed -3: a seed cannot be negative"),
        ({"size": 65}, r"--size 65: must be even"),
        ({"size": 32}, r"--size 32: must be even and in 64..1024"),
        ({"takes": 0}, r"--takes 0: every procedure is shown at least once"),
        ({"workers": 0}, r"--workers 0: at least one process"),
    ],
)
def test_options_that_cannot_be_meant(tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        make_dataset(tmp_path / "out", **{"train": 1, "val": 0, "test": 0, **options})
    assert not any(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"out: is not empty, and nothing is overwritten; name a new folder"):
        make_dataset(tmp_path / "out", train=1, val=0, test=0)
    with pytest.raises(OutputError, match=r"file: is not a folder"):
        make_dataset(tmp_path / "file", train=1, val=0, test=0)
    with pytest.raises(OutputError, match=r"cannot be written"):
        make_dataset(tmp_path / "file" / "below", train=1, val=0, test=0)
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "out"]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_leaves_nothing_behind(tmp_path, workers):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path / "out", train=3, val=0, test=0, size=64, workers=workers, on_video=interrupt)
    assert not any(tmp_path.iterdir())


def test_an_empty_folder_is_taken_and_readable_by_all(tmp_path):
    (tmp_path / "out").mkdir()
    make_dataset(tmp_path / "out", train=1, val=0, test=0, size=64)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_rendering_needs_neither_torch_nor_onnxruntime():
    code = (
        "import sys, weaksvr.train.datasets.workbench.writer\n"
        "print([name for name in ('torch', 'open_clip', 'onnxruntime') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_frames_are_neither_black_nor_flat(dataset):
    out, _ = dataset
    with open_video(out / "videos/val/0000.mp4") as video:
        frames = video.frames([0, video.num_frames // 2])
    assert frames.std() > 15
    assert 30 < np.mean(frames) < 230
