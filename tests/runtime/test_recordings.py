from __future__ import annotations

import io
import sys
import types

import pytest
from weaksvr.runtime.errors import DataError, OptionError
from weaksvr.runtime.recordings import read_recordings
from weaksvr.runtime.video_part import VideoPart


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4", "sub/c.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_names_folders_and_a_text_list(folder, monkeypatch):
    (folder / "list.txt").write_bytes(b"\xef\xbb\xbfb.mp4\r\n\r\nsub\n")
    found = read_recordings(["a.mp4", "./a.mp4"], ["list.txt"])
    assert found == [VideoPart(path=path) for path in ("a.mp4", "b.mp4", "sub/c.mp4")]
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(b"*.mp4\n")))
    assert read_recordings(["-"]) == [VideoPart(path=path) for path in ("a.mp4", "b.mp4")]


def test_tables_say_which_part_counts(folder):
    (folder / "sub" / "list.jsonl").write_text('{"video": "c.mp4", "start": 1.5, "steps": ["x"]}\n{"video": "c.mp4"}\n')
    (folder / "sub" / "list.csv").write_text("start,video,end,who\n,../a.mp4,3,x\n\n4,../a.mp4,,y\n")
    c, a = (str(folder / name) for name in ("sub/c.mp4", "a.mp4"))
    found = read_recordings([], ["sub/list.jsonl", "sub/list.csv"], start=2, end=9)
    assert found == [
        VideoPart(path=c, start=1.5, end=9),
        VideoPart(path=c, start=2, end=9),
        VideoPart(path=a, start=2, end=3),
        VideoPart(path=a, start=4, end=9),
    ]


WRONG = {
    "no.txt": (None, "the list cannot be read: No such file"),
    "empty.txt": ("\n \n", "lists no video"),
    "zeros.txt": ("a\0b\n", "holds bytes 0"),
    "empty.csv": ("", "lists no video"),
    "header.csv": ("file,start\n", r"header\.csv:1: the header must name"),
    "twice.csv": ("video,video\n", "each once"),
    "columns.csv": ("video,start\na.mp4\n", r"columns\.csv:2: has 1 columns, but the header has 2"),
    "time.csv": ("video,start\na.mp4,soon\n", "start is 'soon'; give seconds"),
    "negative.csv": ("video,start\na.mp4,-1\n", "start is -1.0; give seconds"),
    "nan.csv": ("video,start\na.mp4,nan\n", "start is NaN; give seconds"),
    "order.csv": ("video,start,end\na.mp4,5,2\n", r"order\.csv:2: .*0 <= start < end; correct the times"),
    "quote.csv": ('video\n"a.mp4\n', "is not CSV"),
    "nothing.jsonl": ("\n", "lists no video"),
    "key.jsonl": ('{"path": "a.mp4"}\n', r"key\.jsonl:1: lacks 'video'; give an object such as"),
    "json.jsonl": ("{\n", r"json\.jsonl:1: is not JSON"),
}


@pytest.mark.parametrize("name", WRONG)
def test_lists_that_cannot_be_meant(folder, name):
    text, message = WRONG[name]
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_recordings([], [name])


def test_folders_without_videos(folder):
    (folder / "none").mkdir()
    with pytest.raises(OptionError, match="holds no video"):
        read_recordings(["none"])
    with pytest.raises(OptionError, match="0 <= start < end"):
        read_recordings(["a.mp4"], start=3, end=1)
