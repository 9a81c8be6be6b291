from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import beta, binom
from weaksvr.runtime.resampling import MIN_GROUPS, Links, binomial_bound, binomial_interval, min_pairs


@pytest.mark.parametrize(
    ("successes", "trials"), [(0, 1), (0, 300), (1, 64.3), (0.4, 7.5), (190, 192), (5, 5), (900, 1e5)]
)
def test_binomial_intervals_are_those_of_scipy(successes, trials):
    low, high = binomial_interval(successes, trials)
    assert low == pytest.approx(beta.ppf(0.025, successes, trials - successes + 1) if successes else 0, abs=1e-9)
    assert high == pytest.approx(
        beta.ppf(0.975, successes + 1, trials - successes) if successes < trials else 1, abs=1e-9
    )
    bound = binomial_bound(successes, trials)
    assert bound == pytest.approx(
        beta.ppf(0.95, successes + 1, trials - successes) if successes < trials else 1, abs=1e-9
    )


def test_the_rule_of_three():
    assert binomial_bound(0, 300) == pytest.approx(3 / 300, rel=0.01)
    for rate in (0.5, 0.1, 0.01, 0.001):
        fewest = min_pairs(rate)
        assert binomial_bound(0, fewest) <= rate < binomial_bound(0, fewest - 1)
    assert min_pairs(0.01) == 299


def test_a_bound_holds_as_often_as_it_says():
    rate, trials = 0.07, 60
    successes = np.arange(trials + 1)
    holds = np.array([binomial_bound(int(k), trials) >= rate for k in successes])
    assert 0.95 <= binom.pmf(successes, trials, rate)[holds].sum() < 0.99


def test_videos_that_are_linked_make_a_group():
    links = Links.of([("a", "b"), ("c", "d"), ("b", "e"), ("f", "f"), ("d", "c")])
    assert (links.num_videos, links.num_groups, links.unit) == (6, 3, "videos")
    assert [links.group[row] == links.group[0] for row in range(5)] == [True, False, True, False, False]
    assert links.group[1] == links.group[4]
    chain = Links.of(list(itertools.pairwise(range(50))))
    assert (chain.num_groups, chain.unit) == (1, "videos")
    apart = Links.of([(row, -1 - row) for row in range(MIN_GROUPS)])
    assert (apart.num_groups, apart.unit) == (MIN_GROUPS, "groups")


def test_a_draw_takes_whole_groups_or_videos():
    groups = Links.of([(f"{row}a", f"{row}{other}") for row in range(MIN_GROUPS) for other in "bc"])
    same = np.tile([True, False], MIN_GROUPS)
    weights = np.concatenate(list(groups.resamples(same, 300)))
    assert weights.shape == (300, 2 * MIN_GROUPS)
    assert (weights[:, ::2] == weights[:, 1::2]).all()
    assert (weights.sum(axis=1) == 2 * MIN_GROUPS).all()
    pairs = [*((video, video) for video in range(6)), *itertools.combinations(range(6), 2)]
    videos = Links.of(pairs)
    weights = np.concatenate(list(videos.resamples(np.arange(len(pairs)) % 2 == 0, 300)))
    drawn = weights[:, :6]  # a video with itself counts as often as the video
    assert (drawn.sum(axis=1) == 6).all()
    for column, (a, b) in enumerate(pairs[6:], start=6):
        assert (weights[:, column] == drawn[:, a] * drawn[:, b]).all()


def test_draws_are_the_same_for_the_same_seed_and_have_both_kinds():
    links, same = Links.of([(0, 1), (2, 3), (4, 5)]), np.array([True, False, False])
    first, again, other = (np.concatenate(list(links.resamples(same, 500, seed=seed))) for seed in (1, 1, 2))
    assert (first == again).all()
    assert not (first == other).all()
    assert (first[:, same].sum(axis=1) > 0).all()
    assert (first[:, ~same].sum(axis=1) > 0).all()
    assert len(first) == 500


def test_many_weights_are_handed_out_in_parts(monkeypatch):
    monkeypatch.setattr("weaksvr.runtime.resampling._CELLS", 100)
    links, same = Links.of([(row, -1 - row) for row in range(30)]), np.arange(30) < 15
    parts = list(links.resamples(same, 10))
    assert [part.shape for part in parts] == [(3, 30), (3, 30), (3, 30), (1, 30)]


def test_pairs_without_common_videos_are_independent():
    rng = np.random.default_rng(0)
    links = Links.of([(row, -1 - row) for row in range(40)])
    assert links.independent(rng.normal(size=40), np.ones(40, bool)) == pytest.approx(40)
    assert links.independent(np.zeros(40), np.ones(40, bool)) == 40
    few = Links.of([(row, -1 - row) for row in range(10)])
    assert few.unit == "videos"
    assert few.independent(rng.normal(size=10), np.ones(10, bool)) == pytest.approx(10)


def test_pairs_that_repeat_one_another_count_once():
    values = np.repeat(np.random.default_rng(1).normal(size=30), 4)
    links = Links.of([(f"{row // 4}", f"{row // 4}.{row % 4}") for row in range(120)])
    assert links.independent(values, np.ones(120, bool)) == pytest.approx(30)
    chosen = np.arange(120) % 2 == 0
    assert links.independent(values, chosen) == pytest.approx(30)


def test_the_independent_pairs_of_one_group_are_those_of_the_variance_of_the_mean():
    """Distances with a share of each video: the variance of their mean, over many such sets, is known by simulation."""
    rng, count = np.random.default_rng(2), 40
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count) if (a + b) % 4 == 0]
    a, b = np.array(pairs).T
    links = Links.of(pairs)
    assert links.unit == "videos"
    everything = np.ones(len(pairs), bool)
    shares = rng.normal(size=(400, count))
    sets = shares[:, a] + shares[:, b] + rng.normal(size=(400, len(pairs)))  # each distance has variance 3
    true = 3 / sets.mean(axis=1).var()
    found = np.median([links.independent(values, everything) for values in sets])
    assert found == pytest.approx(true, rel=0.25)
    assert found < len(pairs) / 4


def test_one_pair_is_worth_one():
    links = Links.of([("a", "b"), ("b", "c")])
    assert links.independent(np.array([0.1, 0.2]), np.array([True, False])) == 1
    assert math.isfinite(binomial_bound(0, 1))


def test_intervals_where_no_pair_is_judged_wrongly():
    """Pairs that share nothing: the exact intervals of 30 and 40 trials without an error."""
    links = Links.of([(f"a{row}", f"b{row}") for row in range(70)])
    same = np.arange(70) < 30
    refused, accepted = (1 - 0.025 ** (1 / trials) for trials in (30, 40))
    found = links.separated(same, np.where(same, 0.1, 0.9))
    assert found["auc"] == (pytest.approx((1 - refused) * (1 - accepted)), 1.0)
    assert found["eer"] == (0.0, pytest.approx(refused))
