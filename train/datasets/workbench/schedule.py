"""When each step of a video happens."""

from __future__ import annotations

import dataclasses

import numpy as np

__all__ = ["FRAMES_PER_SECOND", "MAX_SECONDS", "MIN_SECONDS", "Schedule", "Segment", "draw_schedule"]

FRAMES_PER_SECOND = 10
MIN_SECONDS, MAX_SECONDS = 10.0, 20.0
_MIN_STEP, _MAX_STEP = 1.2, 3.5  # seconds


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One step of a video.

    Attributes:
        step: step type name.
        start, end: frames, [start, end).
    """

    step: str
    start: int
    end: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """The steps of a video with their frames.

    Attributes:
        num_frames: length of the video.
        segments: in time order, not overlapping.
    """

    num_frames: int
    segments: tuple[Segment, ...]


def _length_range(num_base_steps: int) -> tuple[float, float]:
    """Shortest and longest video of a task in seconds, such that all its procedures fit into both.

    It does not depend on the procedure, so a video's length says nothing about which one it shows.
    """
    shortest = max(MIN_SECONDS + 0.2, 1.4 * (num_base_steps + 1) + 0.8)
    longest = min(MAX_SECONDS - 0.2, 3.1 * (num_base_steps - 1) + 3.5)
    return shortest, longest


def draw_schedule(steps: tuple[str, ...], *, num_base_steps: int, rng: np.random.Generator) -> Schedule:
    """Draw length, durations and idle moments.

    Args:
        steps: step type names in order, one fewer to one more than `num_base_steps`.
        num_base_steps: K of the task's base procedure.
        rng: source of randomness.
    """
    shortest, longest = _length_range(num_base_steps)
    total = round(rng.uniform(shortest, longest) * FRAMES_PER_SECOND)
    low, high = round(_MIN_STEP * FRAMES_PER_SECOND), round(_MAX_STEP * FRAMES_PER_SECOND)
    idle = max(rng.uniform(0.06, 0.2) * total, 8.0)
    busy = float(np.clip(total - idle, len(steps) * (low + 1), len(steps) * (high - 2)))
    weights = rng.uniform(0.7, 1.35, len(steps))
    lengths = np.clip(np.rint(weights / weights.sum() * busy), low, high).astype(int)
    while lengths.sum() > total - 6:
        lengths[np.argmax(lengths)] -= 1
    shares = rng.dirichlet(np.full(len(steps) + 1, 0.7))
    gaps = 3 + np.floor(shares * (total - 6 - lengths.sum())).astype(int)
    gaps[1:-1] -= 3
    segments: list[Segment] = []
    at = int(gaps[0])
    for step, length, gap in zip(steps, lengths, gaps[1:], strict=True):
        segments.append(Segment(step=step, start=at, end=at + int(length)))
        at += int(length + gap)
    return Schedule(num_frames=total, segments=tuple(segments))
