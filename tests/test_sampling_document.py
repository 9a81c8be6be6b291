"""The tables of docs/sampling.md and docs/calibration.md are what the benchmark's results say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = json.loads((ROOT / "benchmarks" / "results" / "sampling.json").read_text())
TEXT = (ROOT / "docs" / "sampling.md").read_text()
POLICIES = ("uniform", "three-view", "segment")
KINDS = ("swap", "replace", "repeat", "drop")


def interval(pair) -> str:
    return " to ".join(f"{value:+.4f}" if min(pair) < 0 else f"{value:.4f}" for value in pair)


@pytest.mark.parametrize("method", ["alignment", "vector"])
@pytest.mark.parametrize("policy", POLICIES)
def test_auc(policy, method):
    found = RESULTS["policies"][policy]["methods"][method]
    test, kinds = found["equal-error"], found["auc_by_kind"]
    cells = [f"{test['test_auc']:.4f}", interval(test["test_auc_interval"]), *(f"{kinds[kind]:.4f}" for kind in KINDS)]
    assert f"| {method} | {policy} | {' | '.join(cells)} |" in TEXT


@pytest.mark.parametrize("method", ["alignment", "vector"])
@pytest.mark.parametrize("policy", POLICIES[1:])
def test_differences(policy, method):
    found = RESULTS["against_uniform"][method][policy]
    assert f"| {method} | {policy} | {found['difference']:+.4f} | {interval(found['interval'])} |" in TEXT


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_decoded(policy):
    found = RESULTS["policies"][policy]["decoded"]
    assert f"| {policy} | {found['frames']:g} | {found['pictures']:.1f} | {found['kilobytes']:.1f} |" in TEXT


@pytest.mark.parametrize("method", ["alignment", "vector"])
@pytest.mark.parametrize("policy", POLICIES)
def test_promises_and_reencodings(policy, method):
    found = RESULTS["policies"][policy]["methods"][method]
    for point in ("equal-error", "false-accept=0.05"):
        entry = found[point]
        bound = entry["calibration"]["evidence"]["false_accept_bound"]
        cells = [f"{entry['calibration']['evidence']['false_accept']:.3f}", f"{bound:.3f}"]
        cells += [f"{entry['test_false_accept']:.3f}", interval(entry["test_false_accept_interval"])]
        assert f"| {method} | {policy} | {point} | {' | '.join(cells)} |" in TEXT
    kept = found["reencoded"]
    cells = [f"{row['kept']} of {row['pairs']}, {row['largest_change']:.4f}" for row in kept.values()]
    assert f"| {method} | {policy} | {' | '.join(cells)} |" in TEXT


def test_probabilities():
    text = (ROOT / "docs" / "calibration.md").read_text()
    for row in RESULTS["policies"]["three-view"]["methods"]["alignment"]["probability"]:
        cells = [f"{row['from']:.1f} to {row['from'] + 0.2:.1f}", str(row["pairs"])]
        cells += [f"{row['probability']:.2f}", f"{row['same']:.2f}"]
        assert f"| {' | '.join(cells)} |" in text
