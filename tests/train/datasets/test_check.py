from __future__ import annotations

import json
import re

import numbered_clips
import published_files as fake
import pytest
from weaksvr.runtime.errors import DataError
from weaksvr.train.datasets.check import Extent, check_data
from weaksvr.train.datasets.convert import convert
from weaksvr.train.datasets.findings import KINDS, Findings
from weaksvr.train.datasets.formats import PublishedSource


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """60 frames, 2.4 s."""
    made = numbered_clips.Clip("clip.mp4", "libx264", numbered_clips.SHORT)
    return numbered_clips.write_clip(tmp_path_factory.mktemp("clip"), made)


@pytest.fixture
def own(tmp_path, clip):
    """A sound dataset folder: two procedures of two videos in every split."""
    (tmp_path / "videos").mkdir()
    for split in ("train", "val", "test"):
        rows = []
        for number in range(4):
            name = f"videos/{split}{number}.mp4"
            (tmp_path / name).symlink_to(clip)
            procedure = f"{split}.{number // 2}"
            rows.append({"video": name, "steps": ["a"] * (2 + number // 2), "task": split, "procedure": procedure})
        write(tmp_path / f"{split}.jsonl", rows)
    return tmp_path


def write(path, rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def texts(report):
    return [finding.text for finding in report.findings]


def test_a_sound_folder(own):
    report = check_data(own)
    assert texts(report) == []
    assert not report.loses_data
    summary = report.splits["train"]
    assert (summary.videos, summary.present, summary.with_steps, summary.tasks, summary.procedures) == (4, 4, 4, 1, 2)
    assert summary.steps == Extent(least=2, median=2.5, most=3)
    assert summary.videos_per_procedure == Extent(least=2, median=2, most=2)
    assert (summary.opened, summary.seconds) == (4, Extent(least=2.4, median=2.4, most=2.4))


def test_every_wrong_line_is_told_and_none_hides_another(own):
    rows = rows_of(own / "train.jsonl")
    rows[1]["task"] = "another"
    wrong = ["{", '{"video": "x.mp4", "steps": []}', '{"video": "x.mp4", "steps": [" "]}']
    write(own / "train.jsonl", [*rows, *wrong, "", rows[0], {"video": "gone.mp4", "steps": ["a"], "procedure": "new"}])
    report = check_data(own)
    assert report.loses_data
    found = {finding.kind: finding for finding in report.findings}
    assert found["bad-line"].count == 3
    assert found["bad-line"].examples[1].startswith("line 6 steps is []; give a list of at least one text")
    assert found["video-twice"].examples == ("line 9",)
    assert found["procedure-two-tasks"].examples == ("line 2",)
    assert found["video-absent"].text == "train: 1 videos that are absent: gone.mp4"
    assert report.splits["train"].videos == 5
    assert report.splits["train"].present == 4


def test_videos_that_cannot_be_used(own, clip):
    rows = rows_of(own / "train.jsonl")
    (own / rows[0]["video"]).unlink()
    (own / rows[0]["video"]).write_bytes(b"\0" * 100)
    rows[1] |= {"start": 1.0, "end": 1.5}
    rows[2] |= {"start": 7.0}
    rows[3] |= {"start": 0.4, "end": 2.0}
    write(own / "train.jsonl", rows)
    report = check_data(own)
    found = {finding.kind: finding for finding in report.findings}
    assert set(found) == {"video-unreadable", "video-short", "part-outside"}
    assert found["video-unreadable"].examples[0].startswith(str(own / "videos" / "train0.mp4"))
    # 25 frames a second: 1.0 to 1.5 s are the frames 25 to 37.
    assert found["video-short"].examples == ("videos/train1.mp4 (13 frames, 16 are needed)",)
    assert found["part-outside"].examples == ("videos/train2.mp4 (2.4 s)",)
    assert report.splits["train"].seconds == Extent(least=0.5, median=pytest.approx(1.05), most=pytest.approx(1.6))


def test_how_many_are_opened_and_how_long_they_must_be(own):
    seen = []
    report = check_data(own, num_opened=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 6) for n in range(1, 7)]
    assert report.splits["val"].opened == 2
    assert check_data(own, num_opened=0).splits["val"].opened == 0
    (own / "videos" / "val3.mp4").unlink()
    (own / "videos" / "val3.mp4").write_bytes(b"\0" * 100)
    assert check_data(own, num_opened=2).loses_data is False  # the first and the third are looked at
    assert check_data(own, num_opened=None).loses_data is True
    (own / "videos" / "val3.mp4").unlink()
    (own / "videos" / "val3.mp4").symlink_to(own / "videos" / "val2.mp4")
    # 60 frames do for 60 segments, but the published protocol for validation and test needs two more.
    found = check_data(own, num_frames=60).findings
    assert [(f.kind, f.where, f.count) for f in found] == [("video-short", "val", 4), ("video-short", "test", 4)]


def test_overlaps_of_the_splits(own):
    train, test = rows_of(own / "train.jsonl"), rows_of(own / "test.jsonl")
    write(own / "test.jsonl", [*test, train[0]])
    assert texts(check_data(own)) == [
        "train and test: 1 videos that another split has too: videos/train0.mp4",
        "test: 1 procedures that train has too: train.0",
        "test: 1 procedures with one video, so in no pair of the same: train.0",
    ]


def test_pairs_and_questions(own):
    names = [row["video"] for row in rows_of(own / "test.jsonl")]
    pairs = [(0, 1, 1), (1, 0, 1), (2, 2, 1), (0, 3, 1)]
    lines = ["video_a,video_b,same", *(f"{names[a]},{names[b]},{same}" for a, b, same in pairs), "gone.mp4,other.mp4,1"]
    write(own / "test_pairs.csv", lines)
    write(own / "matching.jsonl", [{"steps": ["a"], "videos": [names[0], "lost.mp4"], "answer": 0}] * 2)
    report = check_data(own)
    assert sorted(texts(report)) == [
        "matching.jsonl: 1 questions that stand before already; kept, as published results count them",
        "matching.jsonl: 1 videos that are absent: lost.mp4",
        "test pairs: 1 files of pairs without both same and different ones, so without a result",
        "test pairs: 2 videos that are absent: gone.mp4, other.mp4",
        "test_pairs.csv: 1 pairs of a video with itself: pair 3",
        "test_pairs.csv: 1 pairs that stand twice: pair 2",
        "test_pairs.csv: 1 pairs with a video that the manifest beside them lacks: pair 5",
    ]
    assert (report.splits["test"].pairs, report.splits["test"].same, report.questions) == (5, 5, 2)
    write(own / "test_pairs.csv", ["video_a,video_b", "a,b"])
    assert any("test_pairs.csv: 1 files that cannot be read" in text for text in texts(check_data(own)))


def test_training_that_would_refuse_and_validation_that_would_be_made(own):
    (own / "val.jsonl").unlink()
    rows = rows_of(own / "train.jsonl")
    write(own / "train.jsonl", rows[:2])
    (text,) = texts(check_data(own))
    assert re.match("train: 1 reasons for which training would not start: .*too few videos to set two of one", text)
    more = [{**row, "video": f"videos/test{n}.mp4", "procedure": f"new{n // 2}"} for n, row in enumerate(rows)]
    (own / "test.jsonl").unlink()
    write(own / "train.jsonl", [*rows, *more])
    (finding,) = check_data(own).findings
    assert (finding.kind, finding.severity) == ("validation-made", "note")


def test_published_files_with_their_videos(tmp_path, clip):
    fake.write_bank(tmp_path, ["1", "2"])
    rows = [(f"-video_{n}", str(1 + n // 2)) for n in range(4)]
    fake.write_rows(tmp_path / "test_split.txt", rows)
    (tmp_path / "videos").mkdir()
    for name, _ in rows[1:]:
        (tmp_path / "videos" / f"{name}.mp4").symlink_to(clip)
    source = PublishedSource(name="diving48-sv", folder=tmp_path, videos=tmp_path / "videos")
    report = check_data(source)
    found = {finding.kind: finding for finding in report.findings}
    assert found["video-absent"].examples == ("-video_0",)
    assert report.splits["test"].present == report.splits["test"].opened == 3
    convert(source, tmp_path / "data")
    assert check_data(tmp_path / "data").splits["test"].videos == 3
    blind = check_data(PublishedSource(name="diving48-sv", folder=tmp_path))
    assert blind.splits["test"].present is None
    assert "video-absent" not in {finding.kind for finding in blind.findings}


def test_a_folder_that_is_none_of_ours(tmp_path):
    with pytest.raises(DataError, match=r"gone: is no folder; give a dataset folder, which holds train.jsonl"):
        check_data(tmp_path / "gone")
    with pytest.raises(DataError, match=r"holds no train.jsonl, val.jsonl or test.jsonl; for published files"):
        check_data(tmp_path)


def test_findings_count_and_keep_the_first_examples():
    findings = Findings()
    for number in range(9):
        findings.add("blank-line", "a.txt", f"line {number}")
    findings.add("rows-fewer", "a.txt", count=4)
    first, second = findings.listed()
    assert (first.kind, first.count, first.severity) == ("rows-fewer", 4, "problem")
    assert second.text == "a.txt: 9 blank lines, skipped: line 0, line 1, line 2, line 3, line 4, ..."
    with pytest.raises(KeyError):
        findings.add("no such kind", "a.txt")
    assert all(severity in ("problem", "note") for severity, _ in KINDS.values())
