from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from weaksvr.runtime.errors import DataError
from weaksvr.runtime.manifest import Clip
from weaksvr.train.datasets.splits import load_training_data, split_by_procedure


def clip(number, *, procedure=None, task=None, steps=("a",)):
    return Clip(video=Path(f"/videos/{number}.mp4"), steps=steps, procedure=procedure, task=task)


def clips_of(sizes, *, task_of={}.get):
    names = [name for name, size in sizes.items() for _ in range(size)]
    return [clip(number, procedure=name, task=task_of(name)) for number, name in enumerate(names)]


def write(folder, rows, name="train.jsonl"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def rows_of(sizes):
    return [
        {"video": f"{name}{number}.mp4", "steps": [name], "procedure": name}
        for name, size in sizes.items()
        for number in range(size)
    ]


@pytest.mark.parametrize("seed", range(10))
def test_whole_procedures_are_set_apart(seed):
    clips = clips_of(dict.fromkeys("abcdefghij", 4))
    rest, apart = split_by_procedure(clips, fraction=0.2, seed=seed)
    assert sorted(clip.video for clip in rest + apart) == sorted(clip.video for clip in clips)
    assert not {clip.procedure for clip in rest} & {clip.procedure for clip in apart}
    assert len(apart) == 8


def test_the_choice_is_seeded():
    clips = clips_of(dict.fromkeys("abcdefghij", 4))
    choices = [{c.procedure for c in split_by_procedure(clips, fraction=0.2, seed=s)[1]} for s in (0, 0, 1, 2, 3)]
    assert choices[0] == choices[1]
    assert len({frozenset(choice) for choice in choices}) > 1


def test_whole_tasks_are_set_apart_where_all_are_named():
    clips = clips_of(dict.fromkeys(("a.1", "a.2", "b.1", "b.2", "c.1", "c.2"), 3), task_of=lambda name: name[0])
    rest, apart = split_by_procedure(clips, fraction=0.2, seed=1)
    assert len({clip.task for clip in apart}) == 1
    assert len({clip.procedure for clip in apart}) == 2
    assert not {clip.task for clip in rest} & {clip.task for clip in apart}


def test_videos_without_a_procedure_go_by_their_steps():
    clips = [clip(number, steps=(f"step {number % 4}",)) for number in range(16)]
    rest, apart = split_by_procedure(clips, fraction=0.5, seed=0)
    assert not {clip.steps for clip in rest} & {clip.steps for clip in apart}
    assert len(apart) == 8


@pytest.mark.parametrize("seed", range(10))
def test_more_is_set_apart_where_less_could_not_be_compared(seed):
    few = clips_of(dict.fromkeys("abcde", 4))
    _, apart = split_by_procedure(few, fraction=0.2, seed=seed)
    assert len({clip.procedure for clip in apart}) == 2  # one procedure alone has no pair of different ones
    lonely = clips_of({"a": 1, "b": 1, "c": 1, "d": 1, "e": 6, "f": 6})
    _, apart = split_by_procedure(lonely, fraction=0.1, seed=seed)
    assert {"e", "f"} & {clip.procedure for clip in apart}  # else there would be no pair of the same


def test_a_given_validation_set_is_taken(data):
    loaded = load_training_data(data, val_fraction=0.2, seed=0)
    assert (len(loaded.train), len(loaded.val)) == (12, 6)
    assert loaded.note == ""
    assert {pair.kind for pair in loaded.val_pairs} == {"same", "swap", "drop", "replace", "repeat"}
    assert loaded.record["folder"] == str(data.resolve())
    assert loaded.record["validation"] == "val.jsonl"
    names = ("train.jsonl", "val.jsonl", "val_pairs.csv")
    assert loaded.record["files"] == {name: hashlib.sha256((data / name).read_bytes()).hexdigest() for name in names}


def test_without_a_validation_set_one_is_made_and_said(tmp_path):
    folder = write(tmp_path / "data", rows_of(dict.fromkeys("abcdefghij", 4)))
    loaded = load_training_data(folder, val_fraction=0.2, seed=7)
    assert (len(loaded.train), len(loaded.val)) == (32, 8)
    assert loaded.note == (
        f"{folder}: no val.jsonl, so 8 of 40 videos were set apart for validation (seed 7); 32 are trained on"
    )
    assert loaded.record["validation"] == {"fraction": 0.2, "seed": 7}
    videos = {clip.video for clip in loaded.val}
    assert all({pair.video_a, pair.video_b} <= videos for pair in loaded.val_pairs)
    assert {pair.same for pair in loaded.val_pairs} == {True, False}
    again = load_training_data(folder, val_fraction=0.2, seed=7)
    assert again.val == loaded.val


def test_videos_of_given_pairs_are_not_trained_on(tmp_path):
    folder = write(tmp_path / "data", rows_of(dict.fromkeys("abcd", 4)))
    (folder / "val_pairs.csv").write_text("video_a,video_b,same\na0.mp4,a1.mp4,1\na0.mp4,b3.mp4,0\na0.mp4,new.mp4,0\n")
    loaded = load_training_data(folder, val_fraction=0.2, seed=7)
    assert {clip.video.name for clip in loaded.val} == {"a0.mp4", "a1.mp4", "b3.mp4"}
    assert (len(loaded.train), len(loaded.val_pairs)) == (13, 3)
    assert loaded.note == (
        f"{folder}: no val.jsonl, so the 4 videos of val_pairs.csv are kept for validation; 13 are trained on"
    )
    assert loaded.record["validation"] == "val_pairs.csv"
    assert set(loaded.record["files"]) == {"train.jsonl", "val_pairs.csv"}


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (
            {"a": 9, "b": 9},
            r"data: no val.jsonl, and too few videos to set two of one procedure and one of another apart; add",
        ),
        ({"a": 9}, r"data: no val.jsonl, and too few videos to set"),
        (dict.fromkeys("abcdef", 1), r"data: no val.jsonl, and too few videos to set"),
    ],
)
def test_too_little_to_set_apart(tmp_path, sizes, message):
    folder = write(tmp_path / "data", rows_of(sizes))
    with pytest.raises(DataError, match=message):
        load_training_data(folder, val_fraction=0.2, seed=0)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"x": 3}, r"data: validation has no pair of different procedures; add val.jsonl with two videos"),
        ({"x": 1, "y": 1}, r"data: validation has no pair of the same procedure; add val.jsonl"),
    ],
)
def test_a_validation_set_without_both_kinds_of_pairs(tmp_path, sizes, message):
    folder = write(tmp_path / "data", rows_of(dict.fromkeys("abc", 2)))
    write(folder, rows_of(sizes), "val.jsonl")
    with pytest.raises(DataError, match=message):
        load_training_data(folder, val_fraction=0.2, seed=0)


def test_a_folder_without_training_videos(data, tmp_path):
    with pytest.raises(DataError, match=r"absent: is no folder"):
        load_training_data(tmp_path / "absent", val_fraction=0.2, seed=0)
    shutil.copy(data / "val.jsonl", tmp_path)
    with pytest.raises(DataError, match=r"holds no train.jsonl"):
        load_training_data(tmp_path, val_fraction=0.2, seed=0)


def test_a_test_set_that_selects(data):
    loaded = load_training_data(data, val_fraction=0.2, seed=0, select="test")
    assert (len(loaded.train), len(loaded.val), len(loaded.test)) == (12, 6, 6)
    assert {pair.same for pair in loaded.test_pairs} == {True, False}
    assert set(loaded.record["files"]) == {
        "train.jsonl", "val.jsonl", "val_pairs.csv", "test.jsonl", "test_pairs.csv",
    }  # fmt: skip
    plain = load_training_data(data, val_fraction=0.2, seed=0)
    assert (tuple(plain.test), tuple(plain.test_pairs)) == ((), ())


def test_where_the_test_set_selects_nothing_is_set_apart(tmp_path):
    folder = write(tmp_path / "data", rows_of(dict.fromkeys("abcdefghij", 4)))
    write(folder, rows_of({"x": 2, "y": 2}), "test.jsonl")
    loaded = load_training_data(folder, val_fraction=0.2, seed=7, select="test")
    assert (len(loaded.train), len(loaded.val), len(loaded.val_pairs), len(loaded.test)) == (40, 0, 0, 4)
    assert loaded.record["validation"] is None
    assert loaded.note == (
        f"{folder}: no val.jsonl, so there is no validation; all 40 videos of train.jsonl are trained on"
    )


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (None, "is not there"),
        ({"x": 3}, "has no pair of different procedures"),
        ({"x": 1, "y": 1}, "has no pair of the same procedure"),
    ],
)
def test_a_test_set_that_cannot_select(tmp_path, sizes, message):
    folder = write(tmp_path / "data", rows_of(dict.fromkeys("abcdef", 4)))
    if sizes is not None:
        write(folder, rows_of(sizes), "test.jsonl")
    with pytest.raises(DataError, match=rf"data: its test set {message}, but is to select the epoch; add test\.jsonl"):
        load_training_data(folder, val_fraction=0.2, seed=0, select="test")
