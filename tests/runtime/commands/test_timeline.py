"""weaksvr-timeline, as people call it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from weaksvr.runtime.commands.timeline import timeline


def call(*arguments):
    command = [sys.executable, "-m", "weaksvr.runtime.commands.timeline", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def script(tmp_path):
    file = tmp_path / "script.txt"
    file.write_text("take\npour | max 1.5s\n", encoding="utf-8")
    return file


def test_pass(script, step_bundle, step_video):
    found = call(script, step_video("take", "pour", None), "--bundle", step_bundle)
    assert (found.returncode, found.stderr) == (0, "")
    lines = found.stdout.splitlines()
    assert lines[0] == "PASS"
    rows = [line.split() for line in lines if line.endswith(" found")]
    assert [row[:2] for row in rows] == [["1", "take"], ["2", "pour"]]
    assert [row[4] for row in rows] == ["[##########]"] * 2
    assert "  device       cpu (CPUExecutionProvider), fp32\n" in found.stdout
    assert "in one window" in found.stdout


def test_fail(script, step_bundle, step_video):
    found = call(script, step_video("take", "stir", "take"), "--bundle", step_bundle, "--window", 3)
    assert (found.returncode, found.stderr) == (1, "")
    lines = found.stdout.splitlines()
    assert lines[0] == "FAIL"
    assert "  step 2 (pour) is missing" in lines
    assert any(line.endswith("missing") and "        -          -" in line for line in lines)
    assert any(line.endswith("again") for line in lines)
    assert any(line.startswith("  no step at   0:0") for line in lines)


@pytest.mark.parametrize(("shown", "code"), [(("take", "pour", None), 0), (("pour", "take", None), 1)])
def test_json(script, step_bundle, step_video, shown, code):
    arguments = [script, step_video(*shown), "--bundle", step_bundle, "--json"]
    found = CliRunner().invoke(timeline, list(map(str, arguments)), standalone_mode=False)
    assert found.return_value == code
    document = json.loads(found.stdout)
    assert document["schema"] == "weaksvr.timeline/1"
    assert document["passed"] is (code == 0)
    assert len(document["steps"]) == 2


def test_options_reach_the_library(script, step_bundle, step_video):
    options = [
        "--start",
        "0.5",
        "--end",
        "2.5",
        "--whole",
        "1.6",
        "--window",
        "1.5",
        "--max-unexplained",
        "0.25",
        "--json",
    ]
    arguments = [script, step_video("take", None, "pour"), "--bundle", step_bundle, *options]
    found = CliRunner().invoke(timeline, list(map(str, arguments)), standalone_mode=False)
    document = json.loads(found.stdout)
    assert (document["start"], document["end"]) == pytest.approx((0.5, 2.5))
    assert (document["settings"]["whole_seconds"], document["settings"]["window_seconds"]) == (1.6, 1.5)
    assert len(document["windows"]) > 1
    assert document["settings"]["max_unexplained_seconds"] == 0.25
    assert found.return_value == 1
    assert any(reason.startswith("nothing of the script") for reason in document["reasons"])


def test_long_and_strange_texts_stay_on_one_line(step_bundle, step_video, tmp_path):
    file = tmp_path / "script.txt"
    file.write_text(f"take {'very ' * 30}\ntake \x1b[31m\n", encoding="utf-8")
    found = call(file, step_video("take", "pour", None), "--bundle", step_bundle)
    assert found.returncode in (0, 1)
    assert "\x1b" not in found.stdout
    assert "..." in found.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.txt", "VIDEO"], "none.txt: the script cannot be read"),
        (["SCRIPT", "none.mp4"], "none.mp4"),
        (["SCRIPT", "SCRIPT"], "script.txt"),
        (["SCRIPT", "VIDEO", "--start", "9"], "has 0 frames, but 4 are needed"),
        (["SCRIPT", "VIDEO", "--start", "2", "--end", "1"], "0 <= start < end"),
        (["SCRIPT", "VIDEO", "--window", "0"], "above 0"),
        (["SCRIPT", "VIDEO", "--window", "nan"], "finite"),
        (["SCRIPT", "VIDEO", "--max-unexplained", "-1"], "at least 0"),
        (["SCRIPT"], "Missing argument"),
    ],
)
def test_trouble_is_two(script, step_bundle, step_video, arguments, message):
    paths = {"SCRIPT": script, "VIDEO": step_video("take", "pour", None)}
    found = call(*(paths.get(argument, argument) for argument in arguments), "--bundle", step_bundle)
    assert (found.returncode, found.stdout) == (2, "")
    assert message in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    "content", [b"", b"\n# nothing\n", b"\xff\xfe\x00", b"take | max soon\n", b"take | min 3s | max 1s"]
)
def test_hostile_scripts(step_bundle, step_video, tmp_path, content):
    file = tmp_path / "bad.txt"
    file.write_bytes(content)
    found = call(file, step_video("take", "pour", None), "--bundle", step_bundle)
    assert (found.returncode, found.stdout) == (2, "")
    assert len(found.stderr.splitlines()) == 1
    assert "bad.txt" in found.stderr


def test_help_loads_neither_networks_nor_decoders():
    code = (
        "import sys; from weaksvr.runtime.commands.timeline import timeline; "
        "timeline(['--help'], standalone_mode=False); "
        "print(sorted({'onnxruntime', 'av', 'numpy'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.startswith("Usage: ")
    assert found.stdout.endswith("[]\n")
