"""The tables in the documents are those that the kept results make."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "decode.json"
CODE = "import json, sys, report; sys.stdout.write(report.decode_document(json.load(sys.stdin)))"


def document(results: dict) -> str:
    """What the script makes of results; run as it is run, from its own folder."""
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", CODE],
        input=json.dumps(results),
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=ROOT / "benchmarks",
        check=True,
    )
    return done.stdout


@pytest.fixture(scope="module")
def results() -> dict:
    return json.loads(RESULTS.read_text())


def test_decode_table_is_that_of_the_results(results):
    assert (ROOT / "docs" / "decode.md").read_text(encoding="utf-8") == document(results)


def test_our_frames_are_identical_to_a_plain_decode(results):
    ours = [result for result in results["results"] if result["reader"] == "weaksvr"]
    assert ours
    assert all(result["identical"] and result["wrong"] == 0 for result in ours)


def test_readers_with_wrong_frames_are_marked_and_are_no_peers(results):
    cell = [r for r in results["results"] if (r["threads"], r["frames"], r["file"]) == (1, 16, "x264_720p.mp4")]
    made = copy.deepcopy({**results, "results": cell})
    by_reader = {result["reader"]: result for result in made["results"]}
    for reader, result in by_reader.items():
        result.pop("error", None)
        result.update(seconds=[2.0], cpu_seconds=[2.0], wrong=0, identical=reader == "weaksvr")
        if reader != "weaksvr segment":
            result["distance"] = 1.0
    by_reader["weaksvr"]["cpu_seconds"] = [0.5, 0.4]
    by_reader["decord"].update(cpu_seconds=[0.1], wrong=1)
    by_reader["OpenCV grab"].update(cpu_seconds=[0.1], distance=50.0)
    by_reader["PyAV seek"]["error"] = "gone"
    by_reader["video_reader-rs"]["cpu_seconds"] = [1.0]
    (line,) = [line for line in document(made).splitlines() if line.startswith("| x264 defaults, 720p")]
    assert "| 400 |" in line
    assert line.count("100 ¹ †") == 2
    assert "| ✗ |" in line
    assert line.endswith("| **2.50** | **0.50** |")
