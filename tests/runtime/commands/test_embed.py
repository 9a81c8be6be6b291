from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from weaksvr.runtime.commands.embed import embed


@pytest.fixture
def clips(videos, tmp_path, monkeypatch):
    """The current folder holds clips/a.mp4, clips/b.mp4, clips/c.mp4."""
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    for name, video in zip("abc", (videos.first, videos.again, videos.other), strict=True):
        shutil.copy(video, f"clips/{name}.mp4")
    return ["clips/a.mp4", "clips/b.mp4", "clips/c.mp4"]


def command(*arguments):
    return [sys.executable, "-m", "weaksvr.runtime.commands.embed", *map(str, arguments), "--device", "cpu"]


def call(*arguments, **options):
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=60, **options)


def in_process(*arguments):
    """(exit code, JSON document)"""
    found = CliRunner().invoke(embed, [*map(str, arguments), "--json"], standalone_mode=False, catch_exceptions=False)
    return found.return_value, json.loads(found.stdout)


def names(out="out.parquet"):
    return pq.read_table(out)["video"].to_pylist()


def test_all_went_well(clips, toy_bundle):
    found = call("clips", "--out", "out.parquet", "--bundle", toy_bundle, "--threads", 2)
    assert (found.returncode, found.stderr) == (0, "")
    first, *rows = found.stdout.splitlines()
    assert first.startswith("out.parquet: 3 videos: 3 embedded in ")
    assert dict(row.split(maxsplit=1) for row in rows) == {
        "bundle": "toy",
        "sampling": "uniform-4",
        "device": "cpu (CPUExecutionProvider), fp32",
        "videos": "2 at a time, threads each: 1",
    }
    assert names() == clips


def test_some_failed(clips, toy_bundle):
    Path("clips/bad.mp4").write_text("no video")
    found = call("clips", "no.mp4", "clips/a.mp4", "--out", "out.parquet", "--bundle", toy_bundle)
    assert found.returncode == 1
    assert found.stderr.splitlines() == [
        "failed: clips/bad.mp4: is a text file (a playlist or script?), not a video; give the video itself",
        "failed: no.mp4: no such file or folder; check the path",
    ]
    assert found.stdout.splitlines()[0].endswith(", 2 failed")
    assert names() == ["clips/a.mp4", "clips/b.mp4", "clips/bad.mp4", "clips/c.mp4", "no.mp4"]


def test_lists(clips, toy_bundle):
    Path("list.txt").write_text("clips/c.mp4\n\nclips/a.mp4\n")
    code, document = in_process("clips/b.mp4", "--list", "list.txt", "--out", "out.parquet", "--bundle", toy_bundle)
    assert (code, document["embedded"]) == (0, 3)
    assert names() == ["clips/b.mp4", "clips/c.mp4", "clips/a.mp4"]


@pytest.mark.parametrize("arguments", [["-"], ["--list", "-"]])
def test_a_list_on_stdin(clips, toy_bundle, arguments):
    found = call(*arguments, "--out", "out.parquet", "--bundle", toy_bundle, input="clips/b.mp4\nclips/a.mp4\n")
    assert (found.returncode, found.stderr) == (0, "")
    assert names() == ["clips/b.mp4", "clips/a.mp4"]


def test_json_and_reuse(clips, toy_bundle):
    arguments = ["--out", "out.parquet", "--bundle", toy_bundle, "--frames", "--threads", 1]
    code, document = in_process(clips[0], *arguments)
    assert code == 0
    assert document["schema"] == "weaksvr.embed/1"
    assert {"videos", "embedded", "reused", "failed", "failures", "seconds", "device", "provider", "model"} < set(
        document
    )
    code, document = in_process("clips/*.mp4", *arguments)
    assert (code, document["videos"], document["embedded"], document["reused"]) == (0, 3, 2, 1)
    assert (document["workers"], document["num_threads"]) == (1, 1)
    code, document = in_process("clips/*.mp4", *arguments, "--fresh")
    assert (document["embedded"], document["reused"]) == (3, 0)
    assert "frame_features" in pq.read_table("out.parquet").schema.names


def test_reuse_is_said(clips, toy_bundle):
    arguments = ["clips", "--out", "out.parquet", "--bundle", toy_bundle]
    call(*arguments)
    Path("clips/new.mp4").write_bytes(Path("clips/a.mp4").read_bytes())
    found = call(*arguments)
    assert (found.returncode, found.stderr) == (0, "3 of 4 videos were embedded before\n")
    assert "4 videos: 1 embedded in " in found.stdout
    assert ", 3 reused" in found.stdout
    assert "4 videos: 0 embedded, 4 reused" in call(*arguments).stdout


def test_other_options_are_said(clips, toy_bundle):
    call("clips", "--out", "out.parquet", "--bundle", toy_bundle)
    found = call("clips", "--out", "out.parquet", "--bundle", toy_bundle, "--frames")
    assert found.returncode == 0
    assert found.stderr == (
        "note: out.parquet: what is there comes from another model or other options and is not reused\n"
    )


def test_a_bar_on_a_terminal(clips, toy_bundle):
    Path("clips/bad.mp4").write_text("no video")
    ours, theirs = pty.openpty()
    arguments = command("clips", "--out", "out.parquet", "--bundle", toy_bundle)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    found = subprocess.run(
        arguments, stdout=subprocess.PIPE, stderr=theirs, env=environment, check=False, timeout=60, text=True
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:
            break
    os.close(ours)
    assert found.returncode == 1
    assert b"failed: clips/bad.mp4: is a text file" in shown
    assert b"a second" in shown
    assert b"4/4" in shown


TROUBLE = {
    "nothing to embed": (["--out", "out.parquet"], "there are no videos to embed"),
    "no out": (["clips"], "Missing option '--out'"),
    "empty folder": (["empty", "--out", "out.parquet"], "empty: holds no video"),
    "pattern": (["no*.mp4", "--out", "out.parquet"], "nothing matches this pattern"),
    "list": (["--list", "no.txt", "--out", "out.parquet"], "no.txt: the list cannot be read: No such file"),
    "threads": (["clips", "--out", "out.parquet", "--threads", "0"], "the number of threads is 0"),
    "bundle": (["clips", "--out", "out.parquet", "--bundle", "nowhere"], "nowhere: no bundle there"),
    "out": (["clips", "--out", "no/out.parquet"], "there is no folder no; make it first"),
    "foreign": (["clips", "--out", "mine.parquet"], "is damaged, or not written by weaksvr-embed"),
}


@pytest.mark.parametrize(("arguments", "message"), TROUBLE.values(), ids=TROUBLE)
def test_trouble_is_one_line_and_code_2(clips, toy_bundle, arguments, message):
    Path("empty").mkdir()
    Path("mine.parquet").write_text("mine")
    bundle = [] if "--bundle" in arguments else ["--bundle", toy_bundle]
    found = call(*arguments, *bundle)
    assert (found.returncode, found.stdout) == (2, "")
    assert message in found.stderr
    assert message.startswith("Missing") or found.stderr.count("\n") == 1
    assert not Path("out.parquet").exists()
    assert not Path("out.parquet.part").exists()


def test_an_interrupt_keeps_what_is_done(clips, toy_bundle):
    program = """
import os, signal, sys
from weaksvr.runtime import corpus
from weaksvr.runtime.commands.embed import main

begun = corpus.signature_of
corpus.signature_of = lambda path: os.kill(os.getpid(), signal.SIGINT) if path.name == "x.mp4" else begun(path)
sys.argv = ["weaksvr-embed", *sys.argv[1:]]
main()
"""
    for number in range(20):
        shutil.copy("clips/a.mp4", f"clips/w{number:02}.mp4")
    shutil.copy("clips/a.mp4", "clips/x.mp4")
    arguments = ["clips", "--out", "out.parquet", "--bundle", str(toy_bundle), "--threads", "1"]
    found = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert (found.returncode, found.stderr) == (2, "error: interrupted\n")
    assert not Path("out.parquet").exists()
    code, document = in_process(*arguments)
    assert code == 0
    assert document["reused"] > 0
    assert document["reused"] + document["embedded"] == document["videos"] == 24
