from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from weaksvr.runtime.errors import OptionError
from weaksvr.runtime.evaluate_matching import matching_result
from weaksvr.runtime.manifest import MatchingItem
from weaksvr.runtime.metrics import matching_accuracy, matching_aucs, matching_hits


def questions_of(count, candidates=5, *, tasks, seed=0):
    rng = np.random.default_rng(seed)
    items = []
    for number in range(count):
        videos = tuple(Path(f"{number % tasks}.{i}.mp4") for i in rng.permutation(candidates + 2)[:candidates])
        items.append(MatchingItem(steps=("stir",), videos=videos, answer=int(rng.integers(candidates))))
    return items


def test_the_measures():
    questions = questions_of(60, tasks=12)
    answers = np.array([question.answer for question in questions])
    scores = np.random.default_rng(1).normal(size=(60, 5)) + 1.5 * (np.arange(5) == answers[:, None])
    found = matching_result(scores, questions)
    ranks = np.array([(row > row[answer]).sum() for row, answer in zip(scores, answers, strict=True)])
    assert found.accuracy == {k: pytest.approx(np.mean(ranks < k)) for k in (1, 2, 3)}
    assert found.question_auc == pytest.approx(np.mean((4 - ranks) / 4))
    assert found.auc == pytest.approx(roc_auc_score((np.arange(5) == answers[:, None]).ravel(), scores.ravel()))
    assert (found.questions, found.groups, found.unit, found.chance) == (60, 12, "groups", pytest.approx(0.2))
    for name, value in (("accuracy", found.accuracy[1]), ("auc", found.auc), ("question_auc", found.question_auc)):
        low, high = found.intervals[name]
        assert low <= value <= high
    expected = roc_auc_score(answers == 0, scores.argmax(axis=1))
    assert found.published_auc == pytest.approx(expected)
    assert found.published_auc < 0.5  # upside down: this model is better than chance
    document = found.to_dict()
    assert document["published_auc"] == found.published_auc
    assert document["accuracy"]["1"] == found.accuracy[1]


def test_who_knows_all_answers_has_one_everywhere_and_zero_as_published():
    questions = questions_of(60, tasks=12)
    answers = np.array([question.answer for question in questions])
    found = matching_result(np.eye(5)[answers], questions)
    assert (found.accuracy[1], found.auc, found.question_auc) == (1.0, 1.0, 1.0)
    assert found.published_auc == 0.0
    low, high = found.intervals["accuracy"]
    assert (low, high) == (pytest.approx(0.025 ** (1 / 12)), 1.0)  # of 12 groups without a mistake
    assert found.intervals["question_auc"] == (low, high)
    assert "auc" not in found.intervals


def test_few_groups_are_said():
    questions = questions_of(40, tasks=3)
    assert matching_result(np.random.default_rng(0).normal(size=(40, 5)), questions).unit == "questions"


def test_the_interval_knows_of_groups():
    """Where the questions of a task are all right or all wrong, there are as many answers as tasks, not questions."""
    questions = questions_of(120, tasks=12)
    right = np.arange(120) % 12 < 6
    scores = np.zeros((120, 5))
    for row, question in enumerate(questions):
        scores[row, question.answer] = 1.0 if right[row] else -1.0
    low, high = matching_result(scores, questions).intervals["accuracy"]
    assert high - low > 0.45  # of 12 fair coins; 120 would give 0.18


def test_questions_of_different_sizes():
    questions = [
        MatchingItem(steps=("stir",), videos=(Path("a"), Path("b")), answer=1),
        MatchingItem(steps=("stir",), videos=(Path("a"), Path("b"), Path("c")), answer=0),
    ]
    scores = np.array([[0.1, 0.3, -np.inf], [0.2, 0.2, 0.5]])
    found = matching_result(scores, questions)
    assert found.chance == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert found.accuracy == {1: 0.5, 2: pytest.approx((1 + 0.5) / 2)}
    assert found.question_auc == pytest.approx((1 + 0.25) / 2)
    assert found.auc == pytest.approx(roc_auc_score([0, 1, 1, 0, 0], [0.1, 0.3, 0.2, 0.2, 0.5]))
    assert found.groups == 1


def test_what_is_refused():
    alone = [MatchingItem(steps=("stir",), videos=(Path("a"),), answer=0)]
    with pytest.raises(OptionError, match="no wrong candidate"):
        matching_result(np.zeros((1, 1)), alone)
    with pytest.raises(OptionError, match="not those of the 1 questions"):
        matching_result(np.zeros((1, 2)), alone)


def test_hits_and_aucs_share_ties():
    scores = [[0.5, 0.5, 0.5, 0.1], [0.9, 0.1, 0.1, -np.inf]]
    np.testing.assert_allclose(matching_hits(scores, [0, 1]), [1 / 3, 0])
    np.testing.assert_allclose(matching_hits(scores, [0, 1], k=2), [2 / 3, 1 / 2])
    np.testing.assert_allclose(matching_hits(scores, [0, 1], k=4), [1, 1])
    np.testing.assert_allclose(matching_aucs(scores, [0, 1]), [2 / 3, 1 / 4])
    assert matching_accuracy(scores, [0, 1], k=2) == pytest.approx(7 / 12)
    with pytest.raises(OptionError, match="k = 0 must be at least 1"):
        matching_hits(scores, [0, 1], k=0)
