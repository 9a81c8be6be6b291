"""The measures against naive transcriptions of their definitions, and values that are known by hand."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weaksvr.runtime.errors import OptionError
from weaksvr.runtime.segmentation_metrics import (
    edit_score,
    f1_at,
    frame_accuracy,
    mean_temporal_iou,
    step_recall,
    temporal_iou,
)

LABELS = st.lists(st.sampled_from("abc"), max_size=6)


@st.composite
def videos(draw):
    """Labelled spans that follow one another on whole seconds."""
    borders = sorted(draw(st.sets(st.integers(0, 20), min_size=2, max_size=8)))
    spans = itertools.pairwise(borders)
    return [(draw(st.sampled_from("abc")), a, b) for a, b in spans if draw(st.booleans())]


def naive_iou(a, b):
    one, other = set(range(*a)), set(range(*b))
    return len(one & other) / len(one | other) if one | other else 0.0


def naive_edit(a, b):
    @functools.cache
    def distance(i, j):
        if not i or not j:
            return i + j
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    return distance(len(a), len(b))


def naive_f1(found, true, overlap):
    """As the field's evaluation scripts count: true positives, false positives, false negatives."""
    tp = fp = fn = 0
    for p, y in zip(found, true, strict=True):
        hits = np.zeros(len(y))
        video_tp = 0
        for label, start, end in p:
            ious = [naive_iou((start, end), (a, b)) * (label == other) for other, a, b in y]
            if ious and max(ious) >= overlap and not hits[int(np.argmax(ious))]:
                video_tp += 1
                hits[int(np.argmax(ious))] = 1
            else:
                fp += 1
        tp += video_tp
        fn += len(y) - video_tp
    precision = tp / (tp + fp) if tp + fp else 0.0
    recall = tp / (tp + fn) if tp + fn else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@given(st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted), st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_iou(a, b):
    b = sorted(b)
    assert temporal_iou(tuple(a), tuple(b)) == pytest.approx(naive_iou(a, b))


@given(LABELS, LABELS)
def test_edit_score(a, b):
    expected = 1 - naive_edit(tuple(a), tuple(b)) / max(len(a), len(b)) if a or b else 1.0
    assert edit_score(a, b) == pytest.approx(expected)


@settings(deadline=None)
@given(st.lists(st.tuples(videos(), videos()), min_size=1, max_size=3), st.sampled_from([0.1, 0.25, 0.5]))
def test_f1(pairs, overlap):
    found, true = zip(*pairs, strict=True)
    if any(found) or any(true):
        assert f1_at(found, true, min_iou=overlap) == pytest.approx(naive_f1(found, true, overlap))


def test_f1_without_segments():
    assert f1_at([[]], [[]], min_iou=0.5) == 1.0
    assert f1_at([[("a", 0, 1)]], [[]], min_iou=0.5) == 0.0


def test_recall_and_iou_count_a_missing_step_as_nothing():
    found, true = [(0.0, 2.0), None, (5.0, 9.0)], [(0.0, 2.0), (2.0, 4.0), (6.0, 8.0)]
    assert mean_temporal_iou(found, true) == pytest.approx((1 + 0 + 0.5) / 3)
    assert step_recall(found, true) == pytest.approx(2 / 3)
    assert step_recall(found, true, min_iou=0.6) == pytest.approx(1 / 3)


def test_frame_accuracy():
    assert frame_accuracy([0, 0, 1, -1], [0, 1, 1, -1]) == 0.75


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_temporal_iou([], []), "give one or None for each"),
        (lambda: step_recall([None], []), "give one or None for each"),
        (lambda: step_recall([None], [(0, 1)], min_iou=0), "above 0"),
        (lambda: frame_accuracy([], []), "give one for each frame"),
        (lambda: frame_accuracy([1], [1, 2]), "give one for each frame"),
        (lambda: f1_at([[]], [], min_iou=0.5), "give as many"),
        (lambda: f1_at([[]], [[]], min_iou=1.5), "at most 1"),
    ],
)
def test_refuses_what_cannot_be_meant(call, message):
    with pytest.raises(OptionError, match=message):
        call()
