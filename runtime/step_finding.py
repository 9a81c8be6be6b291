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

# Logistic curve from evidence to confidence, fitted on the validation videos of the workbench with the default bundle.
_SLOPE, _OFFSET = 9.13, -0.81
_EVIDENCE_QUANTILE = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TimelineSettings:
    """How steps are found. The defaults were chosen on the validation videos of the workbench.

    A frame that is displayed for s seconds counts s * (cosine - max(background, best cosine - rival_margin)) for a
    step, where the best cosine is that of the text that is most like the frame.

    Attributes:
        window_seconds: how much of a video the temporal encoder sees at a time; about as long as a video of training.
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

    window_seconds: float = 12.0
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
            found, that it does not happen.
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
        columns: int64 (K,), the text of each step.
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
        return float(_chance(cosines[segment.start : segment.stop, columns[segment.step]]))

    taken = sorted((*in_order, *displaced, *repeats))
    absent = set(range(len(columns))) - {segment.step for segment in taken}
    confidence = np.ones(len(columns))
    for step in absent:
        confidence[step] = _absence(cosines[:, columns[step]], taken, min_frames)
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


def _chance(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """The confidence that frames show a step: the logistic curve at the cosine that four fifths of them reach.

    Args:
        cosines: float64 (..., N), of N frames.

    Returns:
        float64 (...).
    """
    evidence = np.quantile(cosines, _EVIDENCE_QUANTILE, axis=-1)
    return np.asarray(1.0 / (1.0 + np.exp(-(_SLOPE * evidence + _OFFSET))))


def _absence(cosines: NDArray[np.float64], taken: list[Segment], min_frames: int) -> float:
    """The confidence that a step does not happen: 1 - that of the likeliest short stretch that shows no other step."""
    stretches = [cosines[start:stop] for start, stop in gaps(taken, len(cosines)) if stop - start >= min_frames]
    windows = (np.lib.stride_tricks.sliding_window_view(stretch, min_frames) for stretch in stretches)
    return 1.0 - max((float(_chance(window).max()) for window in windows), default=0.0)
