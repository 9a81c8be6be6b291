"""The tables of docs/timeline.md are what the benchmark's results say; its example is what the command prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from weaksvr.runtime.bundle import DEFAULT_BUNDLE
from weaksvr.runtime.step_finding import TimelineSettings

ROOT = Path(__file__).resolve().parents[1]
RESULTS = json.loads((ROOT / "benchmarks" / "results" / "timeline.json").read_text())
TEXT = (ROOT / "docs" / "timeline.md").read_text()
MEASURES = ("step_recall", "mean_temporal_iou", "frame_accuracy", "edit", "f1_10", "f1_25", "f1_50")


def measures(found):
    return " | ".join(f"{found[name]:.1f}" for name in MEASURES)


def test_the_settings_are_those_that_were_measured():
    assert RESULTS["settings"] == TimelineSettings().to_dict()


@pytest.mark.parametrize("way", RESULTS["ways"])
def test_ways(way):
    assert f"| {way} | {measures(RESULTS['ways'][way])} |" in TEXT


@pytest.mark.parametrize("kind", RESULTS["verdicts"])
def test_verdicts(kind):
    found = RESULTS["verdicts"][kind]
    shares = " | ".join(f"{100 * found[name] / found['cases']:.1f}" for name in ("right", "right_strict"))
    assert f"| {found['cases']} | {shares} |" in next(line for line in TEXT.splitlines() if f"| {kind} |" in line)


@pytest.mark.parametrize("name", ["placed", "missing"])
def test_confidence(name):
    for row in RESULTS["confidence"][name]:
        assert f"| {row['from']:g} | {row['cases']} | {row['confidence']:.3f} | {row['right']:.3f} |" in TEXT


def test_long_videos():
    found = RESULTS["long"]
    assert f"| each clip alone | - | {measures(found['one_by_one'])} |" in TEXT
    for seconds, row in found["windows"].items():
        assert f"| {seconds} s | {row['windows']} | {measures(row)} |" in TEXT
    for row in found["memory"]:
        cells = [f"{row['minutes']:g}", row["windows"], row["frames"], f"{row['processor_seconds']:g}"]
        assert f"| {' | '.join(map(str, cells))} | {row['peak_megabytes']} |" in TEXT


@pytest.mark.skipif(not DEFAULT_BUNDLE.is_dir(), reason="this checkout holds no default bundle")
def test_example():
    arguments = ["examples/assembly_1.txt", "examples/assembly_swapped.mp4", "--device", "cpu"]
    command = [sys.executable, "-m", "weaksvr.runtime.commands.timeline", *arguments]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert (found.returncode, found.stderr) == (1, "")
    shown = "".join(f"    {line}".rstrip() + "\n" for line in found.stdout.splitlines())
    assert shown in TEXT
