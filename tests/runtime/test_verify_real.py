"""Real footage and the bundle that comes along: verdict, margin, probability and exit code say the same thing."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner
from weaksvr.runtime import load
from weaksvr.runtime.bundle import DEFAULT_BUNDLE
from weaksvr.runtime.commands.verify import verify

CLIPS = Path(__file__).parents[2].parent / "shared" / "clips"
NAMES = ("sam2__04_coffee.mp4", "sample-videos__eat.mkv", "torchcodec__nasa_13013_hdr.mp4")

pytestmark = [
    pytest.mark.skipif(not DEFAULT_BUNDLE.is_dir(), reason="this checkout holds no default bundle"),
    pytest.mark.skipif(not CLIPS.is_dir(), reason="the sample clips are not there"),
]


@pytest.fixture(scope="module")
def model():
    return load(device="cpu", sampling="segment", num_threads=2)


@pytest.fixture(scope="module")
def results(model):
    """Both ways round, by method and pair."""
    return {
        (method, a, b): model.verify(CLIPS / a, CLIPS / b, method=method)
        for method in ("vector", "alignment")
        for a, b in itertools.permutations(NAMES, 2)
    }


def test_swapping_changes_nothing_but_the_names(results):
    for (method, a, b), result in results.items():
        other = results[method, b, a]
        assert sorted(result.notes) == sorted(other.notes)
        assert dataclasses.replace(result, notes=()) == dataclasses.replace(other, notes=())


def test_the_probability_falls_with_the_distance(results):
    for method in ("vector", "alignment"):
        ranked = sorted((r for key, r in results.items() if key[0] == method), key=lambda result: result.distance)
        chances = [result.probability for result in ranked]
        assert chances == sorted(chances, reverse=True)
        assert [result.margin for result in ranked] == sorted((r.margin for r in ranked), reverse=True)


def test_the_threshold_decides_to_the_last_bit(model, results):
    (method, a, b), known = next(iter(results.items()))
    limits = (0.0, math.nextafter(known.distance, 0), known.distance, math.nextafter(known.distance, 3), 2.0)
    for limit in limits:
        arguments = [str(CLIPS / a), str(CLIPS / b), "--method", method, "--sampling", "segment", "--device", "cpu"]
        found = CliRunner().invoke(
            verify, [*arguments, "--threads", "2", "--threshold", repr(limit), "--json"], standalone_mode=False
        )
        document = json.loads(found.stdout)
        assert document["distance"] == known.distance
        assert document["same"] is (known.distance <= limit) is (document["margin"] >= 0)
        assert document["verdict"] == ("same" if document["same"] else "different")
        assert found.return_value == (0 if document["same"] else 1)
        assert document["probability"] == known.probability


def test_many_say_what_two_say(model, results):
    for method in ("vector", "alignment"):
        a, *others = NAMES
        for found in model.verify_many([CLIPS / a], [CLIPS / b for b in others], method=method, workers=2):
            result = results[method, a, Path(found.recording).name]
            assert (found.verdict, found.threshold) == (result.verdict, result.threshold)
            assert found.distance == pytest.approx(result.distance, abs=1e-5)
