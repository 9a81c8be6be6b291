"""Ways to compare two videos that are tried beside those of the runtime, for P pairs at a time.

Letters: P pairs, T frames, K steps, D dimensions. Features have length 1; a cost is 1 - cosine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from weaksvr.runtime.alignment import monotonic_viterbi
from weaksvr.runtime.step_changes import compare_labels
from weaksvr.runtime.stretches import label_stretches

__all__ = ["changed_share", "costs", "gap_distances", "script_cost", "soft_dtw_distances", "subsequence_distances"]

Floats = NDArray[np.float64]


def costs(first: Floats, second: Floats) -> Floats:
    """The costs of all cells: (P, Ta, D), (P, Tb, D) -> (Ta, Tb, P)."""
    return np.clip(1.0 - first @ second.transpose(0, 2, 1), 0.0, 2.0).transpose(1, 2, 0).copy()


def gap_distances(cost: Floats, *, gap: float, opening: float, diagonal: float = 1.0) -> Floats:
    """Time warping with gaps: stretches of either video may be left out, at the ends too.

    A `gap` of infinity and a `diagonal` of 1 is the alignment of the runtime; with a `diagonal` of 2 every frame of
    both videos counts alike.

    Args:
        cost: float64 (Ta, Tb, P).
        gap: for each frame that is left out.
        opening: for each stretch that is left out, besides.
        diagonal: how often the cell of a move (1, 1) counts; those of (1, 0) and (0, 1) count once.

    Returns:
        float64 (P,): the cheapest way, divided by Ta + Tb.
    """
    frames_a, frames_b, num_pairs = cost.shape
    shape = (frames_a + 1, frames_b + 1, num_pairs)
    matched, skipped_a, skipped_b = np.full(shape, np.inf), np.full(shape, np.inf), np.full(shape, np.inf)
    matched[0, 0] = 0.0
    for i in range(frames_a + 1):
        for j in range(frames_b + 1):
            if i:
                before = np.minimum(matched[i - 1, j], skipped_b[i - 1, j]) + opening
                skipped_a[i, j] = np.minimum(before, skipped_a[i - 1, j]) + gap
            if j:
                before = np.minimum(matched[i, j - 1], skipped_a[i, j - 1]) + opening
                skipped_b[i, j] = np.minimum(before, skipped_b[i, j - 1]) + gap
            if i and j:
                here = cost[i - 1, j - 1]
                entered = np.minimum(
                    np.minimum(matched[i - 1, j - 1], skipped_a[i - 1, j - 1]), skipped_b[i - 1, j - 1]
                )
                along = np.minimum(matched[i - 1, j], matched[i, j - 1])
                # From (0, 0) alone no frame is matched yet, so the first match enters by the diagonal.
                matched[i, j] = np.minimum(entered + diagonal * here, along + here)
    return np.minimum(np.minimum(matched[-1, -1], skipped_a[-1, -1]), skipped_b[-1, -1]) / (frames_a + frames_b)


def _soft_dtw(cost: Floats, gamma: float) -> Floats:
    frames_a, frames_b, num_pairs = cost.shape
    total = np.full((frames_a + 1, frames_b + 1, num_pairs), np.inf)
    total[0, 0] = 0.0
    for i in range(1, frames_a + 1):
        for j in range(1, frames_b + 1):
            ways = np.stack([total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]])
            least = ways.min(axis=0)
            total[i, j] = cost[i - 1, j - 1] + least - gamma * np.log(np.exp(-(ways - least) / gamma).sum(axis=0))
    return total[-1, -1]


def soft_dtw_distances(first: Floats, second: Floats, *, gamma: float) -> Floats:
    """Soft-DTW (Cuturi and Blondel 2017) as a divergence: without what each video is apart from itself.

    Args:
        first, second: float64 (P, T, D).
        gamma: how soft; towards 0 it becomes time warping.

    Returns:
        float64 (P,).
    """
    own = (_soft_dtw(costs(each, each), gamma) for each in (first, second))
    between = _soft_dtw(costs(first, second), gamma) - sum(own) / 2
    return between / (first.shape[1] + second.shape[1])


def subsequence_distances(cost: Floats) -> Floats:
    """Time warping of one whole video onto any part of the other, both ways, the costlier counts.

    Args:
        cost: float64 (Ta, Tb, P).

    Returns:
        float64 (P,).
    """
    found = []
    for cells in (cost, cost.transpose(1, 0, 2)):
        total = np.cumsum(cells, axis=0)  # down the first column
        total[0] = cells[0]  # begins anywhere
        for i in range(1, len(cells)):
            for j in range(1, cells.shape[1]):
                before = np.minimum(np.minimum(total[i - 1, j - 1], total[i - 1, j]), total[i, j - 1])
                total[i, j] = cells[i, j] + before
        found.append(total[-1].min(axis=0) / len(cells))
    return np.maximum(*found)


def script_cost(features: Floats, texts: Floats) -> float:
    """What it costs a video to go through all steps of a script in order: the mean of 1 - cosine on the cheapest way.

    Args:
        features: float64 (T, D).
        texts: float64 (K, D).
    """
    cosines = features @ texts.T
    path = monotonic_viterbi(cosines, visit_every_step=True)
    return float(1.0 - cosines[np.arange(len(path)), path].mean())


def changed_share(first: Floats, second: Floats, texts: Floats | None = None) -> float:
    """The share of both videos' frames that an explanation names: without a counterpart, or in another order.

    Args:
        first, second: float64 (T, D).
        texts: float64 (K, D), of a script.
    """
    stretches = label_stretches(first, second, texts=texts)
    labels: list[Sequence[int]] = [[stretch.label for stretch in each] for each in stretches]
    found = compare_labels(*labels, named=0 if texts is None else len(texts)).found
    named_a = {row for change in found for row in change.a}
    named_b = {row for change in found for row in change.b}
    for change in (change for change in found if change.kind == "swapped"):
        named_a |= set(change.other_a)
        named_b |= set(change.other_b)
    changed = sum(stretches[0][row].length for row in named_a) + sum(stretches[1][row].length for row in named_b)
    return changed / (len(first) + len(second))
