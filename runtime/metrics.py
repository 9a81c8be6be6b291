"""The numbers that every layer reports: AUC, equal error rate, accuracy, WDR, matching accuracy.

P pairs of videos, Q questions with C candidates. Distances are small for equal procedures; a pair is called the same
iff distance <= threshold (paper, Eq. 15). A number that the data cannot define raises `OptionError` unless said
otherwise.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import OptionError
from .operating_point import EQUAL_ERROR, Curve

__all__ = [
    "accuracy",
    "auc_by_kind",
    "edit_distance",
    "equal_error_threshold",
    "matching_accuracy",
    "matching_aucs",
    "matching_hits",
    "published_matching_auc",
    "roc_auc",
    "wdr",
]


def roc_auc(same: ArrayLike, distances: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a same pair is closer than a different pair; a tie counts half.

    Args:
        same: bool (P,), True for the positive class.
        distances: float (P,), the score's negative.

    Raises:
        OptionError: if the shapes do not fit, a value is not finite, or one of the classes is missing.
    """
    labels, values = _labelled(same, distances)
    _need_both_classes(labels, "the AUC")
    ordered = np.sort(values[~labels])
    closer = values[labels]
    # For every same pair: the different pairs that are further away, and half of those as far.
    not_below = len(ordered) - np.searchsorted(ordered, closer, side="left")
    above = len(ordered) - np.searchsorted(ordered, closer, side="right")
    return float((not_below.sum() + above.sum()) / (2 * len(closer) * len(ordered)))


def equal_error_threshold(same: ArrayLike, distances: ArrayLike) -> tuple[float, float]:
    """The threshold at which as many same pairs are refused as different pairs are accepted, and that error rate.

    The thresholds tried lie halfway between neighbouring distinct distances. The two rates seldom meet exactly: the
    threshold with the least difference between them is taken (of two such, the one with fewer errors, then the lower
    one), and the equal error rate is the mean of the two rates there. Where all distances are equal there is nothing
    between: then the threshold is that distance, everything counts as the same, and the rate is 0.5.

    Args:
        same: bool (P,).
        distances: float (P,).

    Returns:
        `(threshold, rate)`; the verdict is distance <= threshold.

    Raises:
        OptionError: as `roc_auc` does.
    """
    labels, values = _labelled(same, distances)
    _need_both_classes(labels, "the equal error rate")
    curve = Curve(labels, values)
    cuts = curve.choose(EQUAL_ERROR)
    accepted, refused = curve.rates(cuts)
    return float(curve.thresholds(cuts)[0]), float(accepted[0] + refused[0]) / 2


def accuracy(same: ArrayLike, distances: ArrayLike, threshold: float) -> float:
    """The share of pairs whose verdict, distance <= threshold, is right.

    Args:
        same: bool (P,).
        distances: float (P,).
        threshold: largest distance of a same pair.

    Raises:
        OptionError: if the shapes do not fit, there is no pair, or a value is not finite.
    """
    labels, values = _labelled(same, distances)
    if np.isnan(threshold):
        raise OptionError("the threshold is NaN; give a number")
    return float(np.mean((values <= threshold) == labels))


def edit_distance(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """The cost of turning one list of steps into another: 1 to insert or delete a step, 2 to substitute one."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, start=1):
            # A substitution costs as much as deleting one step and inserting the other, so it is no case of its own.
            best = diagonal if left == right else 1 + min(row[j], row[j - 1])
            diagonal, row[j] = row[j], best
    return row[-1]


def wdr(squared_distances: ArrayLike, same: ArrayLike, edit_distances: ArrayLike) -> float:
    """Weighted distance ratio: how far apart different procedures are for each edit, relative to equal ones.

        WDR = mean over different pairs of d / e, divided by the mean over same pairs of d

    The published numbers have d the *square* of the normalised distance, so square `vector_distance` before the call.
    The published program gives 0 where no pair differs and nan where none is the same; here that is an error.

    Args:
        squared_distances: float (P,), d, not negative.
        same: bool (P,).
        edit_distances: int (P,), e = `edit_distance` of the two lists of steps; used for different pairs alone.

    Returns:
        The ratio, larger is better; nan where all same pairs have distance 0.

    Raises:
        OptionError: if the shapes do not fit, a value is negative or not finite, a class is missing, or a different
            pair has e below 1.
    """
    labels, values = _labelled(same, squared_distances)
    _need_both_classes(labels, "the WDR")
    edits = np.asarray(edit_distances, dtype=np.float64)
    if edits.shape != values.shape:
        raise OptionError(f"{edits.shape = } must be that of the distances, {values.shape}")
    if values.min() < 0:
        raise OptionError("squared_distances hold a negative value; square the distances")
    if not (np.isfinite(edits[~labels]) & (edits[~labels] >= 1)).all():
        raise OptionError("a different pair has an edit distance below 1: its steps are the same; correct the pair")
    matched = values[labels].mean()
    return float((values[~labels] / edits[~labels]).mean() / matched) if matched > 0 else float("nan")


def matching_accuracy(scores: ArrayLike, answers: ArrayLike, *, k: int = 1) -> float:
    """The share of questions whose right candidate is among the k with the highest scores: the mean of `matching_hits`.

    Args:
        scores: float (Q, C), higher is better; -inf where a question has fewer candidates.
        answers: int (Q,), 0-based index of the right candidate.
        k: at least 1.

    Raises:
        OptionError: as `matching_hits` does.
    """
    return float(matching_hits(scores, answers, k=k).mean())


def matching_hits(scores: ArrayLike, answers: ArrayLike, *, k: int = 1) -> NDArray[np.float64]:
    """For each question the chance that its right candidate is among the k best, where equal scores stand at random.

    With k = 1: where n candidates share the highest score and the right one is among them, the question counts 1 / n.

    Args:
        scores: float (Q, C), higher is better; -inf where a question has fewer candidates.
        answers: int (Q,), 0-based index of the right candidate.
        k: at least 1.

    Returns:
        float64 (Q,), in [0, 1].

    Raises:
        OptionError: if the shapes do not fit, there is no question, a score is NaN or +inf, an answer is no candidate,
            or k is below 1.
    """
    values, given = _questions(scores, answers)
    if k < 1:
        raise OptionError(f"{k = } must be at least 1")
    higher = (values > given).sum(axis=1)
    equal = (values == given).sum(axis=1)
    hits: NDArray[np.float64] = np.clip((k - higher) / equal, 0.0, 1.0)
    return hits


def matching_aucs(scores: ArrayLike, answers: ArrayLike) -> NDArray[np.float64]:
    """For each question the chance that its right candidate has a higher score than a wrong one; a tie counts half.

    Args:
        scores: float (Q, C), higher is better; -inf where a question has fewer candidates.
        answers: int (Q,), 0-based index of the right candidate.

    Returns:
        float64 (Q,), in [0, 1].

    Raises:
        OptionError: as `matching_hits` does, and if a question has no wrong candidate.
    """
    values, given = _questions(scores, answers)
    wrong = (values > -np.inf).sum(axis=1) - 1
    if (wrong < 1).any():
        raise OptionError("a question has no wrong candidate; give at least two videos for each script")
    lower = ((values < given) & (values > -np.inf)).sum(axis=1)
    equal = (values == given).sum(axis=1) - 1
    chances: NDArray[np.float64] = (lower + equal / 2) / wrong
    return chances


def published_matching_auc(scores: ArrayLike, answers: ArrayLike) -> float | None:
    """The "AUC" that the published program prints for matching, to stand beside its number; it measures nothing.

    Area under the ROC curve of Q questions: positive are those whose answer is candidate 0, and the score is the index
    of the candidate that was chosen (the first of several with the highest score). A perfect model gets 0.0, as its
    score is lowest exactly where the class is positive; one that guesses, or always chooses the same, gets 0.5.

    Args:
        scores: float (Q, C), higher is better; -inf where a question has fewer candidates.
        answers: int (Q,), 0-based index of the right candidate.

    Returns:
        The area; None where the answer of all questions, or of none, is candidate 0.

    Raises:
        OptionError: as `matching_hits` does.
    """
    values, _ = _questions(scores, answers)
    first = np.asarray(answers) == 0
    if first.all() or not first.any():
        return None
    return roc_auc(first, -values.argmax(axis=1))


def auc_by_kind(same: ArrayLike, distances: ArrayLike, kinds: Sequence[str | None]) -> dict[str, float]:
    """`roc_auc` for every kind of difference: its different pairs against all same pairs.

    Args:
        same: bool (P,).
        distances: float (P,).
        kinds: P names; those of same pairs are not looked at, different pairs with None belong to no kind.

    Returns:
        Kind -> AUC, in alphabetical order; empty where no different pair has a kind.

    Raises:
        OptionError: if the shapes do not fit, a value is not finite, or there is no same pair.
    """
    labels, values = _labelled(same, distances)
    if len(kinds) != len(values):
        raise OptionError(f"{len(kinds)} kinds for {len(values)} pairs; give one (or None) for each")
    names = sorted({kind for kind, equal in zip(kinds, labels, strict=True) if kind is not None and not equal})
    of_kind = {name: np.array([kind == name for kind in kinds], dtype=np.bool_) for name in names}
    chosen = {name: labels | of_kind[name] for name in names}
    return {name: roc_auc(labels[rows], values[rows]) for name, rows in chosen.items()}


def _questions(scores: ArrayLike, answers: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The scores, (Q, C), and those of the right candidates, (Q, 1). Raises `OptionError`."""
    values, right = np.asarray(scores, dtype=np.float64), np.asarray(answers)
    if values.ndim != 2 or 0 in values.shape or right.shape != values.shape[:1]:
        raise OptionError(f"scores of shape {values.shape} and answers of shape {right.shape} must be (Q, C) and (Q,)")
    if right.dtype.kind not in "iu" or right.min() < 0 or right.max() >= values.shape[1]:
        raise OptionError(f"answers must be integers from 0 to {values.shape[1] - 1}, the candidates' indices")
    given = values[np.arange(len(right)), right][:, None]
    if np.isnan(values).any() or (values == np.inf).any() or (given == -np.inf).any():
        raise OptionError("scores hold NaN or +inf, or an answer's score is -inf; give finite scores")
    return values, given


def _labelled(same: ArrayLike, distances: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    labels, values = np.asarray(same), np.asarray(distances, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != values.shape or not len(labels):
        raise OptionError(
            f"labels of shape {labels.shape} and distances of shape {values.shape} must both be (P,), with P above 0"
        )
    if labels.dtype != np.bool_ and not np.isin(labels, (0, 1)).all():
        raise OptionError("labels must be True or False (or 1 and 0)")
    if not np.isfinite(values).all():
        raise OptionError("distances hold NaN or infinite values; give finite ones")
    return labels.astype(np.bool_), values


def _need_both_classes(labels: NDArray[np.bool_], what: str) -> None:
    if labels.all() or not labels.any():
        missing = "different" if labels.all() else "same"
        raise OptionError(f"{what} needs same and different pairs, but none is {missing}; add some")
