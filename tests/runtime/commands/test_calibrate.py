from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner
from weaksvr.runtime.bundle import DEFAULT_BUNDLE, Bundle
from weaksvr.runtime.commands.calibrate import calibrate


def call(*arguments, **options):
    command = [sys.executable, "-m", "weaksvr.runtime.commands.calibrate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


def invoke(*arguments):
    return CliRunner().invoke(calibrate, list(map(str, arguments)), standalone_mode=False)


@pytest.fixture
def pairs(videos, tmp_path):
    path = tmp_path / "pairs.csv"
    rows = [f"{videos.first},{videos.again},1", f"{videos.first},{videos.other},0", f"{videos.again},{videos.other},0"]
    path.write_text("\n".join(["video_a,video_b,same", *rows, ""]))
    return path


def test_it_says_what_it_found_and_writes_it(own_bundle, pairs):
    found = call("--pairs", pairs, own_bundle, "--at", "false-accept=0.01")
    assert (found.returncode, found.stderr) == (0, "")
    lines = found.stdout.splitlines()
    assert lines[0] == "3 pairs of 3 videos, 1 of them the same"
    assert "vector: at most 0.01 of the different calibration pairs accepted" in lines
    assert "alignment: at most 0.01 of the different calibration pairs accepted" in lines
    for row in ("threshold", "AUC", "equal error rate", "false accept", "false refuse"):
        pattern = rf"  {row} +\d\.\d{{4}}  \(95 %: \d\.\d{{4}} to \d\.\d{{4}}"
        assert len([line for line in lines if re.match(pattern, line)]) == 2, row
    assert any(
        re.match(r"note: vector: the 2 different pairs are worth . .* too few to promise 0\.01", line) for line in lines
    )
    assert lines[-1] == f"written to {own_bundle}"
    entries = Bundle.open(own_bundle).manifest.thresholds
    assert {entry.calibrated.evidence.at for entry in entries} == {"false-accept=0.01"}


def test_json_to_a_copy(toy_bundle, pairs, tmp_path):
    before = (toy_bundle / "manifest.json").read_bytes()
    out = tmp_path / "copy"
    found = call("--pairs", pairs, toy_bundle, "--json", "--out", out, "--method", "vector", "--sampling", "three-view")
    assert (found.returncode, found.stderr) == (0, "")
    document = json.loads(found.stdout)
    assert (document["schema"], document["written"]) == ("weaksvr.calibrate/1", str(out))
    (entry,) = document["thresholds"]
    assert (entry["method"], entry["precision"], entry["sampling"]) == ("vector", "fp32", "three-view-4")
    manifest = Bundle.open(out).manifest
    assert entry == manifest.threshold("vector", "fp32", "three-view-4").to_json()
    assert entry["calibrated"]["evidence"]["picture"] in {report.path for report in manifest.reports}
    assert manifest.threshold("vector", "fp32", "uniform-4") is not None  # which was there before
    assert (toy_bundle / "manifest.json").read_bytes() == before


TROUBLE = {
    "point": (["--at", "best"], "'best' is no point for a threshold; use equal-error, accuracy or false-accept=0.01"),
    "no pairs": (["--pairs", "none.csv"], r"none\.csv"),
    "no bundle": (["nowhere"], "nowhere: no bundle there"),
    "precision": (["--precision", "fp64"], "has no precision 'fp64'"),
    "out": (["--out", "."], r"exists and is not a bundle"),
    "packaged": (
        ["--out", str(DEFAULT_BUNDLE)],
        "comes with the package and is read-only; write a copy with",
    ),
}


@pytest.mark.parametrize("case", TROUBLE)
def test_trouble(own_bundle, pairs, case):
    options, message = TROUBLE[case]
    bundle = [] if case == "no bundle" else [own_bundle]
    before = {path: path.read_bytes() for path in own_bundle.iterdir()}
    given = options if "--pairs" in options else ["--pairs", "pairs.csv", *options]
    found = call(*bundle, *given, cwd=pairs.parent)
    assert (found.returncode, found.stdout) == (2, "")
    assert re.match(f"error: .*{message}", found.stderr)
    assert found.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in own_bundle.iterdir()} == before


@pytest.mark.parametrize(
    "arguments",
    [[], ["bundle"], ["--pairs", "x"], ["bundle", "--pairs", "x", "--method", "guess"], ["a", "b", "--pairs", "x"]],
)
def test_usage(arguments):
    assert CliRunner().invoke(calibrate, arguments).exit_code == 2


def test_the_help_names_every_option():
    text = CliRunner().invoke(calibrate, ["--help"]).output
    for word in (
        "--pairs",
        "--at",
        "--method",
        "--out",
        "--sampling",
        "--device",
        "--precision",
        "--json",
        "--version",
    ):
        assert word in text


def test_a_bundle_that_abstains(own_bundle, pairs, videos, tmp_path):
    few = call("--pairs", pairs, own_bundle, "--abstain")
    assert (few.returncode, few.stdout) == (2, "")
    assert few.stderr == (
        "error: 3 videos are too few to say which other ones are unlike them; calibrate with at least 8, or without "
        "--abstain\n"
    )
    names = []
    for number in range(9):
        names.append(f"{number}.mp4")
        shutil.copy((videos.first, videos.again, videos.other)[number % 3], tmp_path / names[-1])
    same = {(a, b): int((a % 3 == 2) is (b % 3 == 2)) for a in range(9) for b in range(a)}
    rows = [f"{names[a]},{names[b]},{label}" for (a, b), label in same.items()]
    pairs.write_text("\n".join(["video_a,video_b,same", *rows, ""]))
    found = call("--pairs", pairs, own_bundle, "--abstain", "--method", "vector")
    assert (found.returncode, found.stderr) == (0, "")
    assert re.search(r"  undecided +from \d\.\d{4} to \d\.\d{4}, and videos stranger than \d+\.\d\d\n", found.stdout)
    manifest = Bundle.open(own_bundle).manifest
    entry, other = (manifest.threshold(method, "fp32", "uniform-4") for method in ("vector", "alignment"))
    assert other.abstention is None
    low, high = entry.calibrated.evidence.intervals["threshold"]
    assert (entry.abstention.low, entry.abstention.high) == (min(low, entry.threshold), max(high, entry.threshold))
    assert entry.abstention.familiarity.videos == 9
    assert call("--pairs", pairs, own_bundle, "--method", "vector").returncode == 0
    assert Bundle.open(own_bundle).manifest.threshold("vector", "fp32", "uniform-4").abstention is None
