"""What docs/explain.md shows is what the command prints, and its tables are what the benchmarks' results say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXPLAINED = json.loads((ROOT / "benchmarks" / "results" / "explain.json").read_text())
COMPARED = json.loads((ROOT / "benchmarks" / "results" / "compare.json").read_text())
TEXT = (ROOT / "docs" / "explain.md").read_text()
KINDS = {"swap": "swapped", "replace": "replaced", "repeat": "repeated", "drop": "dropped"}
SPLITS = {"test": "test", "val": "validation"}
SCRIPTS = {"without_script": "no", "with_script": "yes"}


def percent(rate: float) -> str:
    return f"{100 * rate:.1f}"


def with_interval(entry: dict, name: str) -> str:
    low, high = entry[f"{name}_interval"]
    return f"{percent(entry[name])} ({100 * low:.0f} to {100 * high:.0f})"


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("split", SPLITS)
def test_what_is_named(split, script):
    kinds = EXPLAINED["splits"][split][script]["kinds"]
    for kind, word in KINDS.items():
        entry = kinds[kind]
        steps = percent(entry["steps"]) if "steps" in entry else ""
        cells = [SPLITS[split], SCRIPTS[script], word, str(entry["pairs"]), with_interval(entry, "kind")]
        cells += [percent(entry["place_0.1"]), percent(entry["place_0.5"]), steps]
        cells += [percent(entry["among"]), percent(entry["none"])]
        assert f"| {' | '.join(cells)} |" in TEXT
    same = kinds["same"]
    cells = [SPLITS[split], SCRIPTS[script], str(same["pairs"]), with_interval(same, "none")]
    assert f"| {' | '.join(cells)} |" in TEXT


@pytest.mark.parametrize("row", EXPLAINED["around"], ids=lambda row: str(row["alike"]))
def test_what_other_numbers_do(row):
    assert f"| {row['alike']} | {percent(row['same'])} | {percent(row['different'])} |" in TEXT


def test_how_often_verdict_and_explanation_disagree():
    verdict = EXPLAINED["splits"]["test"]["without_script"]["verdict"]
    one_line = " ".join(TEXT.split())
    assert f"{verdict['different_but_no_place']} of {verdict['different']} pairs that are called DIFFERENT" in one_line
    some, truly = verdict["same_but_a_place"], verdict["same_but_a_place_truly_different"]
    assert f"{some} of {verdict['same']} that are called SAME have one: {truly} of these {some} truly" in one_line


@pytest.mark.parametrize("name", COMPARED["distances"])
def test_distances(name):
    entry = COMPARED["distances"][name]
    cells = [name, f"{entry['val_auc']:.4f}", f"{entry['test_auc']:.4f}"]
    cells += [f"{entry['test_auc_by_kind'][kind]:.4f}" for kind in KINDS]
    cells += [f"{entry['test_accuracy']:.3f}"]
    low, high = entry["against_alignment_interval"]
    if name != "alignment":
        cells += [f"{entry['against_alignment']:+.4f}", f"{low:+.4f} to {high:+.4f}"]
    assert f"| {' | '.join(cells)} |" in TEXT


def test_no_distance_is_better_beyond_chance():
    assert all(entry["against_alignment_interval"][0] <= 0 for entry in COMPARED["distances"].values())


@pytest.mark.parametrize("block", re.findall(r"```\n\$ weaksvr-verify (.*)\n((?:.*\n)*?)```", TEXT))
def test_the_command_prints_what_is_shown(block):
    arguments, shown = block
    done = subprocess.run(
        [sys.executable, "-m", "weaksvr.runtime.commands.verify", *arguments.split()],
        cwd=ROOT / "examples",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    first, _, *rest = shown.splitlines()
    assert done.stdout.splitlines()[0] == first
    assert done.stdout.splitlines()[-len(rest) :] == rest
