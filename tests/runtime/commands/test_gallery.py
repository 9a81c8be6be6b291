from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from weaksvr.runtime.commands import gallery as module


@pytest.fixture
def call(videos, toy_bundle, tmp_path, monkeypatch, capfd):
    """Runs the command as its console script does: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    for name, video in zip("abc", (videos.first, videos.again, videos.other), strict=True):
        shutil.copy(video, f"clips/{name}.mp4")
    Path("tea.txt").write_text("take the cup\npour water\nstir\n")

    def run(name, *arguments):
        model = ["--bundle", str(toy_bundle), "--device", "cpu"] if name in ("add", "search") else []
        monkeypatch.setattr(sys, "argv", ["weaksvr-gallery", name, *map(str, arguments), *model])
        with pytest.raises(SystemExit) as done:
            module.main()
        return (done.value.code, *capfd.readouterr())

    return run


def test_the_life_of_a_gallery(call):
    assert call("add", "g", "clips/a.mp4", "clips/b.mp4", "--set", "site=A", "--frames") == (
        0,
        "g: 2 added, 0 already there, 0 failed; 2 videos\n",
        "",
    )
    assert call("add", "g", "clips", "--set", "site=B", "--frames")[1] == (
        "g: 1 added, 2 already there, 0 failed; 3 videos\n"
    )
    code, out, err = call("list", "g", "--where", "site=A")
    assert (code, sorted(out.splitlines()), err) == (
        0,
        ["clips/a.mp4  site=A", "clips/b.mp4  site=A"],
        "2 of 3 videos\n",
    )
    code, out, _ = call("search", "g", "--video", "clips/a.mp4", "--top", 2)
    assert code == 0
    first, _, last = out.splitlines()
    assert first.split() == ["1", "0.0000", "clips/a.mp4", "site=A"]
    assert last == "  distance, smaller is nearer; method vector; 3 videos, by all vectors"
    code, out, _ = call("search", "g", "--script", "tea.txt", "--method", "alignment", "--json")
    document = json.loads(out)
    assert (code, document["schema"], len(document["hits"])) == (0, "weaksvr.gallery-search/1", 3)
    assert call("remove", "g", "clips/a.mp4", "--where", "site=B")[1] == "g: 0 removed; 3 videos\n"
    code, out, _ = call("remove", "g", "--where", "site=A", "--json")
    assert json.loads(out) == {"schema": "weaksvr.gallery-remove/1", "gallery": "g", "removed": 2, "size": 1}
    code, out, _ = call("list", "g", "--json", "--limit", 5)
    assert [video["video"] for video in json.loads(out)["videos"]] == ["clips/c.mp4"]


def test_a_bad_video(call):
    Path("clips/bad.mp4").write_text("no video")
    code, out, err = call("add", "g", "clips", "no.mp4", "--json")
    assert code == 2
    assert [line.split(": ")[1] for line in err.splitlines()] == ["no.mp4", "clips/bad.mp4"]
    assert json.loads(out)["added"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "g"], "there are no videos to add"),
        (["add", "tea.txt", "clips"], "tea.txt: is there, but no gallery"),
        (["add", "clips", "clips"], "clips: is there, but no gallery"),
        (["add", "g", "clips", "--set", "site"], "'site' is no metadata; write KEY=VALUE"),
        (["add", "g", "clips", "--set", "a=1", "--set", "a=2"], "metadata 'a' is given twice"),
        (["search", "g", "--video", "clips/a.mp4"], "g: is no gallery"),
        (["search", "g"], "give either --video or --script"),
        (["search", "g", "--video", "a", "--script", "b"], "give either --video or --script"),
        (["search", "g", "--script", "no.txt"], "no.txt: the script cannot be read"),
        (["list", "nowhere"], "nowhere: is no gallery"),
        (["list", "clips", "--limit", 0], "limit = 0 must be at least 1"),
        (["remove", "clips", "a.mp4"], "clips: is no gallery"),
        (["drop", "g"], "No such command 'drop'"),
    ],
)
def test_trouble(call, arguments, message):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert not Path("g").exists()
