"""Which frames show which step: segments that follow a script's order, and those that do not. Pure numbers.

Letters: T frames, K steps. `gain[t, k]` is what frame t counts for step k, above 0 if it shows the step rather than
anything else; a frame that belongs to no step counts 0. Gains are added up, so they must be weighted by the time that
a frame stands for. Everything is computed in float64.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import OptionError

__all__ = ["Segment", "segments_in_any_order", "segments_in_order"]


@dataclasses.dataclass(frozen=True, order=True, slots=True)
class Segment:
    """Frames `start` to `stop` - 1 show step `step`."""

    start: int
    stop: int
    step: int


def segments_in_order(
    gain: ArrayLike, *, min_frames: int = 1, segment_cost: float = 0.0, missing_cost: float = 0.0
) -> tuple[Segment, ...]:
    """The best segmentation in which a step has one segment or none, and the segments follow the order of the steps.

    Maximises the gains of the frames in segments, less `segment_cost` a segment, less `missing_cost` a step without
    one. Between segments, before and after them may be frames of no step (background). This is the monotonic Viterbi
    path through background, step 1, background, ..., step K, background with durations of at least `min_frames`.

    Args:
        gain: float (T, K).
        min_frames: of a segment, at least 1.
        segment_cost: what a segment costs.
        missing_cost: what a step without a segment costs.

    Returns:
        At most K segments, in order. Of equally good segmentations one is given, always the same.

    Raises:
        OptionError: if there is no frame or step, a gain is not finite, or an option cannot be meant.
    """
    gains = _checked(gain, min_frames, segment_cost, missing_cost)
    num_frames, num_steps = gains.shape
    # total[k, t]: the best that the first t frames and the first k steps give together.
    total = np.zeros((num_steps + 1, num_frames + 1))
    for k in range(num_steps):
        sums = _running_sums(gains[:, k])
        reached = total[k] - missing_cost
        if num_frames >= min_frames:
            opened = np.maximum.accumulate(total[k] - sums)[: num_frames + 1 - min_frames]
            closed = sums[min_frames:] + opened - segment_cost
            reached[min_frames:] = np.maximum(reached[min_frames:], np.maximum.accumulate(closed))
        total[k + 1] = reached
    segments = []
    end = num_frames
    for k in range(num_steps - 1, -1, -1):
        if total[k + 1, end] <= total[k, end] - missing_cost:
            continue
        # The earliest end that reaches this total, and the latest start that leads there.
        sums = _running_sums(gains[:, k])
        opened = np.maximum.accumulate(total[k] - sums)[: num_frames + 1 - min_frames]
        closed = sums[min_frames:] + opened - segment_cost
        stop = min_frames + int(np.argmax(closed[: end - min_frames + 1]))
        starts = (total[k] - sums)[: stop - min_frames + 1]
        start = len(starts) - 1 - int(np.argmax(starts[::-1]))
        segments.append(Segment(start, stop, k))
        end = start
    return tuple(segments[::-1])


def segments_in_any_order(gain: ArrayLike, *, min_frames: int = 1, segment_cost: float = 0.0) -> tuple[Segment, ...]:
    """The best segmentation in which a step may have any number of segments, in any order.

    Maximises the gains of the frames in segments, less `segment_cost` a segment.

    Args:
        gain: float (T, K).
        min_frames: of a segment, at least 1.
        segment_cost: what a segment costs.

    Returns:
        The segments in the order of time. Of equally good segmentations one is given, always the same.

    Raises:
        OptionError: as `segments_in_order` does.
    """
    gains = _checked(gain, min_frames, segment_cost)
    num_frames, num_steps = gains.shape
    sums = np.vstack([np.zeros(num_steps), np.cumsum(gains, axis=0)])
    total = np.zeros(num_frames + 1)
    opened = np.full(num_steps, -np.inf)
    opened_at = np.zeros(num_steps, np.int64)
    chosen = np.full((num_frames + 1, 2), -1)  # start and step of the segment that ends at t, if one does
    for stop in range(min_frames, num_frames + 1):
        start = stop - min_frames
        value = total[start] - sums[start]
        opened_at = np.where(value > opened, start, opened_at)
        opened = np.maximum(value, opened)
        closed = sums[stop] + opened - segment_cost
        k = int(np.argmax(closed))
        total[stop] = total[stop - 1]
        if closed[k] > total[stop]:
            total[stop] = closed[k]
            chosen[stop] = opened_at[k], k
    segments = []
    end = num_frames
    while end > 0:
        start, k = chosen[end].tolist()
        if k < 0:
            end -= 1
            continue
        segments.append(Segment(start, end, k))
        end = start
    return tuple(segments[::-1])


def _running_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T,) -> (T + 1,): the sum of the first t values."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _checked(gain: ArrayLike, min_frames: int, *costs: float) -> NDArray[np.float64]:
    gains = np.asarray(gain, dtype=np.float64)
    if gains.ndim != 2 or 0 in gains.shape:
        raise OptionError(f"gain of shape {gains.shape} must be (T, K), with at least one frame and one step")
    if not np.isfinite(gains).all():
        raise OptionError("gain holds NaN or infinite values; give finite ones")
    if min_frames < 1:
        raise OptionError(f"{min_frames = } must be at least 1")
    if not all(np.isfinite(cost) and cost >= 0 for cost in costs):
        raise OptionError(f"costs {costs} must be finite numbers of at least 0")
    return gains
