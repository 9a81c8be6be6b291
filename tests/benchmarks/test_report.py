"""The tables in the documents are those that the kept results make."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
CODE = "import json, sys, report; sys.stdout.write(report.{}(*json.load(sys.stdin)))"


def made_of(function: str, *results: object) -> str:
    """What the script makes of results; run as it is run, from its own folder."""
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", CODE.format(function)],
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
    return json.loads((RESULTS / "decode.json").read_text())


@pytest.fixture(scope="module")
def verified() -> dict:
    return json.loads((RESULTS / "verify.json").read_text())


def test_the_document_is_that_of_the_results(results, verified):
    expected = f"{made_of('decode_document', results)}\n{made_of('verify_section', verified)}"
    assert (ROOT / "docs" / "decode.md").read_text(encoding="utf-8") == expected


def test_the_table_of_the_readme_is_that_of_the_results(results, verified):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert made_of("speed_table", results, verified) in text
    assert made_of("with_table", text, "| new |").count("| new |") == 1


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
    (line,) = [
        line for line in made_of("decode_document", made).splitlines() if line.startswith("| x264 defaults, 720p")
    ]
    assert "| 400 |" in line
    assert line.count("100 ¹ †") == 2
    assert "| ✗ |" in line
    assert line.endswith("| **2.50** | **0.50** |")
