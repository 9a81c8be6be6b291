from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from weaksvr.runtime.errors import BundleError
from weaksvr.runtime.probability import fit_probability
from weaksvr.runtime.thresholds import SameProbability


def drawn(seed, *, count=200, apart=1.5):
    rng = np.random.default_rng(seed)
    same = rng.random(count) < 0.4
    return same, np.abs(np.where(same, 0.3, 0.3 + apart / 10) + 0.08 * rng.normal(size=count))


@pytest.mark.parametrize("apart", [0.5, 1.5, 4.0, 20.0])
def test_the_fit_is_that_of_scikit_learn(apart):
    same, distances = drawn(3, apart=apart)
    high, low = (same.sum() + 1) / (same.sum() + 2), 1 / ((~same).sum() + 2)
    targets = np.where(same, high, low)
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000)
    model.fit(
        np.tile(distances, 2)[:, None] * 10,
        np.repeat([1, 0], len(same)),
        sample_weight=np.concatenate([targets, 1 - targets]),
    )
    found = fit_probability(same, distances)
    assert found.slope == pytest.approx(-10 * model.coef_[0, 0], rel=1e-3)
    for distance in np.linspace(0, 1, 11):
        assert found.at(distance) == pytest.approx(model.predict_proba([[10 * distance]])[0, 1], abs=1e-4)


def test_a_known_curve_is_found():
    rng = np.random.default_rng(0)
    distances = rng.uniform(0, 1, 40_000)
    same = rng.random(40_000) < 1 / (1 + np.exp(12 * distances - 5))
    found = fit_probability(same, distances)
    assert (found.intercept, found.slope) == (pytest.approx(5, rel=0.05), pytest.approx(12, rel=0.05))


def test_pairs_that_are_told_apart_do_not_make_it_certain():
    same = np.arange(20) < 10
    found = fit_probability(same, np.arange(20.0))
    assert 0.9 < found.at(0) < 1
    assert 0 < found.at(19) < 0.1
    assert found.at(9.5) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("distances", [np.full(10, 0.3), np.arange(10.0)])
def test_distances_that_say_nothing_or_the_contrary(distances):
    same = np.arange(10) > 4
    found = fit_probability(same, distances)
    assert found.slope == 0
    assert found.at(0) == found.at(100) == pytest.approx(0.5)


@given(st.floats(-1e3, 1e3), st.floats(0, 1e6), st.lists(st.floats(0, 2), min_size=2, max_size=20))
@settings(max_examples=50, deadline=None)
def test_it_never_rises_with_the_distance(intercept, slope, distances):
    probability = SameProbability(intercept=intercept, slope=slope)
    chances = [probability.at(distance) for distance in sorted(distances)]
    assert all(0 <= chance <= 1 for chance in chances)
    assert chances == sorted(chances, reverse=True)


@pytest.mark.parametrize(("intercept", "slope"), [(0.0, -1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_values_that_make_no_probability(intercept, slope):
    with pytest.raises(BundleError, match="must be finite, its slope at least 0"):
        SameProbability(intercept=intercept, slope=slope)
