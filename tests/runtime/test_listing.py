from __future__ import annotations

import os

import pytest
from weaksvr.runtime.errors import DataError, OptionError
from weaksvr.runtime.listing import find_videos, read_list


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Files of every sort below the current folder."""
    names = """clips/b.mp4 clips/a.MKV clips/notes.txt clips/.hidden.mp4 clips/deep/c.webm clips/.git/d.mp4
    clips/frames/1.jpg clips/frames/2.jpg clips/frames/old/e.mp4 clips/from0/000.PNG odd[1].mp4 odd1.mp4 alone
    empty/x.txt"""
    for name in names.split():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


IN_CLIPS = ["clips/a.MKV", "clips/b.mp4", "clips/deep/c.webm", "clips/frames", "clips/from0"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["clips/b.mp4", "alone", "no.mp4"], ["clips/b.mp4", "alone", "no.mp4"]),
        (["clips"], IN_CLIPS),
        (["clips/"], IN_CLIPS),
        (["clips/frames"], ["clips/frames"]),
        (["clips/*.mp4"], ["clips/b.mp4"]),
        (["clips/**/*.*m*"], ["clips/b.mp4", "clips/deep/c.webm", "clips/frames/old/e.mp4"]),
        (["clip*"], IN_CLIPS),
        (["odd[1].mp4"], ["odd[1].mp4"]),  # a file of that name comes before the pattern
        (["odd[0-9].mp4"], ["odd1.mp4"]),
        (["clips/b.mp4", "./clips/b.mp4", "clips"], ["clips/b.mp4", *(name for name in IN_CLIPS if name[6] != "b")]),
        ([], []),
    ],
)
def test_what_arguments_name(tree, arguments, expected):
    assert find_videos(arguments) == expected


def test_the_same_path_written_in_two_ways_is_one_video(tree):
    assert find_videos([str(tree / "alone"), "alone"]) == [str(tree / "alone")]


def test_links_to_folders_are_not_followed(tree):
    (tree / "clips" / "again").symlink_to(tree / "clips", target_is_directory=True)
    assert find_videos(["clips"]) == IN_CLIPS


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("empty", "empty: holds no video, no folder of numbered frames either"),
        ("none*.mp4", r"none\*\.mp4: nothing matches this pattern"),
        ("", "a video's name is empty"),
    ],
)
def test_arguments_that_name_nothing(tree, argument, message):
    with pytest.raises(OptionError, match=message):
        find_videos([argument])


def test_a_folder_that_may_not_be_read(tree, monkeypatch):
    real = os.scandir

    def scandir(path):
        if os.fspath(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(OptionError, match="clips/deep: the folder cannot be read: Permission denied"):
        find_videos(["clips"])


def test_a_list():
    assert read_list("a.mp4\r\n\n b c.mp4\nü.mp4", name="list") == ["a.mp4", " b c.mp4", "ü.mp4"]
    with pytest.raises(DataError, match="list: lists no video; write one path a line"):
        read_list("\n \n", name="list")
