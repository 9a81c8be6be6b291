"""How well a model finds the video that follows a script among a few candidates (the CSV-Matching protocol)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .embedder import TextEmbedding, VideoEmbedding
from .errors import OptionError
from .manifest import MatchingItem
from .metrics import matching_accuracy, matching_aucs, matching_hits, published_matching_auc, roc_auc
from .operating_point import Curve
from .resampling import Links, binomial_interval
from .script_score import script_scores
from .spec import METHODS, Method

__all__ = ["MatchingResult", "TextEmbedder", "evaluate_matching", "matching_result", "matching_scores"]

RESAMPLES: Final = 2000
TOP: Final = (1, 2, 3)
MIN_GROUPS: Final = 8
"""With fewer groups than these questions are drawn. Videos cannot be: a question needs all of its."""

Interval = tuple[float, float]


class TextEmbedder(Protocol):
    """What embeds the scripts; `Embedder` is one."""

    def embed_text(self, steps: Sequence[str]) -> TextEmbedding: ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MatchingResult:
    """What one way to score is worth on Q questions: a script, a few candidates, one of which follows it.

    The published AUC takes the index of the chosen candidate for a score, which ranks nothing; it is `published_auc`.
    The two others are defined anew, and 1.0 is perfect.

    Attributes:
        questions: Q.
        chance: the accuracy of guessing.
        accuracy: k -> share of questions whose right candidate is among the k best; `accuracy[1]` is the published one.
        auc: area under the ROC curve of all pairs of a script and one of its candidates, positive = follows: whether
            scores can be compared from one script to the next.
        question_auc: mean over the questions of the chance that the right candidate beats a wrong one of the same
            question.
        published_auc: see `published_matching_auc`: 0.0 is perfect, 0.5 chance; None where all answers are the first
            candidate, or none is.
        intervals: of 95 %, by bootstrap, by name: `accuracy`, `question_auc`, and `auc` unless all draws agree. Where
            every answer is right: what is exact for as many right answers as there are groups (or questions).
        groups: sets of questions that share no video with each other.
        unit: what the bootstrap draws anew; `questions` where there are fewer than 8 groups, and then the intervals
            are too narrow. They are a little so below some 20 groups.
    """

    questions: int
    chance: float
    accuracy: Mapping[int, float]
    auc: float
    question_auc: float
    published_auc: float | None
    intervals: Mapping[str, Interval]
    groups: int
    unit: Literal["groups", "questions"]

    def to_dict(self) -> dict[str, Any]:
        return {
            **dataclasses.asdict(self),
            "accuracy": {str(k): value for k, value in self.accuracy.items()},
            "intervals": {name: list(bounds) for name, bounds in self.intervals.items()},
        }


def evaluate_matching(
    embedder: TextEmbedder, questions: Sequence[MatchingItem], embeddings: Mapping[Path, VideoEmbedding]
) -> dict[Method, MatchingResult]:
    """Answer the questions in both ways.

    Args:
        embedder: of the scripts.
        questions: Q, at least one.
        embeddings: of all their videos.

    Raises:
        OptionError: if a question has a single candidate.
        BundleError: if there is no text network.
    """
    texts = [embedder.embed_text(question.steps) for question in questions]
    return {
        method: matching_result(matching_scores(questions, texts, embeddings, method=method), questions)
        for method in METHODS
    }


def matching_scores(
    questions: Sequence[MatchingItem],
    texts: Sequence[TextEmbedding],
    embeddings: Mapping[Path, VideoEmbedding],
    *,
    method: Method,
) -> NDArray[np.float64]:
    """The candidates' scores, float64 (Q, C); -inf where a question has fewer candidates."""
    scores = np.full((len(questions), max(len(question.videos) for question in questions)), -np.inf)
    for row, (question, text) in enumerate(zip(questions, texts, strict=True)):
        found, _ = script_scores([embeddings[video] for video in question.videos], text, method=method)
        scores[row, : len(found)] = found
    return scores


def matching_result(scores: NDArray[np.float64], questions: Sequence[MatchingItem]) -> MatchingResult:
    """The measures of these scores, float64 (Q, C), with their intervals.

    Raises:
        OptionError: if a question has a single candidate, or the scores are not of these questions.
    """
    answers = np.array([question.answer for question in questions], dtype=np.int64)
    counts = np.array([len(question.videos) for question in questions])
    if scores.ndim != 2 or ((scores > -np.inf).sum(axis=1) != counts).any():
        raise OptionError(f"scores of shape {scores.shape} are not those of the {len(questions)} questions")
    row, column = np.nonzero(scores > -np.inf)
    same, distances = column == answers[row], -scores[row, column]
    by_question = {"accuracy": matching_hits(scores, answers), "question_auc": matching_aucs(scores, answers)}
    group = _groups(questions)
    unit: Literal["groups", "questions"] = "groups" if group.max() + 1 >= MIN_GROUPS else "questions"
    weights = _drawn(group if unit == "groups" else np.arange(len(questions)))
    drawn = {name: weights @ values / weights.sum(axis=1) for name, values in by_question.items()}
    drawn["auc"] = Curve(same, distances, weights[:, row]).auc
    intervals = {name: _interval(values) for name, values in sorted(drawn.items())}
    if by_question["accuracy"].min() == 1:  # no draw can show a mistake that no question shows
        units = int(group.max()) + 1 if unit == "groups" else len(questions)
        intervals |= dict.fromkeys(by_question, binomial_interval(units, units))
    if intervals["auc"][0] == intervals["auc"][1]:
        del intervals["auc"]
    return MatchingResult(
        questions=len(questions),
        chance=float((1 / counts).mean()),
        accuracy={k: matching_accuracy(scores, answers, k=k) for k in TOP if k < counts.max()},
        auc=roc_auc(same, distances),
        question_auc=float(by_question["question_auc"].mean()),
        published_auc=published_matching_auc(scores, answers),
        intervals=intervals,
        groups=int(group.max()) + 1,
        unit=unit,
    )


def _groups(questions: Sequence[MatchingItem]) -> NDArray[np.int64]:
    """For each question the number of its group, int64 (Q,): questions that share videos, also through others."""
    links = [(question.videos[0], video) for question in questions for video in question.videos]
    first = np.cumsum([0, *(len(question.videos) for question in questions[:-1])])
    group: NDArray[np.int64] = Links.of(links).group[first]
    return group


def _drawn(unit: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each question counts in each bootstrap sample, int64 (R, Q); the same draws every time."""
    count = int(unit.max()) + 1
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    weights: NDArray[np.int64] = drawn[:, unit]
    return weights


def _interval(values: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
