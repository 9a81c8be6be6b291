"""--report, as people give it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


def call(command, *arguments, **options):
    line = [sys.executable, "-m", f"weaksvr.runtime.commands.{command}", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60, **options)


@pytest.mark.parametrize(("other", "code", "word"), [("again", 0, "Same procedure"), ("other", 1, "Different")])
def test_verify(videos, toy_bundle, tmp_path, other, code, word):
    out = tmp_path / "<script>.html"
    arguments = [videos.first, getattr(videos, other), "--bundle", toy_bundle]
    found = call("verify", *arguments, "--report", out)
    assert (found.returncode, found.stderr) == (code, "")
    assert found.stdout.splitlines()[-1] == f"  report     {out}"
    text = out.read_text(encoding="utf-8")
    assert f"<h1>{word}" in text
    assert "<code>weaksvr-verify " in text
    assert "&lt;script&gt;.html" in text
    assert "<script" not in text
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_report_and_json(videos, toy_bundle, tmp_path):
    out = tmp_path / "out.html"
    arguments = [videos.first, videos.other, "--bundle", toy_bundle, "--json"]
    found = call("verify", *arguments, "--report", out)
    assert (found.returncode, found.stderr) == (1, "")
    assert json.loads(found.stdout) == json.loads(call("verify", *arguments, "--explain").stdout)
    assert out.exists()


@pytest.mark.parametrize(("shown", "code"), [(("take", "pour"), 0), (("take", None), 1)])
def test_timeline(step_bundle, step_video, tmp_path, shown, code):
    script, out = tmp_path / "steps.txt", tmp_path / "out.html"
    script.write_text("take\npour\n", encoding="utf-8")
    arguments = [script, step_video(*shown), "--bundle", step_bundle]
    found = call("timeline", *arguments, "--report", out)
    assert (found.returncode, found.stderr) == (code, "")
    assert found.stdout.splitlines()[-1] == f"  report       {out}"
    assert f'<p class="w-tag">{"FAIL" if code else "PASS"}</p>' in out.read_text(encoding="utf-8")
    found = call("timeline", *arguments, "--report", out, "--json")
    assert found.returncode == code
    assert json.loads(found.stdout)["passed"] is (code == 0)


@pytest.mark.parametrize("command", ["verify", "timeline"])
def test_a_path_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path, command):
    found = call(command, "absent_1", "absent_2", "--bundle", "absent", "--report", "none/out.html", cwd=tmp_path)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == "error: none/out.html: cannot be written: there is no folder none; make it first\n"


def test_an_input_is_never_overwritten(videos, toy_bundle, tmp_path):
    own = tmp_path / "a.mp4"
    own.write_bytes(videos.first.read_bytes())
    (tmp_path / "link.html").symlink_to(own)
    found = call("verify", own, videos.other, "--bundle", toy_bundle, "--report", tmp_path / "link.html")
    assert (found.returncode, found.stdout) == (2, "")
    assert "is an input, which the report would overwrite" in found.stderr
    assert own.read_bytes() == videos.first.read_bytes()


def test_trouble_leaves_no_report(videos, toy_bundle, tmp_path):
    found = call("verify", videos.first, os.devnull, "--bundle", toy_bundle, "--report", tmp_path / "out.html")
    assert (found.returncode, found.stdout) == (2, "")
    assert len(found.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_lists_have_no_report(videos):
    found = call("verify", "--reference", videos.first, videos.other, "--report", "out.html")
    assert found.returncode == 2
    assert "--report are for two videos" in found.stderr
