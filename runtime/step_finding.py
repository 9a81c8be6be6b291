"""From the likeness of frames and steps to the steps that a video shows: in order, out of order, again, or not at all.

Letters: G sampled frames, K steps of the script, U distinct texts among them.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import OptionError
from .step_decoder import Segment, segments_in_any_order, segments_in_order

__all__ = ["Findings", "TimelineSettings", "find_steps", "gaps"]

# Logistic curves from evidence to confidence, fitted on the validation videos of the workbench with the default bundle.
_PRESENCE_SLOPE, _PRESENCE_OFFSET = 9.13, -0.81
_ABSENCE_SLOPE, _ABSENCE_OFFSET = -13.19, 4.13
_EVIDENCE_QUANTILE = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TimelineSettings:
    """How steps are found. The defaults were chosen on the validation videos of the workbench.

    A frame that is displayed for s seconds counts s * (cosine - max(background, best cosine - rival_margin)) for a
    step, where the best cosine is that of the text that is most like the frame.

    Attributes:
        whole_seconds: up to this length a video is seen as a whole; about the longest videos of training.
        window_seconds: how much of a longer one the temporal encoder sees at a time.
        phases: how many times a window is sampled.
        background: cosine up to which a frame shows no step.
        rival_margin: how far a step may be behind another one at a frame that still counts for it.
        segment_cost: what a segment must count to be one, in cosine times seconds.
        missing_cost: what a step counts against a segmentation that leaves it out.
        min_step_seconds: a segment is at least this long.
        max_unexplained_seconds: the verdict is FAIL if a longer stretch shows no step; None allows any.

    Raises:
        OptionError: if a value cannot be meant.
    """

    whole_seconds: float = 20.0
    window_seconds: float = 7.5
    phases: int = 4
    background: float = 0.1
    rival_margin: float = 0.2
    segment_cost: float = 0.05
    missing_cost: float = 0.0
    min_step_seconds: float = 0.5
    max_unexplained_seconds: float | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            lowest = -1.0 if field.name == "background" else 0.0
            if not (math.isfinite(value) and value >= lowest):
                raise OptionError(f"{field.name} = {value} must be a finite number of at least {lowest:g}")
        if self.window_seconds == 0 or self.phases < 1:
            raise OptionError(f"{self.window_seconds = } and {self.phases = } must be above 0")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """Where steps were found, in sampled frames.

    Attributes:
        in_order: at most one segment a step, in the script's order; `step` is the number in the script.
        displaced: segments of steps that have none in order, where the script does not expect them.
        repeats: further segments of steps that have one.
        confidence: of each step, float64 (K,): the chance that it happens where it was found; of a step that was not
            found, how little anything else in the video is like it; no chance to rely on.
        repeat_confidence: the same of `repeats`, float64.
    """

    in_order: tuple[Segment, ...]
    displaced: tuple[Segment, ...]
    repeats: tuple[Segment, ...]
    confidence: NDArray[np.float64]
    repeat_confidence: NDArray[np.float64]

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All of them in the order of time; no two overlap."""
        return tuple(sorted((*self.in_order, *self.displaced, *self.repeats)))


def find_steps(
    cosines: NDArray[np.float64],
    columns: NDArray[np.int64],
    edges: NDArray[np.float64],
    settings: TimelineSettings,
) -> Findings:
    """Find the steps of a script.

    First the best segmentation in the script's order. Then what it leaves unexplained is segmented without regard to
    order: a segment there is a step out of order, if that step was not found in order, or else one that is repeated.

    Args:
        cosines: float64 (G, U), of frame features and distinct texts.
        columns: int64 (K,), the text of each step; every text is that of a step.
        edges: float64 (G + 1,), ascending seconds: frame g stands for the time from edge g to edge g + 1.
        settings: of the method.

    Raises:
        OptionError: if there is no frame or step, or a value is not finite.
    """
    durations = np.diff(edges)
    rivals = np.maximum(settings.background, cosines.max(axis=1, keepdims=True) - settings.rival_margin)
    min_frames = max(1, round(settings.min_step_seconds / max(float(durations.mean()), 1e-9)))
    in_order = segments_in_order(
        ((cosines - rivals) * durations[:, None])[:, columns],
        min_frames=min_frames,
        segment_cost=settings.segment_cost,
        missing_cost=settings.missing_cost,
    )
    gain = (cosines - settings.background) * durations[:, None]
    others = [
        Segment(start + found.start, start + found.stop, found.step)
        for start, stop in gaps(in_order, len(gain))
        if stop - start >= min_frames
        for found in segments_in_any_order(gain[start:stop], min_frames=min_frames, segment_cost=settings.segment_cost)
    ]
    displaced, repeats = _sort_out(others, in_order, columns, gain)

    def chance(segment: Segment) -> float:
        evidence = float(_evidence(cosines[segment.start : segment.stop, columns[segment.step]]))
        return _logistic(_PRESENCE_SLOPE * evidence + _PRESENCE_OFFSET)

    taken = sorted((*in_order, *displaced, *repeats))
    confidence = np.empty(len(columns))
    for step in set(range(len(columns))) - {segment.step for segment in taken}:
        same = [segment for segment in taken if columns[segment.step] == columns[step]]
        confidence[step] = _absence(cosines[:, columns[step]], gaps(same, len(cosines)), min_frames)
    for segment in (*in_order, *displaced):
        confidence[segment.step] = chance(segment)
    return Findings(
        in_order=in_order,
        displaced=displaced,
        repeats=repeats,
        confidence=confidence,
        repeat_confidence=np.array([chance(segment) for segment in repeats]),
    )


def gaps(segments: tuple[Segment, ...] | list[Segment], num_frames: int) -> list[tuple[int, int]]:
    """The stretches of frames that no segment holds; `segments` in the order of time."""
    ends = [0, *(segment.stop for segment in segments)]
    starts = [*(segment.start for segment in segments), num_frames]
    return [(end, start) for end, start in zip(ends, starts, strict=True) if end < start]


def _sort_out(
    others: list[Segment], in_order: tuple[Segment, ...], columns: NDArray[np.int64], gain: NDArray[np.float64]
) -> tuple[tuple[Segment, ...], tuple[Segment, ...]]:
    """Segments of texts as those of steps: out of order, and repeats. The strongest of a text comes first."""
    found = {segment.step for segment in in_order}
    displaced, repeats = [], []
    for other in sorted(others, key=lambda one: -float(gain[one.start : one.stop, one.step].sum())):
        steps = [int(step) for step in np.flatnonzero(columns == other.step)]
        absent = [step for step in steps if step not in found]
        if absent:
            found.add(absent[0])
            displaced.append(Segment(other.start, other.stop, absent[0]))
        else:
            repeats.append(Segment(other.start, other.stop, steps[-1]))
    return tuple(sorted(displaced)), tuple(sorted(repeats))


def _evidence(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cosine that four fifths of the frames reach: float64 (..., N) of N frames -> (...)."""
    return np.asarray(np.quantile(cosines, _EVIDENCE_QUANTILE, axis=-1))


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))


def _absence(cosines: NDArray[np.float64], stretches: list[tuple[int, int]], min_frames: int) -> float:
    """The confidence that no part of the `stretches` shows a step: by the part of `min_frames` that is most like it."""
    parts = [cosines[start:stop] for start, stop in stretches]
    windows = (np.lib.stride_tricks.sliding_window_view(part, min(min_frames, len(part))) for part in parts)
    best = max((float(_evidence(window).max()) for window in windows), default=-1.0)
    return _logistic(_ABSENCE_SLOPE * best + _ABSENCE_OFFSET)
