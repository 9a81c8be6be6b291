from __future__ import annotations

import os
import time

import pytest
from weaksvr.demo.limits import Limits
from weaksvr.demo.uploads import UploadFolder
from weaksvr.runtime.errors import VideoError


@pytest.fixture
def opened():
    with UploadFolder(Limits(kept_seconds=60)) as folder:
        yield folder


def put(folder: UploadFolder, name: str, size: int = 100):
    path = folder.path / name / "a.mp4"
    path.parent.mkdir()
    path.write_bytes(b"x" * size)
    return path


def test_the_examples_are_in_it_and_nobody_else_may_look(opened):
    assert {"assembly_1", "assembly_2", "assembly_swapped"} <= set(opened.examples)
    assert opened.path.stat().st_mode & 0o077 == 0


def test_what_is_old_is_deleted_and_examples_stay(opened):
    old, new = put(opened, "old"), put(opened, "new")
    past = time.time() - 120
    for path in (old, *opened.examples.values()):
        os.utime(path, (past, past))
    opened.sweep()
    assert not old.parent.exists()
    assert new.is_file()
    assert all(path.is_file() for path in opened.examples.values())
    opened.sweep(now=time.time() + 61)
    assert not new.exists()


def test_what_visitors_sent_is_counted(opened):
    assert opened.used_bytes() == 0
    put(opened, "one", 1000)
    put(opened, "two", 234)
    assert opened.used_bytes() == 1234


def test_everything_is_gone_at_the_end():
    with UploadFolder(Limits()) as folder:
        put(folder, "one")
    assert not folder.path.exists()


def test_only_what_is_in_it_is_taken(opened, tmp_path):
    inside = put(opened, "one")
    assert opened.take(str(inside), "Video A") == str(inside)
    outside = tmp_path / "secret.mp4"
    outside.write_bytes(b"x")
    link = opened.path / "link.mp4"
    link.symlink_to(outside)
    for path in (outside, link, opened.path, inside.with_name("none.mp4"), "/etc/passwd", "a\0b", ""):
        with pytest.raises(
            VideoError, match=r"^Video A: is no longer kept \(uploads are deleted after 1 minutes\); up"
        ):
            opened.take(str(path), "Video A")
