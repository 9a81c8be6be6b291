from __future__ import annotations

import collections
import itertools
import json
import os
from pathlib import Path

import pytest
from weaksvr.runtime.errors import DataError
from weaksvr.runtime.manifest import (
    MAX_DERIVED_PAIRS,
    Clip,
    MatchingItem,
    Pair,
    derive_pairs,
    parse_clip,
    read_dataset,
    read_manifest,
    read_matching,
    read_pairs,
    read_script,
)

TEA = {"video": "videos/a.mp4", "steps": ["take the cup", "pour water"]}


def write(path, *entries):
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def manifest(tmp_path):
    return tmp_path.resolve() / "train.jsonl"


def test_manifest_is_read_in_order(manifest):
    full = TEA | {"task": "tea", "procedure": "tea.1", "start": 1.5, "end": 30, "camera": {"unknown": "is allowed"}}
    bare = {"video": "frames/b/", "steps": [" stir "], "task": None, "start": None}
    absolute = {"video": "/elsewhere/c.mp4", "steps": ["stir", "stir"], "start": 0}
    assert read_manifest(write(manifest, full, bare, absolute)) == (
        Clip(
            video=manifest.parent / "videos/a.mp4",
            steps=("take the cup", "pour water"),
            task="tea",
            procedure="tea.1",
            start=1.5,
            end=30.0,
        ),
        Clip(video=manifest.parent / "frames/b", steps=("stir",)),
        Clip(video=Path("/elsewhere/c.mp4"), steps=("stir", "stir"), start=0.0),
    )


def test_byte_order_mark_crlf_and_blank_lines_do_not_count(manifest):
    lines = ["", json.dumps(TEA, ensure_ascii=False), "   ", json.dumps(TEA | {"video": "ü\u2028.mp4"}), ""]
    manifest.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert [clip.video.name for clip in read_manifest(manifest)] == ["a.mp4", "ü\u2028.mp4"]


def test_paths_are_relative_to_the_file_whatever_the_working_directory(manifest, monkeypatch):
    write(manifest, TEA | {"video": "../sibling/./a.mp4"})
    monkeypatch.chdir(manifest.parent)
    assert read_manifest("train.jsonl")[0].video == manifest.parent.parent / "sibling/a.mp4"


def test_links_to_folders_are_followed_links_to_videos_are_not(tmp_path):
    root = tmp_path.resolve()
    real = root / "disk" / "dataset"
    real.mkdir(parents=True)
    (root / "link").symlink_to(real)
    (real / "one.mp4").symlink_to("stored.mp4")
    (real / "two.mp4").symlink_to("stored.mp4")
    write(real / "train.jsonl", TEA | {"video": "one.mp4"}, TEA | {"video": "two.mp4"}, TEA | {"video": "../x.mp4"})
    videos = [clip.video for clip in read_manifest(root / "link" / "train.jsonl")]
    assert videos == [real / "one.mp4", real / "two.mp4", root / "disk" / "x.mp4"]


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("{broken", r"is not JSON: .* at column 2; give an object such as"),
        ("3", "is not a JSON object; give an object"),
        ("[" * 100_000, "is not JSON that can be read"),
        (f'{{"video": "b.mp4", "steps": ["a"], "start": {"9" * 5000}}}', "is not JSON that can be read"),
        ('{"video": "b.mp4", "video": "c.mp4", "steps": ["a"]}', "key 'video' stands twice; keep one"),
        ({"steps": ["a"]}, "lacks 'video'; give an object such as"),
        ({"video": "b.mp4"}, "lacks 'steps'; give an object such as"),
        ({"video": 3, "steps": ["a"]}, "video holds 3; give text that is not blank"),
        ({"video": " ", "steps": ["a"]}, 'video holds " "; give text'),
        ({"video": "b\0.mp4", "steps": ["a"]}, "with a character that no text has; remove it"),
        ({"video": "b.mp4", "steps": ["\ud800"]}, "steps holds .* with a character that no text has"),
        ({"video": "b.mp4", "steps": []}, r"steps is \[\]; give a list of at least one text"),
        ({"video": "b.mp4", "steps": "take the cup"}, 'steps is "take the cup"; give a list'),
        ({"video": "b.mp4", "steps": {"a": 1}}, "steps is an object; give a list"),
        ({"video": "b.mp4", "steps": ["a", ""]}, 'steps holds ""; give text that is not blank'),
        ({"video": "b.mp4", "steps": ["a", " \t"]}, "steps holds .*; give text that is not blank"),
        ({"video": "b.mp4", "steps": ["a", None]}, "steps holds null; give text"),
        ({"video": "b.mp4", "steps": [["a"]]}, "steps holds a list; give text"),
        ({"video": "b.mp4", "steps": ["a"], "task": 7}, "task holds 7; give text"),
        ({"video": "b.mp4", "steps": ["a"], "procedure": ""}, 'procedure holds ""; give text'),
        ({"video": "b.mp4", "steps": ["a"], "start": -0.5}, "start is -0.5; give seconds, 0 or more"),
        ({"video": "b.mp4", "steps": ["a"], "start": "1"}, 'start is "1"; give seconds'),
        ({"video": "b.mp4", "steps": ["a"], "end": True}, "end is true; give seconds"),
        ({"video": "b.mp4", "steps": ["a"], "end": float("nan")}, "end is NaN; give seconds"),
        ({"video": "b.mp4", "steps": ["a"], "end": float("inf")}, "end is Infinity; give seconds"),
        ({"video": "b.mp4", "steps": ["a"], "end": 10**400}, r"end is 10+\.\.\.; give seconds"),
        ({"video": "b.mp4", "steps": ["a"], "start": 3, "end": 3}, r"end, 3\.0 s, is not after start, 3\.0 s"),
        ({"video": "b.mp4", "steps": ["a"], "start": 3, "end": 2}, r"end, 2\.0 s, is not after start, 3\.0 s"),
        ({"video": "b.mp4", "steps": ["a"], "end": 0}, r"end, 0\.0 s, is not after start, 0\.0 s"),
        ({"video": "./videos/x/../a.mp4", "steps": ["a"]}, r"a\.mp4' stands in line 1 already; keep one"),
        (
            {"video": "b.mp4", "steps": ["a"], "task": "coffee", "procedure": "1"},
            "procedure '1' stands under the tasks 'tea' and 'coffee'; give every procedure a name of its own",
        ),
    ],
)
def test_a_damaged_line_is_named(manifest, line, match):
    write(manifest, TEA | {"task": "tea", "procedure": "1"}, "", line)
    with pytest.raises(DataError, match=rf"train\.jsonl:3: .*{match}") as caught:
        read_manifest(manifest)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(manifest))


@pytest.mark.parametrize(
    "read", [read_manifest, read_pairs, read_matching, read_script], ids=lambda reader: reader.__name__
)
def test_files_that_cannot_be_read_are_named(read, tmp_path):
    path = tmp_path / "file.txt"
    with pytest.raises(DataError, match=r"file\.txt: no such file; give a text file"):
        read(path)
    with pytest.raises(DataError, match="is not a file; give a text file"):
        read(tmp_path)
    path.write_bytes(b"\n \r\n")
    with pytest.raises(DataError, match=r"file\.txt: is empty; "):
        read(path)
    path.write_bytes("\n\ncafé".encode("latin-1"))
    with pytest.raises(DataError, match=r"file\.txt:3: is not UTF-8 text; save the file as UTF-8"):
        read(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="is not a file"):
        read(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_named(manifest):
    write(manifest, TEA).chmod(0)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        read_manifest(manifest)


def test_pairs_are_read_in_order(tmp_path):
    root = tmp_path.resolve()
    path = write(
        root / "pairs.csv", "video_b, same ,kind,video_a,note", 'b.mp4,1,,"a,1.mp4",x', "", "d.mp4,0,swap,c.mp4,"
    )
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_pairs(path) == (
        Pair(video_a=root / "a,1.mp4", video_b=root / "b.mp4", same=True),
        Pair(video_a=root / "c.mp4", video_b=root / "d.mp4", same=False, kind="swap"),
    )


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        (["video_a,video_b", "a,b"], r":1: the header lacks same; begin the file with video_a,video_b,same"),
        (["video_a;video_b;same", "a;b;1"], ":1: the header lacks video_a, video_b, same"),
        (["a.mp4,b.mp4,1"], ":1: the header lacks video_a"),
        (["video_a,video_b,same,kind,kind", "a,b,1,x,y"], ":1: the header names one column twice"),
        (["video_a,video_b,same", "a,b,yes"], ":2: same is 'yes'; write 1 for the same procedure"),
        (["video_a,video_b,same", "a,b,"], ":2: same is ''; write 1"),
        (["video_a,video_b,same", "a,b,2"], ":2: same is '2'; write 1"),
        (["video_a,video_b,same", "a,b"], ":2: has 2 columns, but the header has 3"),
        (["video_a,video_b,same", "", "a,b,1,c"], ":3: has 4 columns, but the header has 3"),
        (["video_a,video_b,same", ",b,1"], ':2: video_a holds ""; give text'),
        (["video_a,video_b,same", 'a,"b,1'], "is not CSV: "),
        (["video_a,video_b,same"], "is empty; below the header, write a line such as"),
    ],
)
def test_damaged_pairs_are_named(tmp_path, lines, match):
    with pytest.raises(DataError, match=rf"pairs\.csv.*{match}"):
        read_pairs(write(tmp_path / "pairs.csv", *lines))


def test_a_pair_may_name_the_manifests_videos_alone(manifest):
    clips = read_manifest(write(manifest, TEA, TEA | {"video": "videos/b.mp4"}))
    pairs = write(manifest.with_name("pairs.csv"), "video_a,video_b,same", "videos/a.mp4,videos/b.mp4,1")
    assert len(read_pairs(pairs, clips=clips)) == 1
    write(pairs, "video_a,video_b,same", "videos/a.mp4,videos/b.mp4,1", "videos/a.mp4,videos/gone.mp4,0")
    with pytest.raises(DataError, match=r"pairs\.csv:3: video '.*gone\.mp4' is not in the manifest; add it there"):
        read_pairs(pairs, clips=clips)


def test_matching_is_read_in_order(tmp_path):
    root = tmp_path.resolve()
    path = write(root / "matching.jsonl", {"steps": ["take", "pour"], "videos": ["a.mp4", "b.mp4"], "answer": 1})
    assert read_matching(path) == (
        MatchingItem(steps=("take", "pour"), videos=(root / "a.mp4", root / "b.mp4"), answer=1),
    )


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"answer": 2}, "answer is 2; give an integer from 0 to 1"),
        ({"answer": -1}, "answer is -1; give"),
        ({"answer": True}, "answer is true; give"),
        ({"answer": 1.0}, "answer is 1.0; give"),
        ({"answer": None}, "answer is null; give"),
        ({"videos": []}, r"videos is \[\]; give a list"),
        ({"videos": ["a.mp4", 3]}, "videos holds 3; give text"),
        ({"videos": ["a.mp4", "./a.mp4"]}, "videos hold one video twice; give every candidate once"),
        ({"steps": []}, r"steps is \[\]; give a list"),
        ({"steps": [" "]}, "steps holds"),
    ],
)
def test_damaged_matching_is_named(tmp_path, change, match):
    path = write(tmp_path / "m.jsonl", {"steps": ["take"], "videos": ["a.mp4", "b.mp4"], "answer": 0} | change)
    with pytest.raises(DataError, match=rf"m\.jsonl:1: {match}"):
        read_matching(path)


@pytest.mark.parametrize("key", ["steps", "videos", "answer"])
def test_matching_without_a_key_is_named(tmp_path, key):
    entry = {"steps": ["take"], "videos": ["a.mp4", "b.mp4"], "answer": 0}
    del entry[key]
    with pytest.raises(DataError, match=rf"m\.jsonl:1: lacks '{key}'; give an object such as"):
        read_matching(write(tmp_path / "m.jsonl", entry))


def test_script_is_one_step_a_line(tmp_path):
    path = tmp_path / "script.txt"
    path.write_bytes(b"\xef\xbb\xbftake the cup\r\n\r\n  pour water \nstir")
    assert read_script(path) == ("take the cup", "pour water", "stir")


def clip(name, *steps, task=None, procedure=None):
    return Clip(video=Path("/data") / name, steps=steps or ("a",), task=task, procedure=procedure)


def verdicts(pairs):
    return {(pair.video_a.name, pair.video_b.name): pair.same for pair in pairs}


def test_pairs_are_derived_from_the_procedure():
    clips = (clip("0", "a", procedure="x"), clip("1", "a", procedure="y"), clip("2", "other words", procedure="x"))
    pairs = derive_pairs(clips)
    assert list(verdicts(pairs).items()) == [(("0", "1"), False), (("0", "2"), True), (("1", "2"), False)]
    assert {pair.kind for pair in pairs} == {None}


def test_pairs_are_derived_from_equal_steps_where_there_is_no_procedure():
    clips = (clip("0", "a", "b"), clip("1", "b", "a"), clip("2", "a", "b"))
    assert verdicts(derive_pairs(clips)) == {("0", "1"): False, ("0", "2"): True, ("1", "2"): False}


def test_a_clip_without_procedure_joins_the_clips_with_its_steps():
    clips = (clip("0", "b"), clip("1", "a", procedure="x"), clip("2", "c", procedure="x"), clip("3", "c"))
    same = {names for names, equal in verdicts(derive_pairs(clips)).items() if equal}
    assert same == {("1", "2"), ("1", "3"), ("2", "3")}


def test_few_clips_give_every_pair_once():
    tasks = ["tea", "coffee", None]
    clips = tuple(clip(f"{i:02}", task=tasks[i % 3], procedure=f"{tasks[i % 3]}.{i % 4}") for i in range(40))
    pairs = derive_pairs(clips)
    expected = [(a.video, b.video, a.procedure == b.procedure) for a, b in itertools.combinations(clips, 2)]
    assert [(pair.video_a, pair.video_b, pair.same) for pair in pairs] == expected


@pytest.mark.parametrize("count", [0, 1])
def test_no_pairs_for_less_than_two_clips(count):
    assert derive_pairs(tuple(clip(str(i)) for i in range(count))) == ()


def many_clips(num_clips, *, num_tasks):
    return tuple(
        clip(f"{i}", task=f"t{i % num_tasks}", procedure=f"t{i % num_tasks}.{i // num_tasks % 5}")
        for i in range(num_clips)
    )


def test_many_clips_give_a_balanced_choice_of_pairs():
    clips = many_clips(2000, num_tasks=8)
    pairs = derive_pairs(clips)
    assert pairs == derive_pairs(clips)
    assert len(pairs) == len(set(pairs)) == MAX_DERIVED_PAIRS
    assert sum(pair.same for pair in pairs) == MAX_DERIVED_PAIRS // 2
    by_video = {clip.video: (row, clip) for row, clip in enumerate(clips)}
    used = collections.Counter()
    for pair in pairs:
        (row_a, a), (row_b, b) = by_video[pair.video_a], by_video[pair.video_b]
        assert row_a < row_b
        assert a.task == b.task  # the harder ones: enough are within tasks
        assert pair.same == (a.procedure == b.procedure)
        used[row_a] += 1
        used[row_b] += 1
    assert len(used) > 1900
    assert max(used.values()) < 25


def test_many_clips_reach_across_tasks_where_a_task_has_too_few():
    clips = tuple(clip(f"{i}", task=f"t{i % 50}", procedure=f"t{i % 50}.{min(i // 50, 1)}") for i in range(150))
    pairs = derive_pairs(clips)
    task = {clip.video: clip.task for clip in clips}
    within = [pair for pair in pairs if not pair.same and task[pair.video_a] == task[pair.video_b]]
    assert len(within) == 50 * 2  # all there are
    assert sum(not pair.same for pair in pairs) == MAX_DERIVED_PAIRS // 2
    assert sum(pair.same for pair in pairs) == 50  # all there are


@pytest.fixture
def folder(tmp_path):
    root = tmp_path.resolve()
    for name in ("train", "val", "test"):
        entries = [{"video": f"{name}{i}.mp4", "steps": ["a"], "procedure": f"p{i % 2}"} for i in range(3)]
        write(root / f"{name}.jsonl", *entries)
    return root


def test_dataset_derives_the_pairs_that_are_not_given(folder):
    write(folder / "test_pairs.csv", "video_a,video_b,same", "test0.mp4,test1.mp4,0")
    dataset = read_dataset(folder)
    assert dataset.folder == folder
    assert [len(clips) for clips in (dataset.train, dataset.val, dataset.test)] == [3, 3, 3]
    assert dataset.val_pairs == derive_pairs(dataset.val)
    assert len(dataset.val_pairs) == 3
    assert dataset.test_pairs == read_pairs(folder / "test_pairs.csv")
    assert dataset.matching == ()


def test_dataset_of_train_alone(folder):
    for name in ("val", "test"):
        (folder / f"{name}.jsonl").unlink()
    dataset = read_dataset(str(folder))
    assert (dataset.val, dataset.test, dataset.val_pairs, dataset.test_pairs) == ((), (), (), ())
    assert len(dataset.train) == 3


def test_dataset_reads_matching(folder):
    write(folder / "matching.jsonl", {"steps": ["a"], "videos": ["test0.mp4"], "answer": 0})
    assert read_dataset(folder).matching == read_matching(folder / "matching.jsonl")


def test_dataset_without_train_is_refused_unless_asked_for(folder):
    (folder / "train.jsonl").unlink()
    with pytest.raises(DataError, match=r"holds no train\.jsonl; a dataset folder has one"):
        read_dataset(folder)
    assert len(read_dataset(folder, require_train=False).test) == 3
    for name in ("val", "test"):
        (folder / f"{name}.jsonl").unlink()
    with pytest.raises(DataError, match=r"holds no train\.jsonl"):
        read_dataset(folder, require_train=False)


def test_dataset_checks_its_pairs_against_the_manifest_beside_them(folder):
    write(folder / "val_pairs.csv", "video_a,video_b,same", "val0.mp4,test1.mp4,0")
    with pytest.raises(DataError, match=r"val_pairs\.csv:2: .*test1\.mp4' is not in the manifest"):
        read_dataset(folder)


def test_dataset_does_not_take_a_broken_link_for_a_missing_file(folder):
    (folder / "val_pairs.csv").symlink_to("gone.csv")
    with pytest.raises(DataError, match=r"val_pairs\.csv: no such file"):
        read_dataset(folder)


def test_dataset_that_is_no_folder_is_refused(folder):
    with pytest.raises(DataError, match=r"train\.jsonl: is no folder; give a dataset folder"):
        read_dataset(folder / "train.jsonl")


def test_one_line_is_read_as_in_a_manifest(tmp_path):
    line = '{"video": "a.mp4", "steps": ["cut"], "task": "tea", "start": 1}'
    (tmp_path / "train.jsonl").write_text(line)
    assert (parse_clip(line, tmp_path),) == read_manifest(tmp_path / "train.jsonl")
    with pytest.raises(DataError, match=r"^lacks 'video'; give an object such as"):
        parse_clip("{}", tmp_path)
