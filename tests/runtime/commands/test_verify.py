from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from weaksvr.runtime.commands.verify import verify
from weaksvr.runtime.thresholds import SameProbability

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def call(*arguments, **options):
    command = [sys.executable, "-m", "weaksvr.runtime.commands.verify", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


def test_the_same(videos, toy_bundle):
    found = call(videos.first, videos.again, "--bundle", toy_bundle)
    assert (found.returncode, found.stderr) == (0, "")
    lines = found.stdout.splitlines()
    assert lines[0] == "SAME"
    rows = dict(line.split(maxsplit=1) for line in lines[1:])
    assert re.fullmatch(r"0\.\d{4}", rows.pop("distance"))
    assert re.fullmatch(r"\+0\.\d{4}", rows.pop("margin"))
    assert rows == {
        "threshold": "0.2500",
        "method": "vector",
        "sampling": "uniform-4",
        "device": "cpu (CPUExecutionProvider), fp32",
        "bundle": "toy",
    }


def test_different(videos, toy_bundle):
    found = call(videos.first, videos.other, "--bundle", toy_bundle, "--method", "alignment", "--device", "cpu")
    assert (found.returncode, found.stderr) == (1, "")
    assert found.stdout.splitlines()[0] == "DIFFERENT"
    assert "  method     alignment\n" in found.stdout
    assert "  margin     -" in found.stdout


@pytest.mark.parametrize(("other", "code"), [("again", 0), ("other", 1)])
def test_json(videos, toy_bundle, other, code):
    arguments = [videos.first, getattr(videos, other), "--bundle", toy_bundle, "--json"]
    found = CliRunner().invoke(verify, list(map(str, arguments)), standalone_mode=False)
    assert found.return_value == code
    document = json.loads(found.stdout)
    assert document["schema"] == "weaksvr.verify/1"
    assert document["same"] is (code == 0)
    assert document["margin"] == document["threshold"] - document["distance"]
    assert {"method", "device", "provider", "precision", "sampling", "bundle", "notes"} < set(document)


def test_options_reach_the_library(videos, toy_bundle):
    arguments = [videos.first, videos.other, "--bundle", toy_bundle, "--threshold", "2", "--precision", "fp32"]
    found = CliRunner().invoke(verify, list(map(str, arguments)), standalone_mode=False)
    assert found.return_value == 0
    assert "  threshold  2.0000\n" in found.stdout


def test_a_threshold_of_zero_and_a_sampling(videos, toy_bundle):
    arguments = [videos.first, videos.again, "--bundle", toy_bundle, "--threshold", "0", "--sampling", "segment"]
    found = call(*arguments)
    assert (found.returncode, found.stderr) == (1, "")
    assert "  threshold  0.0000\n" in found.stdout
    assert "  sampling   segment-4\n" in found.stdout
    found = call(*arguments[:4], "--sampling", "segment")
    assert (found.returncode, found.stdout) == (2, "")
    assert re.fullmatch(
        r"error: .* and sampling segment-4; give one, or calibrate it with weaksvr-calibrate\n", found.stderr
    )


def test_a_probability_is_printed(toys, videos, tmp_path):
    probability = SameProbability(intercept=2.0, slope=8.0)
    path = toys.write(tmp_path / "out", thresholds=(toys.threshold("vector", 0.25, probability=probability),))
    found = CliRunner().invoke(
        verify, [str(videos.first), str(videos.first), "--bundle", str(path)], standalone_mode=False
    )
    assert "  p(same)    0.881\n" in found.output  # 1 / (1 + exp(-2))


def test_damage_is_mentioned(videos, toy_bundle, tmp_path):
    (tmp_path / "cut.mp4").write_bytes(videos.first.read_bytes()[:-4])
    found = call(videos.first, "cut.mp4", "--bundle", toy_bundle, cwd=tmp_path)
    assert found.returncode == 0
    assert "  note       cut.mp4: " in found.stdout


def test_an_explanation(videos, toy_bundle):
    arguments = [str(videos.first), str(videos.again), "--bundle", str(toy_bundle), "--explain"]
    found = CliRunner().invoke(verify, arguments, standalone_mode=False)
    assert found.return_value == 0
    assert found.stdout.splitlines()[-1] == "  explained  no difference stands out"


def test_the_examples_are_explained():
    script = ("--script", str(EXAMPLES / "assembly_1.txt"))
    found = call("assembly_1.mp4", "assembly_swapped.mp4", *script, cwd=EXAMPLES)
    assert (found.returncode, found.stderr) == (1, "")
    assert found.stdout.splitlines()[-2:] == [
        "  explained  the videos part in 1 place",
        "    swapped  steps 2 and 3 are swapped in B: 'use the hammer on a nail' (A 0:05-0:08, B 0:02-0:05) comes "
        "before 'use the tape' (A 0:03-0:05, B 0:05-0:08)",
    ]
    found = call("assembly_1.mp4", "assembly_swapped.mp4", *script, "--json", cwd=EXAMPLES)
    assert found.returncode == 1
    (difference,) = json.loads(found.stdout)["explanation"]["differences"]
    assert (difference["kind"], difference["steps"], difference["other_steps"]) == ("swapped", [2], [3])
    found = call("assembly_1.mp4", "assembly_2.mp4", "--explain", cwd=EXAMPLES)
    assert found.returncode == 0
    assert found.stdout.endswith("  explained  no difference stands out\n")


TROUBLE = {
    "no script": (["--script", "none.txt"], "a.mp4", r"none\.txt: the script cannot be read: "),
    "no text": (["--script", "a.mp4"], "a.mp4", r"a\.mp4: is not a text file in UTF-8"),
    "empty script": (["--script", "empty.mp4"], "a.mp4", r"empty\.mp4: holds no step"),
    "no file": ([], "none.mp4", r"none\.mp4: no such file"),
    "empty": ([], "empty.mp4", r"empty\.mp4: "),
    "text": ([], "text.mp4", r"text\.mp4: "),
    "threshold": (["--threshold", "nan"], "a.mp4", "threshold = nan must be a finite number"),
    "precision": (["--precision", "fp64"], "a.mp4", "has no precision 'fp64'; it has fp32"),
    "no bundle": (["--bundle", "nowhere"], "a.mp4", "nowhere: no bundle there"),
    "empty bundle name": (["--bundle", ""], "a.mp4", "no bundle there"),
}


@pytest.mark.parametrize("case", TROUBLE)
def test_trouble(videos, toy_bundle, tmp_path, case):
    options, other, message = TROUBLE[case]
    shutil.copy(videos.first, tmp_path / "a.mp4")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("ffconcat version 1.0\nfile a.mp4\n")
    before = sorted(tmp_path.iterdir())
    found = call("a.mp4", other, "--bundle", toy_bundle, *options, cwd=tmp_path)
    assert found.returncode == 2
    assert found.stdout == ""
    assert re.match(f"error: .*{message}", found.stderr)
    assert found.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "arguments", [[], ["a"], ["a", "b", "c"], ["a", "b", "--method", "x"], ["a", "b", "--device", "x"]]
)
def test_usage(arguments):
    assert CliRunner().invoke(verify, arguments).exit_code == 2


def test_the_help_names_every_option_and_the_exit_codes():
    text = CliRunner().invoke(verify, ["--help"]).output
    options = ("--bundle", "--method", "--threshold", "--device", "--precision", "--explain", "--script", "--json")
    for word in (*options, "--version", "1 if they"):
        assert word in text
