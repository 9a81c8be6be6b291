from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from weaksvr.export.limits import DEFAULT_LIMITS, flip_rate_bound
from weaksvr.export.verdicts import Distances, judge
from weaksvr.runtime.metrics import equal_error_threshold, roc_auc


@pytest.fixture(scope="module")
def distances():
    """600 pairs, 200 of them labelled, and a variant that is a little off."""
    rng = np.random.default_rng(2)
    source = rng.uniform(0, 1, 600)
    same = rng.uniform(0, 1, 200) > source[:200]
    return Distances(source=source, variant=source + rng.normal(0, 0.01, 600), same=same)


def test_verdicts_are_counted_pair_by_pair(distances):
    source_threshold, threshold, eer = distances.thresholds()
    assert (threshold, eer) == equal_error_threshold(distances.same, distances.variant[:200])
    assert source_threshold == equal_error_threshold(distances.same, distances.source[:200])[0]
    found = judge(distances, threshold=threshold, tie=0.002)
    flips, ties, tie_flips = [], 0, 0
    for row, (before, after) in enumerate(zip(distances.source, distances.variant, strict=True)):
        flipped = (before <= source_threshold) is not (after <= threshold)
        near = abs(before - source_threshold) <= 0.002 or abs(after - threshold) <= 0.002
        ties += near
        tie_flips += near and flipped
        if flipped and not near:
            flips.append(row)
    assert flips
    assert tie_flips
    assert sorted(found.flipped) == flips
    margins = [abs(distances.variant[row] - threshold) for row in found.flipped]
    assert margins == sorted(margins, reverse=True)
    assert (found.pairs, found.flips, found.ties, found.tie_flips) == (600, len(flips), ties, tie_flips)
    assert found.flips_bound == flip_rate_bound(len(flips), 600)
    assert (found.auc, found.source_auc) == (
        roc_auc(distances.same, distances.variant[:200]),
        roc_auc(distances.same, distances.source[:200]),
    )
    assert found.change == np.abs(distances.variant - distances.source).max()


def refusals(distances, threshold, **limits):
    asked = dataclasses.replace(DEFAULT_LIMITS["int8"], **{"auc": 1.0, "flips": 1.0, **limits})
    names = [f"a{row} and b{row}" for row in range(len(distances.source))]
    found = judge(distances, threshold=threshold, tie=asked.tie)
    return found, found.refusals("vector", asked, names=names, distances=distances)


def test_flips_beyond_the_limit_are_refused_with_a_pair(distances):
    _, threshold, _ = distances.thresholds()
    found, said = refusals(distances, threshold)
    assert said == []
    assert refusals(distances, threshold, flips=found.flips / 600)[1] == []
    (said,) = refusals(distances, threshold, flips=(found.flips - 1) / 600)[1]
    first = found.flipped[0]
    assert f"vector: {found.flips} of 600 verdicts flip" in said
    assert f"first a{first} and b{first}: distance {distances.source[first]:.6g} at threshold" in said


def test_an_auc_that_changed_is_refused(distances):
    (said,) = refusals(distances, distances.thresholds()[1], auc=1e-9)[1]
    assert "vector: the AUC is 0." in said
    assert "which differs by more than 1e-09" in said


def test_a_threshold_off_by_one_decimal_is_refused(distances):
    exact = dataclasses.replace(distances, variant=distances.source)
    _, threshold, _ = exact.thresholds()
    assert refusals(exact, threshold, flips=0.0)[1] == []
    for wrong in (threshold / 10, threshold * 10):
        (said,) = refusals(exact, wrong, flips=0.0)[1]
        assert "verdicts flip, more than 0 of them" in said
