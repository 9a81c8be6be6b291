from __future__ import annotations

import json
import os
import shutil

import published_files as fake
import pytest
from weaksvr.runtime.errors import DataError, OptionError, OutputError
from weaksvr.runtime.manifest import read_dataset, read_manifest, read_pairs
from weaksvr.train.datasets.collection import Item
from weaksvr.train.datasets.convert import convert
from weaksvr.train.datasets.formats import PublishedSource
from weaksvr.train.datasets.splits import load_training_data
from weaksvr.train.datasets.video_finder import VideoFinder


@pytest.fixture
def csv_source(tmp_path):
    """All of CSV, every video an empty folder: nothing is opened."""
    fake.write_csv(tmp_path / "CSV")
    for name, _ in (video for videos in fake.csv_videos() for video in videos):
        (tmp_path / "frames" / name).mkdir(parents=True)
    (tmp_path / "frames" / "13.1" / "._P07").write_bytes(b"junk")
    return PublishedSource(name="csv-sv", folder=tmp_path / "CSV", videos=tmp_path / "frames")


def counts_of(conversion):
    return {(finding.kind, finding.where): finding.count for finding in conversion.findings}


def test_csv_becomes_a_dataset_folder(csv_source, tmp_path):
    conversion = convert(csv_source, tmp_path / "data")
    assert conversion.lines == {
        "train.jsonl": 899,
        "train_pairs.csv": 8531,
        "test.jsonl": 1038,
        "test_pairs.csv": 1000,
        "matching.jsonl": 798,
    }
    assert {finding.severity for finding in conversion.findings} == {"note"}
    dataset = read_dataset(tmp_path / "data")
    clip = next(clip for clip in dataset.train if clip.procedure == "13.1")
    assert clip.video == tmp_path / "frames" / "13.1" / clip.video.name
    assert clip.video.is_dir()
    assert list(clip.steps) == fake.steps_of("13.1")
    assert (clip.task, clip.start, clip.end) == ("13", None, None)
    published = (tmp_path / "CSV" / "test_pairs.txt").read_text().split("\n")[:1000]
    expected = [(row.split()[0], row.split()[2], row.split()[1] == row.split()[3]) for row in published]
    frames = tmp_path / "frames"
    assert [
        (pair.video_a.relative_to(frames).as_posix(), pair.video_b.relative_to(frames).as_posix(), pair.same)
        for pair in dataset.test_pairs
    ] == expected
    assert len(read_pairs(tmp_path / "data" / "train_pairs.csv", clips=dataset.train)) == 8531
    question = dataset.matching[-1]
    assert question.videos[question.answer].parent.name == "5.5"


def test_training_takes_what_was_written(csv_source, tmp_path):
    convert(csv_source, tmp_path / "data")
    data = load_training_data(tmp_path / "data", val_fraction=0.2, seed=0)
    assert len(data.train) + len(data.val) == 899
    assert {clip.task for clip in data.train}.isdisjoint({clip.task for clip in data.val})


def test_dataset_json_says_where_everything_came_from(csv_source, tmp_path):
    conversion = convert(csv_source, tmp_path / "data")
    record = json.loads((tmp_path / "data" / "dataset.json").read_text())
    assert record == conversion.to_dict()
    assert record["schema"] == "weaksvr.convert-data/1"
    assert set(record["files"]) == {
        "label_bank.json",
        "train_split.txt",
        "splits/train.txt",
        "test_split.txt",
        "train_pairs.txt",
        "test_pairs.txt",
        "splits/text_matching.txt",
    }


def test_absent_videos_take_their_pairs_and_questions_along(csv_source, tmp_path):
    whole = convert(csv_source, tmp_path / "whole").lines
    (tmp_path / "frames" / "1.1" / "S00").rmdir()
    conversion = convert(csv_source, tmp_path / "data")
    rows = (tmp_path / "CSV" / "test_pairs.txt").read_text().split("\n")
    pairs = sum("1.1/S00 " in row for row in rows)
    questions = sum("1.1/S00" in row for row in fake.matching_rows())
    assert pairs
    assert questions
    assert conversion.lines["test.jsonl"] == 1037
    assert conversion.lines["test_pairs.csv"] == whole["test_pairs.csv"] - pairs
    assert conversion.lines["matching.jsonl"] == whole["matching.jsonl"] - questions
    found = {finding.kind: finding for finding in conversion.findings if finding.severity == "problem"}
    assert found["video-absent"].text == "test: 1 videos that are absent: 1.1/S00"
    assert found["pair-without-video"].count == pairs
    assert found["question-without-video"].count == questions
    assert len(found) == 3


def test_pairs_that_cannot_be_kept_are_told(csv_source, tmp_path):
    shutil.rmtree(tmp_path / "frames" / "1.1")
    rows = [row for row in (tmp_path / "CSV" / "test_pairs.txt").read_text().split("\n") if row.startswith("1.1/")]
    (tmp_path / "CSV" / "test_pairs.txt").write_text("\n".join(rows))
    conversion = convert(csv_source, tmp_path / "data")
    assert "test_pairs.csv" not in conversion.lines
    assert counts_of(conversion)["pairs-derived", "test_pairs.csv"] == 1
    assert counts_of(conversion)["pair-without-video", "test_pairs.csv"] == len(rows)


def test_a_split_without_videos_and_pairs_of_one_kind_are_told(csv_source, tmp_path):
    rows = (tmp_path / "CSV" / "test_pairs.txt").read_text().split("\n")[:500]
    (tmp_path / "CSV" / "test_pairs.txt").write_text("\n".join(rows))
    for task in range(7, 16):
        for way in range(1, 6):
            shutil.rmtree(tmp_path / "frames" / f"{task}.{way}")
    conversion = convert(csv_source, tmp_path / "data")
    assert counts_of(conversion)["split-empty", "train"] == 1
    assert counts_of(conversion)["pairs-one-kind", "test_pairs.csv"] == 1
    assert "train.jsonl" not in conversion.lines
    assert len(read_dataset(tmp_path / "data", require_train=False).test) == 1038


def coin_source(folder, **options):
    """Two training videos of each of two labels, four of test; the videos are files."""
    fake.write_bank(folder / "COIN-SV", ["15.1", "15.2"])
    train = [("-raining_01", "15.3"), ("training_02", "15.3"), ("training_03", "18.0"), ("training_04", "18.0")]
    test = [("testing__01", "15.1"), ("testing__02", "15.1"), ("testing__03", "15.2"), ("testing__04", "15.2")]
    fake.write_rows(folder / "COIN-SV" / "train_split.txt", train, last="")
    fake.write_rows(folder / "COIN-SV" / "test_split.txt", test)
    fake.write_rows(folder / "COIN-SV" / "test_pairs.txt", fake.pairs_of(test, 2))
    fake.write_coin_json(folder / "COIN.json", dict([*train, *test]))
    videos = folder / "videos"
    for name, label in [*train, *test]:
        path = videos / label.partition(".")[0] / f"{name}.mp4" if label == "15.3" else videos / f"{name}.MP4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not looked at")
    return PublishedSource(name="coin-sv", folder=folder / "COIN-SV", videos=videos, **options)


def test_coin_with_rebuilt_texts_and_parts_of_whole_videos(tmp_path):
    source = coin_source(tmp_path, coin_json=tmp_path / "COIN.json", uncut=True)
    conversion = convert(source, tmp_path / "data")
    dataset = read_dataset(tmp_path / "data")
    assert [clip.video.relative_to(tmp_path / "videos").as_posix() for clip in dataset.train] == [
        "15/-raining_01.mp4",
        "15/training_02.mp4",
        "training_03.MP4",
        "training_04.MP4",
    ]
    labels = ["15.3", "15.3", "18.0", "18.0"]
    assert [list(clip.steps) for clip in dataset.train] == [fake.steps_of(label) for label in labels]
    assert {(clip.start, clip.end) for clip in (*dataset.train, *dataset.test)} == {(5.0, 45.0)}
    assert [pair.same for pair in dataset.test_pairs] == [True, True, False, False]
    assert conversion.record["coin_json"]["file"] == str(tmp_path / "COIN.json")


def test_coin_without_texts_writes_what_has_them(tmp_path):
    source = coin_source(tmp_path)
    conversion = convert(source, tmp_path / "data")
    assert conversion.lines == {"test.jsonl": 4, "test_pairs.csv": 4}
    assert counts_of(conversion)["no-text", "train"] == 4
    assert counts_of(conversion)["split-empty", "train"] == 1
    (tmp_path / "COIN-SV" / "test_split.txt").unlink()
    with pytest.raises(DataError, match="none of the videos there has steps; add --coin-json FILE"):
        convert(source, tmp_path / "more")


def test_the_folder_can_be_moved_with_its_videos_and_reached_by_links(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "disk")
    source = coin_source(tmp_path / "here" / "link", coin_json=tmp_path / "disk" / "COIN.json")
    convert(source, tmp_path / "here" / "link" / "data")
    (tmp_path / "disk").rename(tmp_path / "moved")
    clips = read_manifest(tmp_path / "moved" / "data" / "train.jsonl")
    assert [clip.video.exists() for clip in clips] == [True] * 4


def test_videos_are_found_as_folders_or_files(tmp_path):
    for name in ("7.1/a", "7.1/b", "122"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("7.1/b.mp4", "7.1/c.MKV", "7.1/c.txt", "7.1/._d.mp4", "122/e.mp4", "e.webm", "122/f.mp4"):
        (tmp_path / name).write_bytes(b"")

    def find(name, kind="any", task=None):
        item = Item(name=name, steps=("s",), task=task)
        return [path.relative_to(tmp_path).as_posix() for path in VideoFinder(tmp_path, kind).find(item)]

    assert find("7.1/a") == ["7.1/a"]
    assert find("7.1/b") == ["7.1/b", "7.1/b.mp4"]
    assert find("7.1/b", "frames") == ["7.1/b"]
    assert find("7.1/b", "files") == ["7.1/b.mp4"]
    assert find("7.1/c") == ["7.1/c.MKV"]
    assert find("7.1/d") == find("7.9/a") == find("7.1/c", "frames") == []
    assert find("e", task="122") == ["e.webm", "122/e.mp4"]
    assert find("f", task="122") == ["122/f.mp4"]
    assert find("f") == []


def test_two_videos_of_one_name_are_left_to_the_user(tmp_path):
    source = coin_source(tmp_path, coin_json=tmp_path / "COIN.json")
    (tmp_path / "videos" / "training_03").mkdir()
    conversion = convert(source, tmp_path / "data")
    found = {finding.kind: finding for finding in conversion.findings}
    assert found["video-ambiguous"].text == (
        f"train: 1 names that two videos have (choose with --kind), left out: {tmp_path}/videos/training_03 and "
        f"{tmp_path}/videos/training_03.MP4"
    )
    assert conversion.lines["train.jsonl"] == 3


def test_nothing_is_written_where_nothing_can_be(tmp_path):
    source = coin_source(tmp_path, coin_json=tmp_path / "COIN.json")
    shutil.rmtree(tmp_path / "videos")
    with pytest.raises(DataError, match="videos: is no folder; give the one that holds the videos"):
        convert(source, tmp_path / "data")
    (tmp_path / "videos").mkdir()
    with pytest.raises(DataError, match=r"videos: holds none of the 8 videos; expected is -raining_01 \(a folder"):
        convert(source, tmp_path / "data")
    with pytest.raises(OptionError, match="give their folder as --videos DIR"):
        convert(PublishedSource(name="coin-sv", folder=tmp_path / "COIN-SV"), tmp_path / "data")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("kept")
    with pytest.raises(OutputError, match="data: is not empty, and nothing is overwritten"):
        convert(source, tmp_path / "data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["COIN-SV", "COIN.json", "data", "videos"]
    assert os.listdir(tmp_path / "data") == ["mine.txt"]  # noqa: PTH208 - names are enough


def test_lists_without_a_split_file_are_refused(tmp_path):
    source = coin_source(tmp_path)
    for split in ("train", "test"):
        (tmp_path / "COIN-SV" / f"{split}_split.txt").unlink()
    with pytest.raises(DataError, match="COIN-SV: lists no video; add the split files of coin-sv"):
        convert(source, tmp_path / "data")
