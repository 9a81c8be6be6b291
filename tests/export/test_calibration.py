from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
from weaksvr.export.calibration import CalibrationData, calibration_data, further_pairs
from weaksvr.runtime.errors import CheckpointError, DataError
from weaksvr.runtime.manifest import Clip, Pair
from weaksvr.train.checkpoint import load_checkpoint
from weaksvr.train.config import override
from weaksvr.train.datasets.splits import load_training_data


@pytest.fixture(scope="module")
def trained(runs):
    return load_checkpoint(runs["vit"])


@pytest.fixture
def moved(trained, data, tmp_path):
    """The checkpoint as if it had been trained on a copy of the data, and the copy."""
    folder = tmp_path / "copy"
    shutil.copytree(data, folder)
    record = {**trained.record, "data": {**trained.record["data"], "folder": str(folder)}}
    return dataclasses.replace(trained, record=record), folder


def test_the_runs_validation_pairs(trained, dataset):
    found = calibration_data(trained, None)
    assert tuple(found.pairs) == dataset.val_pairs
    assert tuple(found.clips) == dataset.val
    assert found.source == "validation pairs of workbench"
    assert found.sha256 == trained.record["data"]["files"]["val_pairs.csv"]
    assert sorted(found.videos) == sorted(clip.video for clip in dataset.val)
    steps = [step for clip in dataset.val for step in clip.steps]
    assert set(found.texts) == {*steps, *(",".join(clip.steps) for clip in dataset.val)}
    assert len(found.texts) == len(set(found.texts))
    assert tuple(found.trained_on) == dataset.train


def test_the_pairs_of_a_split_that_training_made(trained, data, tmp_path):
    lines = [
        {"video": str(video), "steps": [f"step {row // 2}"], "procedure": f"procedure {row // 2}"}
        for row, video in enumerate(sorted(data.glob("videos/*/*.mp4"))[:10])
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = trained.config
    apart = load_training_data(tmp_path, val_fraction=config.data.val_fraction, seed=config.optim.seed)
    checkpoint = dataclasses.replace(trained, record={**trained.record, "data": apart.record})
    found = calibration_data(checkpoint, None)
    assert (list(found.pairs), list(found.clips), found.sha256) == (list(apart.val_pairs), list(apart.val), "")
    assert {pair.same for pair in found.pairs} == {True, False}


def test_pairs_of_videos_elsewhere(trained, data, tmp_path):
    lines = ["video_a,video_b,same", f"{data}/videos/val/0000.mp4,near/b.mp4,1", "near/b.mp4,near/c.mp4,0"]
    (tmp_path / "near").mkdir()
    for name in "bc":
        shutil.copy(data / "videos/val/0001.mp4", tmp_path / f"near/{name}.mp4")
    file = tmp_path / "my pairs.csv"
    file.write_text("\n".join(lines))
    found = calibration_data(trained, file)
    assert [pair.same for pair in found.pairs] == [True, False]
    near = tmp_path.resolve() / "near"
    assert found.videos == [data.resolve() / "videos/val/0000.mp4", near / "b.mp4", near / "c.mp4"]
    assert (found.source, len(found.sha256), tuple(found.clips)) == ("my pairs.csv", 64, ())
    assert found.texts
    assert len(found.trained_on) == 5


def test_given_pairs_do_without_the_runs_data(trained, data, tmp_path):
    file = tmp_path / "pairs.csv"
    videos = [data / f"videos/val/000{number}.mp4" for number in range(3)]
    file.write_text(f"video_a,video_b,same\n{videos[0]},{videos[1]},1\n{videos[0]},{videos[2]},0\n")
    record = {**trained.record, "data": {**trained.record["data"], "folder": str(tmp_path / "gone")}}
    found = calibration_data(dataclasses.replace(trained, record=record), file)
    assert len(found.pairs) == 2
    assert found.trained_on == ()


def made_up(number, *, procedures=None):
    """Data of so many videos, the first two of which are a labelled pair."""
    videos = [Path(f"/videos/{row}.mp4") for row in range(number)]
    pairs = [Pair(video_a=videos[row], video_b=videos[row + 1], same=row == 0) for row in range(number - 1)]
    names = procedures or []
    clips = [Clip(video=video, steps=("a",), procedure=name) for video, name in zip(videos, names, strict=False)]
    return CalibrationData(pairs=pairs, clips=clips, texts=["a"], source="made up")


def test_further_pairs_are_all_that_are_left():
    found = further_pairs(made_up(9), 10_000)
    assert len(found) == 36 - 8
    assert len({frozenset(pair) for pair in found}) == 28
    assert all(len(set(pair)) == 2 for pair in found)
    given = {frozenset((pair.video_a, pair.video_b)) for pair in made_up(9).pairs}
    assert not given & {frozenset(pair) for pair in found}


def test_further_pairs_are_as_many_as_are_asked_for_and_always_the_same():
    assert further_pairs(made_up(50), 49) == []
    assert further_pairs(made_up(50), 10) == []
    found = further_pairs(made_up(50), 149)
    assert len(found) == len({frozenset(pair) for pair in found}) == 100
    assert found == further_pairs(made_up(50), 149)


def test_pairs_of_one_procedure_come_first():
    names = [f"p{row % 40}" for row in range(120)]  # 3 videos of each, 2 of 4000 derived pairs in all
    found = further_pairs(made_up(120, procedures=names), 4000)
    same = {(a, b) for a, b in found if names[int(a.stem)] == names[int(b.stem)]}
    assert len(same) == 40 * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.mp4,b.mp4,1", "has no pair of different procedures; a threshold needs both kinds"),
        ("a.mp4,b.mp4,0", "has no pair of the same procedure; a threshold needs both kinds"),
        ("a.mp4,b.mp4,0\nb.mp4,c.mp4,1", r"its video .*/c\.mp4 cannot be read; paths are relative to the pairs file"),
        ("a.mp4,b.mp4,maybe", r"pairs\.csv:2: "),
    ],
)
def test_pairs_that_do_not_do(trained, data, tmp_path, text, message):
    for name in "ab":
        shutil.copy(data / "videos/val/0001.mp4", tmp_path / f"{name}.mp4")
    file = tmp_path / "pairs.csv"
    file.write_text(f"video_a,video_b,same\n{text}\n")
    with pytest.raises(DataError, match=message) as caught:
        calibration_data(trained, file)
    assert str(caught.value).startswith(str(file))


def test_no_such_pairs_file(trained, tmp_path):
    with pytest.raises(DataError, match=r"none\.csv"):
        calibration_data(trained, tmp_path / "none.csv")


def remove(folder):
    shutil.rmtree(folder)


def edit(folder):
    with (folder / "val.jsonl").open("a") as file:
        file.write("\n")


def remove_pairs(folder):
    (folder / "val_pairs.csv").unlink()


def remove_training(folder):
    (folder / "train.jsonl").unlink()


def damage(folder):
    (folder / "val.jsonl").write_text("{")


def remove_video(folder):
    (folder / "videos/val/0002.mp4").unlink()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (remove, "the run's data is not there any more"),
        (edit, r"val\.jsonl changed since the run"),
        (remove_pairs, r"val_pairs\.csv changed since the run"),
        (remove_training, r"holds no train\.jsonl; .* cannot be used any more"),
        (damage, r"val\.jsonl:1: is not JSON.* cannot be used any more"),
        (remove_video, r"0002\.mp4: a validation video of the run, is not there any more"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_runs_data_that_is_not_as_it_was(moved, harm, message):
    checkpoint, folder = moved
    assert calibration_data(checkpoint, None).pairs
    harm(folder)
    with pytest.raises(CheckpointError, match=f"{message}.*give pairs of videos with --pairs FILE") as caught:
        calibration_data(checkpoint, None)
    assert str(caught.value).startswith(str(folder))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_data_that_may_not_be_read(moved):
    checkpoint, folder = moved
    folder.chmod(0)
    try:
        with pytest.raises(CheckpointError, match="cannot be read; give pairs of videos with --pairs FILE"):
            calibration_data(checkpoint, None)
    finally:
        folder.chmod(0o755)


@pytest.mark.parametrize("record", [None, {}, {"folder": 3, "files": {}}, {"folder": "/data"}])
def test_a_checkpoint_that_does_not_say_what_it_was_trained_on(trained, record):
    checkpoint = dataclasses.replace(trained, record={**trained.record, "data": record})
    with pytest.raises(CheckpointError, match="does not say what it was trained on; give pairs of videos with --pairs"):
        calibration_data(checkpoint, None)


def test_a_run_without_validation_needs_pairs(trained, tested, tmp_path):
    """It was selected on the test set, and its data has no validation files."""
    (tmp_path / "videos").symlink_to(tested / "videos")
    for name in ("train.jsonl", "test.jsonl", "test_pairs.csv"):
        shutil.copy(tested / name, tmp_path)
    config = override(trained.config, ["optim.select=test"])
    loaded = load_training_data(tmp_path, val_fraction=0.2, seed=config.optim.seed, select="test")
    record = {**trained.record, "data": loaded.record}
    checkpoint = dataclasses.replace(trained, config=config, record=record)
    with pytest.raises(CheckpointError, match="was trained without validation; give pairs of videos with --pairs FILE"):
        calibration_data(checkpoint, None)
    assert len(calibration_data(checkpoint, tmp_path / "test_pairs.csv").trained_on) == len(loaded.train)
