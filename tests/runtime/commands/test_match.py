from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def folder(videos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    for name, video in zip("abc", (videos.first, videos.again, videos.other), strict=True):
        shutil.copy(video, f"clips/{name}.mp4")
    Path("tea.txt").write_text("take the cup\npour water | min 1s\nstir\n")
    return tmp_path


def call(*arguments, toy_bundle, module="match", **options):
    command = [sys.executable, "-m", f"weaksvr.runtime.commands.{module}", *map(str, arguments)]
    command += ["--bundle", toy_bundle, "--device", "cpu"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


def test_a_ranking(folder, toy_bundle):
    found = call("tea.txt", "clips", "--top", 2, toy_bundle=toy_bundle)
    assert (found.returncode, found.stderr) == (0, "")
    head, first, second, *rows = found.stdout.splitlines()
    assert head == "tea.txt: 3 steps, 3 videos"
    assert first.split()[0] == "1"
    assert second.split()[0] == "2"
    assert float(first.split()[1]) >= float(second.split()[1])
    assert dict(row.split(maxsplit=1) for row in rows) == {
        "method": "alignment",
        "sampling": "uniform-4",
        "device": "cpu (CPUExecutionProvider), fp32",
        "bundle": "toy",
    }


def test_a_bad_video(folder, toy_bundle):
    Path("list.txt").write_text("clips/a.mp4\nno.mp4\n")
    found = call("tea.txt", "--list", "list.txt", "--json", "--threads", 1, toy_bundle=toy_bundle)
    assert found.returncode == 2
    assert found.stderr == "failed: no.mp4: no such file or folder; check the path\n"
    document = json.loads(found.stdout)
    assert [video["video"] for video in document["scripts"][0]["videos"]] == ["clips/a.mp4"]
    assert [failure["video"] for failure in document["failures"]] == ["no.mp4"]


def test_many_scripts_and_stored_embeddings(folder, toy_bundle):
    Path("scripts").mkdir()
    for name in ("1", "2"):
        Path(f"scripts/{name}.txt").write_text("stir\n" * int(name))
    done = call("clips", "--out", "e.parquet", "--frames", toy_bundle=toy_bundle, module="embed")
    assert done.returncode == 0, done.stderr
    stored = call("scripts", "e.parquet", "--script", "tea.txt", "--json", toy_bundle=toy_bundle)
    fresh = call("scripts", "-", "--script", "tea.txt", "--json", toy_bundle=toy_bundle, input="clips\n")
    assert (stored.returncode, stored.stderr) == (0, "")
    assert json.loads(stored.stdout) == json.loads(fresh.stdout)
    scripts = json.loads(stored.stdout)["scripts"]
    assert [(script["script"], len(script["steps"])) for script in scripts] == [
        ("scripts/1.txt", 1),
        ("scripts/2.txt", 2),
        ("tea.txt", 3),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'SCRIPT'"),
        (["tea.txt"], "there are no videos to rank"),
        (["no.txt", "clips"], "no.txt: the script cannot be read: No such file"),
        (["clips", "clips"], "clips: holds no script"),
        (["tea.txt", "clips", "--top", "0"], "top = 0 must be at least 1"),
        (["tea.txt", "no*.mp4"], "nothing matches this pattern"),
        (["tea.txt", "clips", "--threads", "0"], "the number of threads is 0"),
        (["tea.txt", "no.parquet"], "no.parquet: no such file"),
        (["tea.txt", "clips", "--method", "best"], "Invalid value for '--method'"),
    ],
)
def test_trouble(folder, toy_bundle, arguments, message):
    found = call(*arguments, toy_bundle=toy_bundle)
    assert (found.returncode, found.stdout) == (2, "")
    assert message in found.stderr.splitlines()[-1]
