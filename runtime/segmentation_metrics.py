"""How well found steps agree with the true ones: the measures of temporal action segmentation.

Edit score and F1@k are those of Lea et al., "Temporal Convolutional Networks for Action Segmentation and Detection"
(CVPR 2017, arXiv 1611.05267), as Farha and Gall (MS-TCN, CVPR 2019, arXiv 1903.01945) report them: background segments
do not count. Letters: K steps, G frames, S segments of a video.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from .errors import OptionError

__all__ = ["LabelledSpan", "edit_score", "f1_at", "frame_accuracy", "mean_temporal_iou", "step_recall", "temporal_iou"]

LabelledSpan = tuple[Hashable, float, float]
"""What is done, and from when to when."""


def temporal_iou(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Intersection over union of two spans of time, in [0, 1]; 0 if both are empty.

    Args:
        a, b: start and end in the same unit.
    """
    intersection = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = (a[1] - a[0]) + (b[1] - b[0]) - intersection
    return intersection / union if union > 0 else 0.0


def mean_temporal_iou(found: Sequence[tuple[float, float] | None], true: Sequence[tuple[float, float]]) -> float:
    """The mean over the K steps of a script of the IoU of found and true span; a step that was not found counts 0.

    Args:
        found: K spans, None for a step without one.
        true: K spans.

    Raises:
        OptionError: if there is no step, or the lengths differ.
    """
    return float(np.mean(_ious(found, true)))


def step_recall(
    found: Sequence[tuple[float, float] | None], true: Sequence[tuple[float, float]], *, min_iou: float = 0.5
) -> float:
    """The share of the K steps whose found span has an IoU of at least `min_iou` with the true one.

    Args:
        found: K spans, None for a step without one.
        true: K spans.
        min_iou: above 0, at most 1.

    Raises:
        OptionError: as `mean_temporal_iou` does, or if `min_iou` cannot be meant.
    """
    _check_share(min_iou)
    return float(np.mean(np.array(_ious(found, true)) >= min_iou))


def frame_accuracy(found: Sequence[Hashable], true: Sequence[Hashable]) -> float:
    """The share of the G frames that have the right label; background is a label like any other.

    Raises:
        OptionError: if there is no frame, or the lengths differ.
    """
    if not len(true) or len(found) != len(true):
        raise OptionError(f"{len(found)} labels cannot be compared with {len(true)}; give one for each frame")
    return sum(a == b for a, b in zip(found, true, strict=True)) / len(true)


def edit_score(found: Sequence[Hashable], true: Sequence[Hashable]) -> float:
    """1 - the edit distance of two sequences of segments' labels, divided by the longer one's length; in [0, 1].

    Insertion, deletion and substitution cost 1 each. Two empty sequences agree: 1.

    Args:
        found, true: labels of the segments in the order of time, without background.
    """
    longest = max(len(found), len(true))
    return 1.0 - _edits(found, true) / longest if longest else 1.0


def f1_at(found: Iterable[Sequence[LabelledSpan]], true: Iterable[Sequence[LabelledSpan]], *, min_iou: float) -> float:
    """F1 of the segments of all videos together, in [0, 1].

    The found segments of a video are taken in turn; one is right if the true segment of the same label with which its
    IoU is largest reaches `min_iou` and was not taken yet.

    Args:
        found, true: segments of each video, without background.
        min_iou: above 0, at most 1; 0.10, 0.25 and 0.50 are usual.

    Returns:
        2 * precision * recall / (precision + recall); 1 if there is no segment at all.

    Raises:
        OptionError: if the numbers of videos differ, or `min_iou` cannot be meant.
    """
    _check_share(min_iou)
    counts: Counter[str] = Counter()
    videos_found, videos_true = list(found), list(true)
    if len(videos_found) != len(videos_true):
        raise OptionError(f"{len(videos_found)} videos cannot be compared with {len(videos_true)}; give as many")
    for segments, truth in zip(videos_found, videos_true, strict=True):
        taken: set[int] = set()
        for label, start, end in segments:
            ious = [temporal_iou((start, end), other[1:]) if other[0] == label else 0.0 for other in truth]
            best = int(np.argmax(ious)) if ious else -1
            if best >= 0 and ious[best] >= min_iou and best not in taken:
                taken.add(best)
        counts.update(right=len(taken), found=len(segments), true=len(truth))
    total = counts["found"] + counts["true"]
    return 2 * counts["right"] / total if total else 1.0


def _edits(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Levenshtein's distance; `metrics.edit_distance` is another one, in which a substitution costs 2."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, start=1):
            best = min(diagonal + (left != right), row[j] + 1, row[j - 1] + 1)
            diagonal, row[j] = row[j], best
    return row[-1]


def _ious(found: Sequence[tuple[float, float] | None], true: Sequence[tuple[float, float]]) -> list[float]:
    if not true or len(found) != len(true):
        raise OptionError(f"{len(found)} found steps cannot be compared with {len(true)}; give one or None for each")
    return [0.0 if a is None else temporal_iou(a, b) for a, b in zip(found, true, strict=True)]


def _check_share(min_iou: float) -> None:
    if not 0 < min_iou <= 1:
        raise OptionError(f"{min_iou = } must be above 0 and at most 1")
