"""When does a video show each step of a script, and does it follow the script?"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from .alignment import unit_rows
from .clock import clock_span
from .dense import DenseVideo
from .embedder import Embedder
from .errors import BundleError
from .script import Script, ScriptStep, read_script
from .step_decoder import Segment
from .step_finding import Findings, TimelineSettings, find_steps, gaps

__all__ = ["STEP_STATUSES", "FoundStep", "Repeat", "StepStatus", "Stretch", "Timeline", "find_timeline"]

SCHEMA: Final = "weaksvr.timeline/1"
BACKGROUND: Final = -1

StepStatus = Literal["found", "missing", "out of order", "repeated", "too short", "too long"]
STEP_STATUSES: tuple[StepStatus, ...] = ("found", "missing", "out of order", "repeated", "too short", "too long")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FoundStep:
    """A step of the script, and what the video shows of it.

    Attributes:
        text: what is done.
        status: `found`; `missing`; `out of order`: it happens, but not where the script has it; `repeated`: it happens
            again elsewhere; `too short` or `too long`: it takes less or more time than the script allows. Where several
            hold, the one that stands here is the first of: missing, out of order, repeated, too short, too long.
        start, end: seconds; None if it is missing.
        confidence: in [0, 1], the chance that the step happens there; of a missing step, how little
            anything else in the video is like it, which is no chance to rely on.
        min_seconds, max_seconds: what the script allows; None is no bound.
    """

    text: str
    status: StepStatus
    start: float | None
    end: float | None
    confidence: float
    min_seconds: float | None = None
    max_seconds: float | None = None

    @property
    def seconds(self) -> float | None:
        """How long it takes, None if it is missing."""
        return None if self.start is None or self.end is None else self.end - self.start


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Repeat:
    """A step that happens again.

    Attributes:
        step: its number in the script, from 0 on.
        text: what is done.
        start, end: seconds, of this further time.
        confidence: in [0, 1], the chance that it happens there.
    """

    step: int
    text: str
    start: float
    end: float
    confidence: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A part of the video.

    Attributes:
        start, end: seconds.
    """

    start: float
    end: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Timeline:
    """When a video shows the steps of a script. All times are seconds after the first frame of the whole video.

    Attributes:
        passed: the verdict: every step is `found`, and nothing is unexplained for longer than was allowed.
        reasons: why not, one line each; empty if it passed.
        steps: K, in the order of the script.
        repeats: what happens again, in the order of time.
        unexplained: stretches that show no step, at least as long as a step must be.
        video, script: paths; the script's is empty if it did not come from a file.
        start, end: the part of the video that was looked at.
        duration_seconds: of the whole video.
        windows: the parts that the temporal encoder saw as one.
        times_seconds: float64 (G,), when the sampled frames are displayed.
        assignment: int64 (G,), the number of the step that each shows, from 0 on; -1 is none.
        settings: of the method.
        device, provider, precision: what the networks ran on, as in effect.
        bundle: name of the model.
        notes: what a user should know.
    """

    passed: bool
    reasons: tuple[str, ...]
    steps: tuple[FoundStep, ...]
    repeats: tuple[Repeat, ...]
    unexplained: tuple[Stretch, ...]
    video: str
    script: str
    start: float
    end: float
    duration_seconds: float
    windows: tuple[Stretch, ...]
    times_seconds: NDArray[np.float64]
    assignment: NDArray[np.int64]
    settings: TimelineSettings
    device: str
    provider: str
    precision: str
    bundle: str
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Literal["PASS", "FAIL"]:
        return "PASS" if self.passed else "FAIL"

    @property
    def interval_seconds(self) -> float:
        """From one sampled frame to the next, on average."""
        return (self.end - self.start) / len(self.times_seconds)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in ("steps", "repeats", "unexplained", "windows"):
            plain[name] = [dataclasses.asdict(part) for part in plain[name]]
        for name in ("reasons", "notes"):
            plain[name] = list(plain[name])
        plain["times_seconds"] = self.times_seconds.tolist()
        plain["assignment"] = self.assignment.tolist()
        plain["settings"] = self.settings.to_dict()
        plain["interval_seconds"] = self.interval_seconds
        return {"schema": SCHEMA, "verdict": self.verdict, **plain}


def find_timeline(
    script: Script | Sequence[str] | str | os.PathLike[str],
    video: str | os.PathLike[str],
    embedder: Embedder,
    *,
    bundle: str,
    notes: Sequence[str] = (),
    start: float | None = None,
    end: float | None = None,
    settings: TimelineSettings | None = None,
) -> Timeline:
    """Find the steps of a script in a video.

    Args:
        script: a script, the texts of its K steps, or the path of a script file.
        video: a video file, or a folder of frames.
        embedder: runs the networks.
        bundle, notes: name of the model, and what a user should know of it.
        start, end: seconds; the part that is displayed in [start, end) is looked at. None is the beginning or the end.
        settings: of the method; None takes the defaults.

    Raises:
        DataError: if the script file cannot be read.
        OptionError: if an option cannot be meant.
        VideoError: if the video cannot be used.
        BundleError: if there is no text network, or a network fails.
    """
    chosen = TimelineSettings() if settings is None else settings
    steps = _script(script)
    distinct = list(dict.fromkeys(steps.texts))
    spread = {name: getattr(chosen, name) for name in ("phases", "window_seconds", "whole_seconds")}
    with DenseVideo(video, embedder, start=start, end=end, **spread) as dense:
        cosines, edges = _cosines(dense, embedder, distinct), dense.edges_seconds
        found = find_steps(cosines, np.array([distinct.index(text) for text in steps.texts]), edges, chosen)
        shown = _steps(steps, found, edges)
        unexplained = _unexplained(found, edges, chosen)
        reasons = _reasons(shown, found, edges, unexplained, chosen)
        return Timeline(
            passed=not reasons,
            reasons=reasons,
            steps=shown,
            repeats=_repeats(steps, found, edges),
            unexplained=unexplained,
            video=dense.path,
            script=steps.path,
            start=float(edges[0]),
            end=float(edges[-1]),
            duration_seconds=dense.duration_seconds,
            windows=tuple(Stretch(start=a, end=b) for a, b in dense.windows_seconds.tolist()),
            times_seconds=dense.times_seconds,
            assignment=_assignment(found, len(cosines)),
            settings=chosen,
            device=embedder.backend.device,
            provider=embedder.backend.provider,
            precision=embedder.backend.precision,
            bundle=bundle,
            notes=tuple(dict.fromkeys([*notes, *dense.notes, *_sampling_notes(steps, edges, chosen)])),
        )


def _script(script: Script | Sequence[str] | str | os.PathLike[str]) -> Script:
    if isinstance(script, Script):
        return script
    if isinstance(script, (str, os.PathLike)):
        return read_script(script)
    return Script.of(script)


def _cosines(dense: DenseVideo, embedder: Embedder, texts: Sequence[str]) -> NDArray[np.float64]:
    """How like every sampled frame is to each of U texts, float64 (G, U); nothing larger than that is kept."""
    unit = _unit_texts(embedder, texts)
    return np.concatenate([rows.astype(np.float64) @ unit.T for rows in dense.features()])


def _unit_texts(embedder: Embedder, texts: Sequence[str]) -> NDArray[np.float64]:
    """float64 (U, D), rows of length 1. Raises `BundleError` if a text has no direction."""
    features = embedder.embed_text(texts).sentence_features.astype(np.float64)
    for text, feature in zip(texts, features, strict=True):
        if not feature.any():
            raise BundleError(f"step {text!r}: the text network makes nothing of it (all features are 0); reword it")
    return unit_rows(features)


def _steps(script: Script, found: Findings, edges: NDArray[np.float64]) -> tuple[FoundStep, ...]:
    placed = {segment.step: segment for segment in (*found.in_order, *found.displaced)}
    displaced = {segment.step for segment in found.displaced}
    repeated = {segment.step for segment in found.repeats}
    steps = []
    for number, step in enumerate(script.steps):
        start, end = _span(placed[number], edges) if number in placed else (None, None)
        status: StepStatus
        if start is None or end is None:
            status = "missing"
        elif number in displaced:
            status = "out of order"
        elif number in repeated:
            status = "repeated"
        else:
            status = _duration_status(step, end - start)
        steps.append(
            FoundStep(
                text=step.text,
                status=status,
                start=start,
                end=end,
                confidence=float(found.confidence[number]),
                min_seconds=step.min_seconds,
                max_seconds=step.max_seconds,
            )
        )
    return tuple(steps)


def _duration_status(step: ScriptStep, seconds: float) -> StepStatus:
    if step.min_seconds is not None and seconds < step.min_seconds:
        return "too short"
    if step.max_seconds is not None and seconds > step.max_seconds:
        return "too long"
    return "found"


def _repeats(script: Script, found: Findings, edges: NDArray[np.float64]) -> tuple[Repeat, ...]:
    repeats = []
    for segment, confidence in zip(found.repeats, found.repeat_confidence.tolist(), strict=True):
        start, end = _span(segment, edges)
        text = script.steps[segment.step].text
        repeats.append(Repeat(step=segment.step, text=text, start=start, end=end, confidence=confidence))
    return tuple(repeats)


def _unexplained(found: Findings, edges: NDArray[np.float64], settings: TimelineSettings) -> tuple[Stretch, ...]:
    spans = [(float(edges[start]), float(edges[stop])) for start, stop in gaps(found.segments, len(edges) - 1)]
    return tuple(Stretch(start=a, end=b) for a, b in spans if b - a >= settings.min_step_seconds)


def _reasons(
    steps: Sequence[FoundStep],
    found: Findings,
    edges: NDArray[np.float64],
    unexplained: Sequence[Stretch],
    settings: TimelineSettings,
) -> tuple[str, ...]:
    """Why the verdict is FAIL, one line each."""
    reasons = []
    for number, step in enumerate(steps):
        name = f"step {number + 1} ({step.text})"
        if step.start is None or step.end is None or step.seconds is None:
            reasons.append(f"{name} is missing")
        elif step.status == "out of order":
            reasons.append(f"{name} is out of order, at {clock_span(step.start, step.end)}")
        elif step.status == "repeated":
            again = [_span(segment, edges) for segment in found.repeats if segment.step == number]
            reasons.append(f"{name} is repeated, at {', '.join(clock_span(*span) for span in again)}")
        elif step.status == "too short":
            reasons.append(f"{name} takes {step.seconds:.1f} s, less than {step.min_seconds:g} s")
        elif step.status == "too long":
            reasons.append(f"{name} takes {step.seconds:.1f} s, more than {step.max_seconds:g} s")
    limit = settings.max_unexplained_seconds
    idle = [part for part in unexplained if limit is not None and part.end - part.start > limit]
    reasons += [f"nothing of the script happens at {clock_span(part.start, part.end)}" for part in idle]
    return tuple(reasons)


def _sampling_notes(script: Script, edges: NDArray[np.float64], settings: TimelineSettings) -> list[str]:
    """Warnings about steps that this sampling cannot show."""
    seconds = float(edges[-1] - edges[0])
    interval = seconds / (len(edges) - 1)
    shortest = max(interval, settings.min_step_seconds)
    never = f"a step shorter than {shortest:.2g} s is not found (a frame is looked at every {interval:.2g} s)"
    notes = [
        f"step {number} ({step.text}) may take at most {step.max_seconds:g} s, but {never}"
        for number, step in enumerate(script.steps, start=1)
        if step.max_seconds is not None and step.max_seconds < shortest
    ]
    if len(script.steps) * shortest > seconds:
        notes.append(f"the script has {len(script.steps)} steps, more than {seconds:.1f} s of video can show: {never}")
    return notes


def _assignment(found: Findings, num_frames: int) -> NDArray[np.int64]:
    assignment = np.full(num_frames, BACKGROUND, dtype=np.int64)
    for segment in found.segments:
        assignment[segment.start : segment.stop] = segment.step
    return assignment


def _span(segment: Segment, edges: NDArray[np.float64]) -> tuple[float, float]:
    return float(edges[segment.start]), float(edges[segment.stop])
