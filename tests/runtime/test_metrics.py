from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from weaksvr.runtime.errors import OptionError
from weaksvr.runtime.metrics import (
    accuracy,
    auc_by_kind,
    edit_distance,
    equal_error_threshold,
    matching_accuracy,
    published_matching_auc,
    roc_auc,
    wdr,
)

# Few distinct values make ties; many make none.
DISTANCES = st.one_of(st.integers(0, 4).map(float), st.floats(0, 2, width=32))
PAIRS = st.lists(st.tuples(st.booleans(), DISTANCES), min_size=2, max_size=40).filter(
    lambda pairs: len({same for same, _ in pairs}) == 2
)


def split(pairs):
    return np.array([same for same, _ in pairs]), np.array([distance for _, distance in pairs])


@given(PAIRS)
@settings(max_examples=200, deadline=None)
def test_auc_equals_scikit_learn_and_counting(pairs):
    same, distances = split(pairs)
    wins = [
        1.0 if d_same < d_different else 0.5 if d_same == d_different else 0.0
        for d_same in distances[same]
        for d_different in distances[~same]
    ]
    assert roc_auc(same, distances) == pytest.approx(np.mean(wins), abs=1e-12)
    assert roc_auc(same, distances) == pytest.approx(roc_auc_score(same, -distances), abs=1e-12)


def test_auc_at_the_edges():
    assert roc_auc([True, True, False], [0.1, 0.2, 0.3]) == 1.0
    assert roc_auc([1, 0], [0.3, 0.1]) == 0.0
    assert roc_auc([1, 0, 0], [0.5, 0.5, 0.5]) == 0.5


def rates(same, distances, threshold):
    called_same = distances <= threshold
    return (~called_same)[same].mean(), called_same[~same].mean()


@given(PAIRS)
@settings(max_examples=200, deadline=None)
def test_equal_error_threshold_is_the_best_of_all_thresholds(pairs):
    same, distances = split(pairs)
    threshold, rate = equal_error_threshold(same, distances)
    refused, accepted = rates(same, distances, threshold)
    assert rate == pytest.approx((refused + accepted) / 2)
    gap = abs(refused - accepted)
    for other in [-1.0, *distances]:
        other_refused, other_accepted = rates(same, distances, other)
        other_gap = abs(other_refused - other_accepted)
        assert gap < other_gap + 1e-12
        if abs(other_gap - gap) < 1e-12:
            assert rate <= (other_refused + other_accepted) / 2 + 1e-12
    levels = np.unique(distances)
    if len(levels) > 1:
        below, above = levels[levels <= threshold].max(), levels[levels > threshold].min()
        assert threshold == pytest.approx((below + above) / 2)


def test_equal_error_threshold_in_a_gap():
    threshold, rate = equal_error_threshold([True, True, False], [0.25, 0.5, 1.0])
    assert (threshold, rate) == (0.75, 0.0)


def test_equal_error_threshold_separates_neighbouring_floats():
    lower, upper = 1.0, math.nextafter(1.0, 2.0)
    threshold, rate = equal_error_threshold([True, False], [lower, upper])
    assert rate == 0.0
    assert accuracy([True, False], [lower, upper], threshold) == 1.0


def test_equal_error_threshold_of_one_distance():
    assert equal_error_threshold([True, False], [0.5, 0.5]) == (0.5, 0.5)


def test_accuracy_counts_the_threshold_as_same():
    assert accuracy([True, True, False, False], [0.1, 0.5, 0.5, 0.9], 0.5) == 0.75
    assert accuracy([True], [0.1], 0.5) == 1.0
    with pytest.raises(OptionError, match="threshold is NaN"):
        accuracy([True], [0.1], float("nan"))


def edit_distance_with_substitution(a, b):
    @functools.cache
    def cost(i, j):
        if i == 0 or j == 0:
            return i + j
        substitution = 0 if a[i - 1] == b[j - 1] else 2
        return min(cost(i - 1, j) + 1, cost(i, j - 1) + 1, cost(i - 1, j - 1) + substitution)

    return cost(len(a), len(b))


@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abc"), max_size=9))
@settings(max_examples=150, deadline=None)
def test_edit_distance_equals_the_recursion(a, b):
    assert edit_distance(a, b) == edit_distance_with_substitution(a, b) == edit_distance(b, a)


def test_edit_distance_of_known_lists():
    assert edit_distance(["take", "pour", "stir"], ["take", "stir", "pour"]) == 2
    assert edit_distance(["take", "pour"], ["take", "drink"]) == 2
    assert edit_distance(["take"], ["take", "take"]) == 1
    assert edit_distance([], ["a", "b"]) == 2
    assert edit_distance("same", "same") == 0


def test_wdr_equals_naive_loops():
    rng = np.random.default_rng(0)
    same = rng.random(50) < 0.5
    squared, edits = rng.random(50), rng.integers(1, 9, 50)
    edits[same] = 0
    weighted = [d / e for d, e, equal in zip(squared, edits, same, strict=True) if not equal]
    matched = [d for d, equal in zip(squared, same, strict=True) if equal]
    expected = (sum(weighted) / len(weighted)) / (sum(matched) / len(matched))
    assert wdr(squared, same, edits) == pytest.approx(expected)


def test_wdr_at_the_edges():
    assert math.isnan(wdr([0.0, 1.0], [True, False], [0, 2]))
    with pytest.raises(OptionError, match="the WDR needs same and different pairs, but none is different"):
        wdr([0.1, 0.2], [True, True], [0, 0])
    with pytest.raises(OptionError, match="the WDR needs same and different pairs, but none is same"):
        wdr([0.1, 0.2], [False, False], [1, 1])
    with pytest.raises(OptionError, match="edit distance below 1"):
        wdr([0.1, 0.2], [True, False], [0, 0])
    with pytest.raises(OptionError, match="negative value"):
        wdr([0.1, -0.2], [True, False], [0, 1])
    with pytest.raises(OptionError, match="must be that of the distances"):
        wdr([0.1, 0.2], [True, False], [1])


def test_matching_accuracy_counts_ties_by_share():
    scores = [[0.1, 0.9, 0.2], [0.5, 0.5, 0.1], [0.3, 0.3, 0.3], [0.9, 0.1, -np.inf]]
    assert matching_accuracy(scores, [1, 0, 2, 1]) == pytest.approx((1 + 1 / 2 + 1 / 3 + 0) / 4)
    assert matching_accuracy(np.ones((10, 5)), np.zeros(10, dtype=int)) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("scores", "answers", "match"),
    [
        (np.zeros((0, 3)), np.zeros(0, dtype=int), r"must be \(Q, C\) and \(Q,\)"),
        (np.zeros((2, 3)), [0], r"must be \(Q, C\) and \(Q,\)"),
        (np.zeros((1, 3)), [3], "integers from 0 to 2"),
        (np.zeros((1, 3)), [-1], "integers from 0 to 2"),
        (np.zeros((1, 3)), [0.5], "integers from 0 to 2"),
        ([[0.0, np.nan]], [0], "NaN"),
        ([[0.0, -np.inf]], [1], "-inf"),
    ],
)
def test_matching_accuracy_refuses(scores, answers, match):
    with pytest.raises(OptionError, match=match):
        matching_accuracy(scores, answers)


def test_auc_by_kind_sets_each_kind_against_all_same_pairs():
    rng = np.random.default_rng(1)
    distances = rng.random(60)
    kinds = rng.choice(["swap", "drop", "same"], 60).tolist()
    same = np.array([kind == "same" for kind in kinds])
    kinds[int(np.flatnonzero(~same)[0])] = None
    found = auc_by_kind(same, distances, kinds)
    assert list(found) == ["drop", "swap"]
    for kind, value in found.items():
        rows = [row for row in range(60) if same[row] or kinds[row] == kind]
        assert value == pytest.approx(roc_auc_score(same[rows], -distances[rows]))
    assert auc_by_kind([True, False], [0.1, 0.2], [None, None]) == {}
    with pytest.raises(OptionError, match="1 kinds for 2 pairs"):
        auc_by_kind([True, False], [0.1, 0.2], ["swap"])
    with pytest.raises(OptionError, match="none is same"):
        auc_by_kind([False], [0.1], ["swap"])


@pytest.mark.parametrize("metric", [roc_auc, equal_error_threshold])
@pytest.mark.parametrize(
    ("same", "distances", "match"),
    [
        ([True, True], [0.1, 0.2], "none is different"),
        ([False, False], [0.1, 0.2], "none is same"),
        ([], [], "P above 0"),
        ([True, False], [0.1], r"must both be \(P,\)"),
        ([True, False], [0.1, np.nan], "NaN or infinite"),
        ([True, False], [0.1, np.inf], "NaN or infinite"),
        ([2, 0], [0.1, 0.2], "labels must be True or False"),
    ],
)
def test_metrics_refuse_what_they_cannot_define(metric, same, distances, match):
    with pytest.raises(OptionError, match=match):
        metric(same, distances)


QUESTIONS = st.lists(
    st.tuples(st.lists(st.integers(0, 3), min_size=4, max_size=4), st.integers(0, 3)), min_size=2, max_size=30
).filter(lambda rows: len({answer == 0 for _, answer in rows}) == 2)


@given(QUESTIONS)
@settings(max_examples=100, deadline=None)
def test_the_published_matching_auc_equals_scikit_learn(rows):
    scores, answers = np.array([row for row, _ in rows]), np.array([answer for _, answer in rows])
    expected = roc_auc_score(answers == 0, [int(np.argmax(row)) for row in scores])
    assert published_matching_auc(scores, answers) == pytest.approx(expected, abs=1e-12)


def test_the_published_matching_auc_is_zero_for_who_knows_and_half_for_who_does_not():
    rng = np.random.default_rng(0)
    answers = rng.integers(5, size=20_000)
    assert published_matching_auc(np.eye(5)[answers], answers) == 0.0
    assert published_matching_auc(rng.normal(size=(20_000, 5)), answers) == pytest.approx(0.5, abs=0.01)
    assert published_matching_auc(np.zeros((20_000, 5)), answers) == 0.5  # always the first


def test_the_published_matching_auc_needs_both_kinds_of_answers():
    assert published_matching_auc([[0.1, 0.2], [0.3, 0.1]], [0, 0]) is None
    assert published_matching_auc([[0.1, 0.2], [0.3, 0.1]], [1, 1]) is None
    with pytest.raises(OptionError, match="answers must be integers from 0 to 1"):
        published_matching_auc([[0.1, 0.2]], [2])


def test_wdr_is_the_published_ratio():
    """Transcribed from its definition; an edit is worth 1, a substitution 2."""
    scripts = [("a", "b", "c"), ("a", "c", "b"), ("a", "b"), ("a", "x", "c")]
    vectors = np.random.default_rng(0).normal(size=(5, 6))
    pairs = [(0, 0, 1), (0, 1, 2), (0, 2, 3), (0, 3, 4)]  # of script 0 with a script, and two videos
    edits = [edit_distance(scripts[0], scripts[other]) for other, _, _ in [(pair[1], 0, 0) for pair in pairs]]
    assert edits == [0, 2, 1, 2]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    squared = [float(((unit[a] - unit[b]) ** 2).sum()) for _, a, b in pairs]
    different = sum(d / e for d, e in zip(squared[1:], edits[1:], strict=True)) / 3
    assert wdr(squared, [True, False, False, False], edits) == pytest.approx(different / squared[0], rel=1e-12)
