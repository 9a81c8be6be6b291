"""Comparing two videos, and a video with its steps, in order: distances, dynamic time warping, monotonic Viterbi.

Letters: P pairs of videos, T frames, K steps, D dimensions. Everything is computed in float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import OptionError

__all__ = [
    "alignment_distance",
    "alignment_distances",
    "alignment_path",
    "monotonic_viterbi",
    "unit_features",
    "unit_rows",
    "vector_distance",
    "vector_distances",
]

# Values that a chunk of pairs may hold: bounds the memory (about 200 MB) however many pairs there are.
_VALUES_AT_ONCE = 8_000_000


def vector_distance(a: ArrayLike, b: ArrayLike) -> float:
    """The l2 distance of two l2-normalised video vectors (paper, Eq. 14), in [0, 2].

    Args:
        a, b: float (D,).

    Raises:
        OptionError: if the shapes do not fit, or a vector is zero or not finite.
    """
    first, second = unit_features(a, "a", dims=1), unit_features(b, "b", dims=1)
    return float(vector_distances(first[None], second[None])[0])


def vector_distances(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """`vector_distance` of P pairs.

    Args:
        a, b: float (P, D).

    Returns:
        float64 (P,), in [0, 2].

    Raises:
        OptionError: as `vector_distance` does.
    """
    first, second = unit_features(a, "a", dims=2), unit_features(b, "b", dims=2)
    if first.shape != second.shape:
        raise OptionError(f"vectors of shapes {first.shape} and {second.shape} cannot be compared; they must be equal")
    distances: NDArray[np.float64] = np.minimum(np.linalg.norm(first - second, axis=-1), 2.0)
    return distances


def alignment_distance(a: ArrayLike, b: ArrayLike) -> float:
    """The cost of warping one sequence of frame features onto another, divided by Ta + Tb.

    Dynamic time warping with both ends tied: a path of cells leads from (0, 0) to (Ta - 1, Tb - 1) by the moves (1, 0),
    (0, 1) and (1, 1); each cell on it costs 1 - cosine, once; the cheapest path counts.

    Args:
        a: float (Ta, D), frames in time order.
        b: float (Tb, D).

    Returns:
        The distance, at least 0 (0 for equal sequences, up to rounding), below 2.

    Raises:
        OptionError: if the shapes do not fit, there is no frame, or a feature is zero or not finite.
    """
    total = _cumulative_cost(unit_features(a, "a", dims=2)[None], unit_features(b, "b", dims=2)[None])
    return float(total[-1, -1, 0] / sum(total.shape[:2]))


def alignment_distances(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """`alignment_distance` of P pairs at once; all a have one length, all b have one length.

    Args:
        a: float (P, Ta, D).
        b: float (P, Tb, D).

    Returns:
        float64 (P,).

    Raises:
        OptionError: as `alignment_distance` does.
    """
    first, second = np.asarray(a), np.asarray(b)
    for values, name in ((first, "a"), (second, "b")):
        _check_shape(values, name, dims=3)
    if len(first) != len(second):
        raise OptionError(f"{len(first)} sequences cannot be paired with {len(second)}; give as many of each")
    frames_a, frames_b = first.shape[1], second.shape[1]
    step = max(1, _VALUES_AT_ONCE // (frames_a * frames_b + (frames_a + frames_b) * first.shape[2]))
    distances = np.empty(len(first))
    for start in range(0, len(first), step):
        chunk = slice(start, start + step)
        total = _cumulative_cost(unit_features(first[chunk], "a", dims=3), unit_features(second[chunk], "b", dims=3))
        distances[chunk] = total[-1, -1] / (frames_a + frames_b)
    return distances


def alignment_path(a: ArrayLike, b: ArrayLike) -> NDArray[np.int64]:
    """The cells of the path that `alignment_distance` sums up.

    Where several paths cost the same, the one is given that, seen from the end, prefers (1, 1), then (1, 0).

    Args:
        a: float (Ta, D).
        b: float (Tb, D).

    Returns:
        int64 (L, 2): frame of a and frame of b, from (0, 0) to (Ta - 1, Tb - 1).

    Raises:
        OptionError: as `alignment_distance` does.
    """
    total = _cumulative_cost(unit_features(a, "a", dims=2)[None], unit_features(b, "b", dims=2)[None])[..., 0]
    i, j = total.shape[0] - 1, total.shape[1] - 1
    path = [(i, j)]
    while i > 0 or j > 0:
        before = [cell for cell in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if min(cell) >= 0]
        i, j = min(before, key=lambda cell: total[cell])
        path.append((i, j))
    return np.array(path[::-1], dtype=np.int64)


def monotonic_viterbi(log_probs: ArrayLike, *, visit_every_step: bool = False) -> NDArray[np.int64]:
    """The likeliest assignment of frames to steps that never goes back, in log space.

    Args:
        log_probs: float (T, K), log probability (or any score that adds up) of step k at frame t; -inf forbids.
        visit_every_step: if True, the first frame has the first step, the last frame the last one, and no step between
            is left out; with fewer frames than steps that is impossible, and it counts as False. If False, the first
            frame may have any step, and steps may be jumped over.

    Returns:
        int64 (T,), non-decreasing, in [0, K). Where several assignments are equally likely, the one is given that, seen
        from the end, takes the earliest steps.

    Raises:
        OptionError: if there is no frame or step, a value is NaN or +inf, or no assignment is allowed.
    """
    scores = np.asarray(log_probs, dtype=np.float64)
    if scores.ndim != 2 or 0 in scores.shape:
        raise OptionError(f"log_probs of shape {scores.shape} must be (T, K), with at least one frame and one step")
    if np.isnan(scores).any() or (scores == np.inf).any():
        raise OptionError("log_probs hold NaN or +inf; give finite values, or -inf for what is forbidden")
    num_frames, num_steps = scores.shape
    tied = visit_every_step and num_frames >= num_steps
    best = scores.copy()
    if tied:
        best[0, 1:] = -np.inf
    for t in range(1, num_frames):
        previous = best[t - 1]
        if tied:
            best[t, 1:] += np.maximum(previous[1:], previous[:-1])
            best[t, 0] += previous[0]
        else:
            best[t] += np.maximum.accumulate(previous)
    step = num_steps - 1 if tied else int(np.argmax(best[-1]))
    if best[-1, step] == -np.inf:
        raise OptionError("log_probs forbid every assignment of frames to steps; allow at least one")
    path = np.empty(num_frames, dtype=np.int64)
    path[-1] = step
    for t in range(num_frames - 2, -1, -1):
        lowest = max(step - 1, 0) if tied else 0
        step = lowest + int(np.argmax(best[t, lowest : step + 1]))
        path[t] = step
    return path


def _check_shape(values: NDArray[np.float64], name: str, *, dims: int) -> None:
    if values.ndim != dims or not values.size:
        shape = {1: "(D,)", 2: "(T, D) or (P, D)", 3: "(P, T, D)"}[dims]
        raise OptionError(f"{name} of shape {values.shape} must be {shape} and not empty")


def unit_rows(features: ArrayLike) -> NDArray[np.float64]:
    """Features scaled to length 1 along the last axis, float64 of the same shape; one that is 0 stays 0."""
    values = np.asarray(features, dtype=np.float64)
    lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    unit: NDArray[np.float64] = values / np.where(lengths > 0, lengths, 1.0)
    return unit


def unit_features(features: ArrayLike, name: str, *, dims: int) -> NDArray[np.float64]:
    """Features scaled to length 1 along the last axis, none of them 0.

    Args:
        features: float, of `dims` dimensions.
        name: what they are, for errors.
        dims: 1, 2 or 3.

    Raises:
        OptionError: if the shape does not fit, or a feature is zero or not finite.
    """
    values = np.asarray(features, dtype=np.float64)
    _check_shape(values, name, dims=dims)
    if not np.isfinite(values).all():
        raise OptionError(f"{name} holds NaN or infinite values; the features of this video cannot be compared")
    # Dividing by the largest value first keeps the squares from overflowing or vanishing.
    largest = np.abs(values).max(axis=-1, keepdims=True)
    if not (largest > 0).all():
        raise OptionError(f"{name} holds a zero vector, which has no direction; it cannot be compared")
    scaled = values / largest
    unit: NDArray[np.float64] = scaled / np.linalg.norm(scaled, axis=-1, keepdims=True)
    return unit


def _cumulative_cost(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cheapest path's cost from (0, 0) to every cell, for unit features: (P, Ta, D), (P, Tb, D) -> (Ta, Tb, P).

    Cells of one anti-diagonal do not depend on one another, so a whole one is computed at once, for all pairs.
    """
    if first.shape[-1] != second.shape[-1]:
        raise OptionError(f"features of {first.shape[-1]} and {second.shape[-1]} dimensions cannot be compared")
    cost = np.clip(1.0 - first @ second.transpose(0, 2, 1), 0.0, 2.0).transpose(1, 2, 0).copy()
    frames_a, frames_b, num_pairs = cost.shape
    # A border of infinite cost stands before the first frames; the corner is where every path comes from.
    total = np.full((frames_a + 1, frames_b + 1, num_pairs), np.inf)
    total[0, 0] = 0.0
    for diagonal in range(frames_a + frames_b - 1):
        i = np.arange(max(0, diagonal - frames_b + 1), min(frames_a, diagonal + 1))
        j = diagonal - i
        before = np.minimum(total[i, j], np.minimum(total[i, j + 1], total[i + 1, j]))
        total[i + 1, j + 1] = cost[i, j] + before
    return total[1:, 1:]
