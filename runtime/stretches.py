"""Two videos cut into stretches, and the stretches of both that show the same thing put together under one label.

Letters: T frames, K steps, D dimensions, S stretches. All features are of length 1.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .alignment import unit_rows

__all__ = ["ALIKE", "CUT_COST", "NAMED", "PERHAPS", "Stretch", "cut", "label_stretches"]

CUT_COST: Final = 0.038
"""What a further stretch costs, for each frame of the video; chosen, as `ALIKE` and `NAMED`, on validation pairs."""

ALIKE: Final = 0.39
"""Mean cosine of their frames from which on two stretches, or two groups of stretches, show the same thing."""

NAMED: Final = 0.35
"""Cosine with the text of a step from which on all groups of stretches that are nearest to it show this step."""

PERHAPS: Final = 0.2
"""Cosine from which on a single group of stretches may show a step that nothing else shows."""

_FINE: Final = 32  # frames from which on a single frame makes no stretch of its own

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """Frames in a row that show one thing.

    Attributes:
        label: what they show; the same number is the same thing in both videos.
        start, stop: frames [start, stop), counted in the sampled ones.
    """

    label: int
    start: int
    stop: int

    @property
    def length(self) -> int:
        """How many frames it has."""
        return self.stop - self.start


def label_stretches(
    a: Floats, b: Floats, *, texts: Floats | None = None, alike: float = ALIKE
) -> tuple[tuple[Stretch, ...], tuple[Stretch, ...]]:
    """The stretches of two videos; neighbours have different labels.

    Args:
        a: float64 (Ta, D), the frames' features, each of length 1.
        b: float64 (Tb, D), likewise.
        texts: float64 (K, D), the steps' features, each of length 1: a group of stretches that is near enough to a text
            gets the label of that step (0 to K - 1; of equal texts the first), every other group one from K on.
        alike: see `ALIKE`.

    Returns:
        The stretches of `a` and of `b`, in the order of time, without gaps.
    """
    features = (a, b)
    cuts = [(video, start, stop) for video in (0, 1) for start, stop in cut(features[video])]
    sums = np.stack([features[video][start:stop].sum(axis=0) for video, start, stop in cuts])  # (S, D)
    groups = _group(sums, np.array([stop - start for _, start, stop in cuts], dtype=np.float64), alike)
    labels = _named(sums, groups, texts) if texts is not None else groups
    found: tuple[list[Stretch], list[Stretch]] = ([], [])
    for (video, start, stop), label in zip(cuts, labels.tolist(), strict=True):
        before = found[video]
        if before and before[-1].label == label:
            start = before.pop().start  # noqa: PLW2901 - the stretch goes on
        before.append(Stretch(label=label, start=start, stop=stop))
    return tuple(found[0]), tuple(found[1])


def cut(features: Floats) -> list[tuple[int, int]]:
    """The cheapest way to cut a video into stretches of frames that point in one direction.

    A stretch of n frames costs n minus the length of the sum of its features: 0 if all are equal, up to n. Each further
    stretch costs `CUT_COST` times the number of all frames.

    Args:
        features: float64 (T, D), each of length 1.

    Returns:
        [start, stop) of the stretches, in order, without gaps.
    """
    num_frames = len(features)
    shortest = 2 if num_frames >= _FINE else 1
    total = np.concatenate([np.zeros((1, features.shape[1])), np.cumsum(features, axis=0)])  # (T + 1, D)
    best = np.full(num_frames + 1, np.inf)
    best[0] = 0.0
    begins = np.zeros(num_frames + 1, dtype=np.int64)
    for stop in range(shortest, num_frames + 1):
        starts = np.arange(stop - shortest + 1)
        costs = best[starts] + (stop - starts) - np.linalg.norm(total[stop] - total[starts], axis=1)
        begins[stop] = np.argmin(costs)
        best[stop] = costs[begins[stop]] + CUT_COST * num_frames
    found = []
    stop = num_frames
    while stop:
        found.append((int(begins[stop]), stop))
        stop = int(begins[stop])
    return found[::-1]


def _group(sums: Floats, weights: Floats, alike: float) -> NDArray[np.int64]:
    """Groups of S stretches by average linkage: the two groups whose stretches are most alike on average are joined,
    stretches counting by their frames, as long as they are alike.

    Args:
        sums: float64 (S, D), the stretches' features, added up.
        weights: float64 (S,), how many frames they have.
        alike: see `ALIKE`.

    Returns:
        int64 (S,), numbers of the groups, in the order in which they first occur.
    """
    directions = unit_rows(sums) * weights[:, None]
    linked = directions @ directions.T  # sum over the stretches of both groups of weight * weight * cosine
    sizes = weights.copy()
    group = np.arange(len(sums))
    while True:
        means = linked / np.outer(sizes, sizes)
        means[np.tril_indices(len(means))] = -np.inf
        means[np.isnan(means)] = -np.inf
        first, second = np.unravel_index(np.argmax(means), means.shape)
        if means[first, second] < alike:
            break
        linked[first] += linked[second]
        linked[:, first] += linked[:, second]
        sizes[first] += sizes[second]
        linked[second] = linked[:, second] = -np.inf
        group[group == second] = first
    _, numbered = np.unique(group, return_inverse=True)
    return numbered.astype(np.int64)


def _named(sums: Floats, groups: NDArray[np.int64], texts: Floats) -> NDArray[np.int64]:
    """The labels of the stretches: the step whose text is nearest to their group, or one that is no step's.

    Groups that are near enough to one text become one. A step that no group is near to names the one that is nearest to
    it among the others, if it is near at all; that joins nothing.
    """
    count = int(groups.max()) + 1
    of_group = np.stack([sums[groups == group].sum(axis=0) for group in range(count)])  # (G, D)
    cosines = unit_rows(of_group) @ texts.T  # (G, K)
    first = [int(np.flatnonzero((texts == text).all(axis=1))[0]) for text in texts]
    labels = [
        first[int(np.argmax(row))] if row.max() >= NAMED else len(texts) + group for group, row in enumerate(cosines)
    ]
    for cell in np.argsort(-cosines, axis=None, kind="stable").tolist():
        group, step = divmod(cell, len(texts))
        if cosines[group, step] < PERHAPS:
            break
        if labels[group] >= len(texts) and first[step] not in labels:
            labels[group] = first[step]
    return np.array(labels, dtype=np.int64)[groups]
