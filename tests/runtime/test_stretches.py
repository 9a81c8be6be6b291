from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weaksvr.runtime import stretches
from weaksvr.runtime.stretches import CUT_COST, cut, label_stretches


def unit(rows):
    values = np.asarray(rows, dtype=np.float64)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def cost_of(features, parts):
    """The definition, read aloud."""
    total = 0.0
    for start, stop in parts:
        total += (stop - start) - np.linalg.norm(sum(features[t] for t in range(start, stop)))
    return total + CUT_COST * len(features) * len(parts)


@pytest.mark.parametrize("seed", range(12))
def test_no_cut_is_cheaper(seed):
    rng = np.random.default_rng(seed)
    features = unit(rng.normal(size=(8, 3)).repeat(rng.integers(1, 3, size=8), axis=0)[:9])
    length = len(features)
    every = []
    for count in range(length):
        for inner in itertools.combinations(range(1, length), count):
            edges = [0, *inner, length]
            every.append(list(itertools.pairwise(edges)))
    found = cut(features)
    assert found in every
    assert cost_of(features, found) == pytest.approx(min(cost_of(features, parts) for parts in every))


def test_one_frame_and_one_thing_are_one_stretch():
    assert cut(unit([[1.0, 2.0]])) == [(0, 1)]
    assert cut(unit(np.ones((48, 4)))) == [(0, 48)]


def test_of_many_frames_none_is_a_stretch_of_its_own():
    features = np.zeros((40, 3))
    features[:, 0] = 1.0
    features[20] = (0.0, 1.0, 0.0)
    assert all(stop - start >= 2 for start, stop in cut(features))


@pytest.mark.parametrize("seed", range(10))
def test_groups_are_those_of_average_linkage(seed):
    rng = np.random.default_rng(seed)
    sums, weights = rng.normal(size=(9, 3)), rng.integers(1, 9, size=9).astype(np.float64)
    cosines = unit(sums) @ unit(sums).T
    groups = [[row] for row in range(9)]

    def mean(first, second):
        pairs = [(i, j) for i in first for j in second]
        return sum(weights[i] * weights[j] * cosines[i, j] for i, j in pairs) / sum(
            weights[i] * weights[j] for i, j in pairs
        )

    while len(groups) > 1:
        best = max(itertools.combinations(groups, 2), key=lambda two: mean(*two))
        if mean(*best) < 0.3:
            break
        groups = [group for group in groups if group not in best] + [best[0] + best[1]]
    found = stretches._group(sums, weights, 0.3)
    assert {frozenset(np.flatnonzero(found == number).tolist()) for number in set(found.tolist())} == {
        frozenset(group) for group in groups
    }


def test_planted_stretches_with_noise():
    rng = np.random.default_rng(5)
    eye = np.eye(16)

    def video(order, length=8):
        return unit(eye[np.repeat(order, length)] + 0.05 * rng.normal(size=(length * len(order), 16)))

    a, b = label_stretches(video([0, 1, 2, 3]), video([0, 2, 1, 4, 1], 6))
    assert [(each.start, each.stop, each.length) for each in a] == [(0, 8, 8), (8, 16, 8), (16, 24, 8), (24, 32, 8)]
    assert [(each.start, each.stop) for each in b] == [(0, 6), (6, 12), (12, 18), (18, 24), (24, 30)]
    labels_a, labels_b = [each.label for each in a], [each.label for each in b]
    assert labels_b[:3] == [labels_a[0], labels_a[2], labels_a[1]]
    assert labels_b[4] == labels_a[1]
    assert len({*labels_a, *labels_b}) == 5


def test_texts_name_the_groups():
    eye = np.eye(6)
    texts = eye[[1, 0, 1]]  # the third step has the text of the first
    a, b = label_stretches(eye[np.repeat([0, 1, 5], 4)], eye[np.repeat([1, 4], 4)], texts=texts)
    assert (a[0].label, a[1].label) == (1, 0)
    assert b[0].label == 0
    others = [a[2].label, b[1].label]
    assert min(others) >= 3
    assert len(set(others)) == 2


def test_a_step_that_nothing_else_shows_may_name_what_is_a_little_like_it():
    eye = np.eye(6)
    leaning = unit([0.25, 0.0, 0.0, 0.0, 0.97, 0.0])  # cosine 0.25 with the first text
    a, b = label_stretches(np.repeat(leaning[None], 4, axis=0), eye[[1] * 4], texts=eye[[0, 1]])
    assert (a[0].label, b[0].label) == (0, 1)
    taken = np.concatenate([eye[[0] * 4], np.repeat(leaning[None], 4, axis=0)])
    a, b = label_stretches(taken, eye[[1] * 4], texts=eye[[0, 1]])
    assert (a[0].label, b[0].label) == (0, 1)
    assert a[1].label >= 2


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40), st.integers(2, 6))
def test_stretches_cover_the_videos(seed, frames_a, frames_b, dimensions):
    rng = np.random.default_rng(seed)
    videos = [unit(rng.normal(size=(frames, dimensions))) for frames in (frames_a, frames_b)]
    texts = unit(rng.normal(size=(3, dimensions)))
    for found in (label_stretches(*videos), label_stretches(*videos, texts=texts)):
        for video, parts in zip(videos, found, strict=True):
            assert (parts[0].start, parts[-1].stop) == (0, len(video))
            for one, two in itertools.pairwise(parts):
                assert one.stop == two.start
                assert one.label != two.label


def test_features_that_cancel_out_have_no_direction_and_are_no_error():
    features = np.array([[1.0, 0.0], [-1.0, 0.0]] * 3)
    a, b = label_stretches(features, features, alike=-1.0)
    assert (a[-1].stop, b[-1].stop) == (6, 6)
