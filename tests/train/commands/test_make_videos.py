from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from weaksvr.train.commands.make_videos import command

MODULE = [sys.executable, "-m", "weaksvr.train.commands.make_videos"]


def test_json_result_is_one_document(tmp_path):
    out = tmp_path / "data"
    result = CliRunner().invoke(command, [str(out), "--train", "1", "--size", "64", "--workers", "1", "--json"])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["schema"] == "weaksvr.make-videos/1"
    assert document["lines"] == {"train.jsonl": 1, "boundaries.jsonl": 1}
    assert document["out"] == str(out)
    assert (out / "videos/train/0000.mp4").stat().st_size > 10_000


def test_summary_for_people(tmp_path):
    result = CliRunner().invoke(command, [str(tmp_path / "data"), "--val", "1", "--size", "64", "--seed", "2"])
    assert result.exit_code == 0
    assert "1 videos in" in result.stdout
    assert "val.jsonl" in result.stdout


def test_help_and_version_are_quick_to_load():
    for option, expected in (("--help", "nothing is overwritten"), ("--version", "make_videos")):
        timed = [sys.executable, "-X", "importtime", *MODULE[1:], option]
        done = subprocess.run(timed, capture_output=True, text=True, check=False)
        assert done.returncode == 0
        assert expected in done.stdout
        loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if "|" in line}
        assert not loaded & {"av", "numpy", "onnxruntime", "torch"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train", "0"], "no videos asked for"),
        (["--train", "1", "--size", "101"], "--size 101: must be even"),
    ],
)
def test_trouble_is_one_line_and_exit_code_2(tmp_path, options, message):
    done = subprocess.run([*MODULE, str(tmp_path / "data"), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert message in line
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="signals to a process group")
def test_ctrl_c_leaves_nothing_behind(tmp_path):
    process = subprocess.Popen(
        [*MODULE, str(tmp_path / "data"), "--train", "500", "--size", "64", "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob(".data.*.tmp/videos/train/*.mp4")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 2
    assert stdout == ""
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    assert not any(tmp_path.iterdir())
