from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve
from weaksvr.runtime.errors import OptionError
from weaksvr.runtime.metrics import equal_error_threshold
from weaksvr.runtime.operating_point import EQUAL_ERROR, Curve, OperatingPoint

DISTANCES = st.one_of(st.integers(0, 4).map(float), st.floats(0, 2, width=32))
PAIRS = st.lists(st.tuples(st.booleans(), DISTANCES), min_size=2, max_size=30).filter(
    lambda pairs: len({same for same, _ in pairs}) == 2
)
POINTS = [EQUAL_ERROR, OperatingPoint(rule="accuracy")]
POINTS += [OperatingPoint(rule="false-accept", rate=rate) for rate in (0.0, 0.1, 0.25, 0.9)]


def split(pairs):
    return np.array([same for same, _ in pairs]), np.array([distance for _, distance in pairs])


def rates(same, distances, threshold):
    passes = distances <= threshold
    return passes[~same].mean(), (~passes)[same].mean()


def candidates(distances):
    """Every threshold that makes a difference: none accepted (where one can be), between neighbours, all accepted."""
    levels = sorted(set(distances.tolist()))
    below = [levels[0] / 2] if levels[0] > 0 else []
    return [
        *below,
        *(lower + (upper - lower) / 4 for lower, upper in itertools.pairwise(levels)),
        levels[-1],
    ]


def chosen(same, distances, point, weights=None):
    curve = Curve(same, distances, weights)
    cuts = curve.choose(point)
    return curve, cuts, curve.thresholds(cuts)


@given(PAIRS)
@settings(max_examples=50, deadline=None)
def test_the_curve_is_that_of_scikit_learn(pairs):
    same, distances = split(pairs)
    curve = Curve(same, distances)
    assert curve.auc[0] == pytest.approx(roc_auc_score(same, -distances), abs=1e-12)
    false_accept, true_accept, scores = roc_curve(same, -distances, drop_intermediate=False)
    assert (-scores[1:]).tolist() == curve.levels.tolist()
    np.testing.assert_allclose(curve.different[0] / (~same).sum(), false_accept)
    np.testing.assert_allclose(curve.same[0] / same.sum(), true_accept)


@given(PAIRS)
@settings(max_examples=50, deadline=None)
def test_the_rates_are_those_of_the_verdicts(pairs):
    same, distances = split(pairs)
    for point in POINTS:
        curve, cuts, (threshold,) = chosen(same, distances, point)
        found = rates(same, distances, threshold)
        assert [rate[0] for rate in curve.rates(cuts)] == pytest.approx(found)
        assert [rate[0] for rate in curve.rates(curve.cuts_at(threshold))] == pytest.approx(found)
        assert np.isfinite(threshold)
        assert threshold >= 0


@given(PAIRS)
@settings(max_examples=100, deadline=None)
def test_no_threshold_is_better_than_the_chosen_one(pairs):
    same, distances = split(pairs)
    possible = [rates(same, distances, threshold) for threshold in candidates(distances)]
    _, _, (threshold,) = chosen(same, distances, OperatingPoint(rule="accuracy"))
    right = np.mean((distances <= threshold) == same)
    assert right == pytest.approx(max(np.mean((distances <= t) == same) for t in candidates(distances)))
    for rate in (0.0, 0.1, 0.25, 0.9):
        _, _, (threshold,) = chosen(same, distances, OperatingPoint(rule="false-accept", rate=rate))
        accepted, refused = rates(same, distances, threshold)
        allowed = [found for found in possible if found[0] <= rate + 1e-12]
        if allowed:
            assert accepted <= rate + 1e-12
            assert refused == pytest.approx(min(found[1] for found in allowed))
        else:  # a different pair has distance 0
            assert accepted == pytest.approx(min(found[0] for found in possible))
    _, _, (threshold,) = chosen(same, distances, EQUAL_ERROR)
    accepted, refused = rates(same, distances, threshold)
    levels = np.unique(distances)
    if len(levels) > 1:
        assert abs(accepted - refused) == pytest.approx(
            min(abs(np.subtract(*rates(same, distances, level))) for level in levels[:-1])
        )
        assert equal_error_threshold(same, distances) == (threshold, pytest.approx((accepted + refused) / 2))


@given(PAIRS, st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_weight_is_a_number_of_copies(pairs, seed):
    same, distances = split(pairs)
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(pairs)))
    weights[:, [np.argmax(same), np.argmax(~same)]] += 1
    for point in POINTS:
        curve, cuts, thresholds = chosen(same, distances, point, weights)
        for row, counts in enumerate(weights):
            copied = np.repeat(same, counts), np.repeat(distances, counts)
            alone, cut, threshold = chosen(*copied, point)
            assert thresholds[row] == threshold[0]
            assert curve.auc[row] == pytest.approx(alone.auc[0], abs=1e-12)
            assert [rate[row] for rate in curve.rates(cuts)] == pytest.approx([rate[0] for rate in alone.rates(cut)])


def test_thresholds_by_hand():
    same = np.array([True, True, True, False, False, False, False])
    distances = np.array([0.1, 0.2, 0.6, 0.3, 0.5, 0.7, 0.9])
    expected = {
        "equal-error": 0.25,  # refused 1/3, accepted 0, is nearest to equal
        "accuracy": 0.25,  # one error
        "false-accept=0": 0.25,
        "false-accept=0.25": 0.4,
        "false-accept=0.5": 0.65,
        "false-accept=0.75": 0.8,
    }
    assert {text: chosen(same, distances, OperatingPoint.parse(text))[2][0] for text in expected} == pytest.approx(
        {**expected, "equal-error": equal_error_threshold(same, distances)[0]}
    )
    closest_differ = chosen(np.array([False, True]), np.array([0.2, 0.4]), OperatingPoint.parse("false-accept=0"))
    assert closest_differ[2][0] == pytest.approx(0.1)


def test_neighbouring_floats_are_kept_apart():
    low = 0.3
    distances = np.array([low, np.nextafter(low, 1)])
    for text in ("equal-error", "accuracy", "false-accept=0"):
        assert chosen(np.array([True, False]), distances, OperatingPoint.parse(text))[2][0] == low


@pytest.mark.parametrize(
    ("text", "rule", "rate"),
    [
        ("equal-error", "equal-error", None),
        ("accuracy", "accuracy", None),
        ("false-accept=0.01", "false-accept", 0.01),
        ("false-accept=0", "false-accept", 0.0),
        ("false-accept=1e-3", "false-accept", 0.001),
    ],
)
def test_points_are_read_and_written(text, rule, rate):
    point = OperatingPoint.parse(text)
    assert (point.rule, point.rate) == (rule, rate)
    assert OperatingPoint.parse(str(point)) == point


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("best", "'best' is no point for a threshold; use equal-error, accuracy or false-accept=0.01"),
        ("", "'' is no point for a threshold"),
        ("false-accept", "'false-accept' is no point for a threshold"),
        ("accuracy=0.9", "'accuracy=0.9' is no point"),
        ("false-accept=", "'false-accept=': the rate must be a number such as 0.01"),
        ("false-accept=1%", "'false-accept=1%': the rate must be a number"),
        ("false-accept=1", "a false accept rate of 1 must be at least 0 and below 1"),
        ("false-accept=-0.1", "must be at least 0 and below 1"),
        ("false-accept=nan", "must be at least 0 and below 1"),
    ],
)
def test_points_that_cannot_be_meant(text, message):
    with pytest.raises(OptionError, match=message):
        OperatingPoint.parse(text)


def test_points_that_do_not_go_together():
    with pytest.raises(OptionError, match="false-accept needs a rate, the others have none"):
        OperatingPoint(rule="accuracy", rate=0.1)
    with pytest.raises(OptionError, match="'best' is no way to choose a threshold"):
        OperatingPoint(rule="best")
