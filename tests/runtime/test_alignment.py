from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weaksvr.runtime import alignment
from weaksvr.runtime.alignment import (
    alignment_distance,
    alignment_distances,
    alignment_path,
    monotonic_viterbi,
    vector_distance,
    vector_distances,
)
from weaksvr.runtime.errors import OptionError


def cosine_costs(a, b):
    return [[1 - float(np.dot(x, y) / (np.linalg.norm(x) * np.linalg.norm(y))) for y in b] for x in a]


def cheapest_of_all_paths(costs):
    """Every path, walked one by one."""
    last_i, last_j = len(costs) - 1, len(costs[0]) - 1

    def walk(i, j):
        if (i, j) == (last_i, last_j):
            yield costs[i][j]
        for di, dj in ((1, 0), (0, 1), (1, 1)):
            if i + di <= last_i and j + dj <= last_j:
                for rest in walk(i + di, j + dj):
                    yield costs[i][j] + rest

    return min(walk(0, 0))


def cheapest_by_recursion(costs):
    @functools.cache
    def cheapest(i, j):
        if i < 0 or j < 0:
            return math.inf
        if i == j == 0:
            return costs[0][0]
        return costs[i][j] + min(cheapest(i - 1, j), cheapest(i, j - 1), cheapest(i - 1, j - 1))

    return cheapest(len(costs) - 1, len(costs[0]) - 1)


@pytest.mark.parametrize(("frames_a", "frames_b"), [(1, 1), (1, 4), (4, 1), (3, 3), (2, 5), (5, 4)])
def test_distance_is_the_cheapest_of_all_paths(frames_a, frames_b):
    rng = np.random.default_rng(frames_a * 10 + frames_b)
    a, b = rng.normal(size=(frames_a, 3)), rng.normal(size=(frames_b, 3))
    expected = cheapest_of_all_paths(cosine_costs(a, b)) / (frames_a + frames_b)
    assert alignment_distance(a, b) == pytest.approx(expected, abs=1e-12)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_distance_equals_the_recursion_and_is_symmetric(frames_a, frames_b, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(frames_a, 5)).astype(np.float32), rng.normal(size=(frames_b, 5)).astype(np.float32)
    expected = cheapest_by_recursion(cosine_costs(a.astype(np.float64), b.astype(np.float64))) / (frames_a + frames_b)
    assert alignment_distance(a, b) == pytest.approx(expected, abs=1e-12)
    assert alignment_distance(b, a) == pytest.approx(expected, abs=1e-12)


def test_a_planted_warp_costs_nothing_and_its_path_is_found():
    steps = np.eye(4)
    slow, fast = [0, 0, 0, 1, 2, 2, 3], [0, 1, 1, 2, 3, 3]
    a, b = steps[slow] * 3.0, steps[fast] * 0.1
    assert alignment_distance(a, b) == pytest.approx(0, abs=1e-12)
    path = alignment_path(a, b)
    assert path.dtype == np.int64
    assert [slow[i] for i, _ in path] == [fast[j] for _, j in path]
    swapped = steps[[0, 2, 2, 1, 3, 3]]
    assert alignment_distance(a, swapped) > 0.05


def test_path_is_connected_and_sums_up_to_the_distance():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(9, 4)), rng.normal(size=(6, 4))
    path, costs = alignment_path(a, b), cosine_costs(a, b)
    assert path[0].tolist() == [0, 0]
    assert path[-1].tolist() == [8, 5]
    assert {tuple(move) for move in np.diff(path, axis=0).tolist()} <= {(1, 0), (0, 1), (1, 1)}
    assert sum(costs[i][j] for i, j in path) / 15 == pytest.approx(alignment_distance(a, b))


def test_path_prefers_the_diagonal_where_costs_are_equal():
    frames = np.ones((3, 2))
    assert alignment_path(frames, frames).tolist() == [[0, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize("values_at_once", [1, 500, 10**9])
def test_many_pairs_equal_one_by_one(monkeypatch, values_at_once):
    monkeypatch.setattr(alignment, "_VALUES_AT_ONCE", values_at_once)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(7, 5, 6)), rng.normal(size=(7, 8, 6))
    expected = [alignment_distance(x, y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(alignment_distances(a, b), expected, atol=1e-12)


def test_extreme_scales_do_not_matter():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    assert alignment_distance(a * 1e200, b * 1e-200) == pytest.approx(alignment_distance(a, b))


def test_vector_distance_in_closed_form():
    assert vector_distance([1, 0], [3, 0]) == 0
    assert vector_distance([1, 0], [0, 5]) == pytest.approx(math.sqrt(2))
    assert vector_distance([1, 2], [-2, -4]) == pytest.approx(2)
    assert vector_distance([1, 2], [-2, -4]) <= 2
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(6, 9)), rng.normal(size=(6, 9))
    one_by_one = [math.dist(x / np.linalg.norm(x), y / np.linalg.norm(y)) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(vector_distances(a, b), one_by_one)
    assert vector_distance(a[0], b[0]) == vector_distances(a, b)[0]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: vector_distance([0, 0], [1, 0]), "a holds a zero vector"),
        (lambda: vector_distance([1, 0], [np.nan, 0]), "b holds NaN or infinite"),
        (lambda: vector_distance([1, 0], [1, 0, 0]), r"cannot be compared; they must be equal"),
        (lambda: vector_distance([], []), r"a of shape \(0,\) must be \(D,\)"),
        (lambda: vector_distances([1, 0], [1, 0]), r"must be \(T, D\) or \(P, D\)"),
        (lambda: alignment_distance(np.zeros((3, 2)), np.ones((3, 2))), "a holds a zero vector"),
        (lambda: alignment_distance(np.ones((3, 2)), np.full((3, 2), np.inf)), "b holds NaN or infinite"),
        (lambda: alignment_distance(np.ones((3, 2)), np.ones((3, 4))), "features of 2 and 4 dimensions"),
        (lambda: alignment_distance(np.ones((0, 2)), np.ones((3, 2))), "not empty"),
        (lambda: alignment_path(np.ones(3), np.ones(3)), r"must be \(T, D\)"),
        (lambda: alignment_distances(np.ones((2, 3, 2)), np.ones((1, 3, 2))), "2 sequences cannot be paired with 1"),
        (lambda: alignment_distances(np.ones((3, 2)), np.ones((3, 2))), r"must be \(P, T, D\)"),
    ],
)
def test_what_cannot_be_compared_is_said(call, match):
    with pytest.raises(OptionError, match=match):
        call()


def best_assignments(scores, *, visit_every_step):
    """All allowed assignments with the highest score, by trying every one."""
    num_frames, num_steps = scores.shape
    found = {}
    for path in itertools.combinations_with_replacement(range(num_steps), num_frames):
        if visit_every_step and num_frames >= num_steps and len(set(path)) < num_steps:
            continue
        found[path] = sum(scores[t, k] for t, k in enumerate(path))
    best = max(found.values())
    return {path for path, score in found.items() if score == pytest.approx(best, abs=1e-9)}


@given(
    st.integers(1, 6),
    st.integers(1, 5),
    st.booleans(),
    st.booleans(),
    st.integers(0, 10_000),
)
@settings(max_examples=150, deadline=None)
def test_viterbi_is_the_best_of_all_assignments(num_frames, num_steps, visit_every_step, coarse, seed):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(num_frames, num_steps))
    if coarse:  # many ties
        scores = np.round(scores)
    path = monotonic_viterbi(scores, visit_every_step=visit_every_step)
    assert path.dtype == np.int64
    assert tuple(path.tolist()) in best_assignments(scores, visit_every_step=visit_every_step)


@pytest.mark.parametrize("visit_every_step", [False, True])
def test_viterbi_finds_a_planted_assignment_in_a_long_video(visit_every_step):
    num_steps = 300  # more steps than an 8-bit state could count
    truth = np.repeat(np.arange(num_steps), np.random.default_rng(0).integers(1, 8, num_steps))
    similarities = np.random.default_rng(1).normal(size=(len(truth), num_steps))
    similarities[np.arange(len(truth)), truth] += 12.0
    log_probs = similarities - np.log(np.exp(similarities).sum(axis=1, keepdims=True))
    path = monotonic_viterbi(log_probs, visit_every_step=visit_every_step)
    np.testing.assert_array_equal(path, truth)


def test_viterbi_free_skips_what_is_not_seen_and_tied_does_not():
    log_probs = np.log(np.array([[0.1, 0.8, 0.1]] * 4))
    assert monotonic_viterbi(log_probs).tolist() == [1, 1, 1, 1]
    assert monotonic_viterbi(log_probs, visit_every_step=True).tolist() == [0, 1, 1, 2]


def test_viterbi_with_fewer_frames_than_steps_jumps():
    log_probs = np.full((2, 4), -5.0)
    log_probs[0, 1] = log_probs[1, 3] = 0.0
    assert monotonic_viterbi(log_probs, visit_every_step=True).tolist() == [1, 3]


def test_viterbi_obeys_what_is_forbidden():
    log_probs = np.zeros((3, 2))
    log_probs[0, 0] = log_probs[2, 0] = -np.inf
    assert monotonic_viterbi(log_probs).tolist() == [1, 1, 1]
    with pytest.raises(OptionError, match="forbid every assignment"):
        monotonic_viterbi(log_probs, visit_every_step=True)


@pytest.mark.parametrize(
    ("log_probs", "match"),
    [
        (np.zeros((0, 3)), r"must be \(T, K\)"),
        (np.zeros(3), r"must be \(T, K\)"),
        (np.array([[0.0, np.nan]]), "NaN or \\+inf"),
        (np.array([[0.0, np.inf]]), "NaN or \\+inf"),
        (np.full((2, 2), -np.inf), "forbid every assignment"),
    ],
)
def test_viterbi_refuses_what_has_no_answer(log_probs, match):
    with pytest.raises(OptionError, match=match):
        monotonic_viterbi(log_probs)
