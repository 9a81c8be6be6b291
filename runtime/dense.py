"""Frame features several times a second, of videos of any length.

The temporal encoder looks at T frames that are spread over a whole video of training, and has learned a position for
each. So a video about as long is sampled P times as a whole, each time T frames with a different phase, and the
features of the phases stand side by side in the order of time. A longer video is cut into windows that overlap by half;
where two overlap, their features are averaged, each weighted by how far from its window's ends it lies.

Letters: T frames a sampling, P phases, W windows, G sampled frames in all, F and D dimensions.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .alignment import unit_rows
from .embedder import CHUNK, Embedder
from .errors import BundleError, OptionError, TooFewFramesError, VideoError
from .preprocess import normalize, read_frames
from .video import Video, open_video

__all__ = ["DensePlan", "DenseVideo", "dense_plan"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DensePlan:
    """Which frames are looked at, and in which windows.

    Attributes:
        indices: int64 (G,), strictly ascending, evenly spread over the frames of the part.
        num_frames: T.
        phases: P; a window holds T * P neighbouring entries of `indices`.
        windows: int64 (W, 2), first entry of each window and the one past its last; each overlaps the next by half.
    """

    indices: NDArray[np.int64]
    num_frames: int
    phases: int
    windows: NDArray[np.int64]


def dense_plan(
    num_video_frames: int,
    seconds: float,
    *,
    num_frames: int,
    phases: int,
    window_seconds: float,
    whole_seconds: float,
) -> DensePlan:
    """Plan the dense sampling of a video or of a part of one.

    With fewer frames in a window than T * P there are fewer phases; a window is never shorter than T frames.

    Args:
        num_video_frames: displayed frames of the part.
        seconds: how long it is displayed.
        num_frames: T.
        phases: P at most.
        window_seconds: length of a window, about.
        whole_seconds: a part of at most this length is one window.

    Raises:
        TooFewFramesError: if there are fewer than T frames.
        OptionError: if an option cannot be meant.
    """
    if phases < 1:
        raise OptionError(f"{phases = } must be at least 1")
    if not (math.isfinite(window_seconds) and window_seconds > 0 and whole_seconds >= 0):
        raise OptionError(f"{window_seconds = } and {whole_seconds = } must be finite numbers above 0")
    if num_video_frames < num_frames:
        raise TooFewFramesError(num_video_frames, num_frames)
    whole = seconds <= max(window_seconds, whole_seconds)
    frames_a_window = float(num_video_frames) if whole else window_seconds * num_video_frames / seconds
    used = max(1, min(phases, int(frames_a_window) // num_frames))
    length = num_frames * used
    hop = max(1, length // 2)
    spacing = max(1.0, frames_a_window / length)
    more = 0 if whole else max(0, round((num_video_frames / spacing - length) / hop))
    while more and length + hop * more > num_video_frames:
        more -= 1
    total = length + hop * more
    starts = hop * np.arange(more + 1, dtype=np.int64)
    return DensePlan(
        indices=(2 * np.arange(total, dtype=np.int64) + 1) * num_video_frames // (2 * total),
        num_frames=num_frames,
        phases=used,
        windows=np.stack([starts, starts + length], axis=1),
    )


class DenseVideo:
    """An open video whose dense frame features are computed window by window. A context manager.

    Args:
        path: a video file, or a folder of frames.
        embedder: runs the networks.
        start, end: seconds; the part that is displayed in [start, end). None is the beginning or the end.
        phases, window_seconds, whole_seconds: as in `dense_plan`.

    Attributes:
        path: as it was given.
        plan: which frames; `indices` number the frames of the whole video.
        times_seconds: float64 (G,), when the sampled frames are displayed, after the first frame of the whole video.
        edges_seconds: float64 (G + 1,): sampled frame g stands for the time from edge g to edge g + 1; edges lie in
            the middle between frames, the first and the last one where the part begins and ends.
        duration_seconds: of the whole video.

    Raises:
        OptionError: if an option cannot be meant.
        VideoError: if the video cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        embedder: Embedder,
        *,
        start: float | None = None,
        end: float | None = None,
        phases: int,
        window_seconds: float,
        whole_seconds: float,
    ) -> None:
        first, last = 0.0 if start is None else float(start), math.inf if end is None else float(end)
        if not (0 <= first < last and math.isfinite(first)):
            raise OptionError(f"{start = } and {end = } must be seconds with 0 <= start < end")
        self.path = os.fsdecode(path)
        self._embedder = embedder
        self._video: Video = open_video(path, num_threads=embedder.decode_threads)
        try:
            self._choose(
                first, last, {"phases": phases, "window_seconds": window_seconds, "whole_seconds": whole_seconds}
            )
        except BaseException:
            self._video.close()
            raise

    def _choose(self, start: float, end: float, options: dict[str, Any]) -> None:
        video = self._video
        times = video.times(np.arange(video.num_frames, dtype=np.int64))
        low, high = (int(place) for place in np.searchsorted(times, (start, end), side="left"))
        stop = float(times[high]) if high < len(times) else video.duration_seconds
        begin = float(times[low]) if low < len(times) else stop
        try:
            plan = dense_plan(high - low, stop - begin, num_frames=self._embedder.sampling.num_frames, **options)
        except TooFewFramesError as error:
            to = "" if end == math.inf else f" to {end:g} s"
            part = f" from {start:g} s{to}" if start > 0 or to else ""
            raise TooFewFramesError(error.num_frames, error.needed, self.path + part) from None
        self.plan = dataclasses.replace(plan, indices=plan.indices + low)
        self.times_seconds: NDArray[np.float64] = times[self.plan.indices]
        between = (self.times_seconds[1:] + self.times_seconds[:-1]) / 2
        self.edges_seconds: NDArray[np.float64] = np.concatenate([[begin], between, [max(stop, begin)]])
        self.duration_seconds = video.duration_seconds

    @property
    def windows_seconds(self) -> NDArray[np.float64]:
        """float64 (W, 2): from when to when each window is."""
        return self.edges_seconds[self.plan.windows]

    @property
    def notes(self) -> tuple[str, ...]:
        """What is wrong with the video, as far as it was read."""
        return tuple(self._video.damaged)

    def features(self) -> Iterator[NDArray[np.float32]]:
        """Features of the G sampled frames in the order of time, a few at a time.

        Every frame is decoded once and goes through the vision network once. What is in memory does not depend on the
        length of the video.

        Yields:
            float32 (at most T * P, D), rows of length 1.

        Raises:
            VideoError: if a frame cannot be decoded, or the network sees nothing in it.
            BundleError: if a network computes something that is no number.
        """
        plan = self.plan
        length = plan.num_frames * plan.phases
        place = np.arange(length) + 0.5
        weights = np.minimum(place, length - place)[:, None]
        seen = self._vision(plan.indices[:length])
        summed: NDArray[np.float64] | None = None
        for number, (start, stop) in enumerate(plan.windows.tolist()):
            if number:
                hop = start - int(plan.windows[number - 1, 0])
                seen = np.concatenate([seen[hop:], self._vision(plan.indices[stop - hop : stop])])
            weighted = weights * self._temporal(seen)
            if summed is not None:
                weighted[: len(summed)] += summed
            done = length if number + 1 == len(plan.windows) else int(plan.windows[number + 1, 0]) - start
            yield unit_rows(weighted[:done]).astype(np.float32)
            summed = weighted[done:]

    def _vision(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """(N,) -> float32 (N, F)."""
        frames = read_frames(self._video, indices, self._embedder.preprocess)
        rows = range(0, len(frames), CHUNK)
        parts = [self._run("vision", frames=normalize(frames[i : i + CHUNK], self._embedder.preprocess)) for i in rows]
        return np.concatenate(parts)

    def _temporal(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """float32 (T * P, F) -> float64 (T * P, D), rows of length 1."""
        T, P = self.plan.num_frames, self.plan.phases
        # One phase after another, so that what a network makes of one never depends on what stands beside it.
        clips = np.ascontiguousarray(features.reshape(T, P, -1).transpose(1, 0, 2))
        rows = np.stack([self._run("temporal", features=clip[None])[0] for clip in clips], axis=1)
        values = rows.reshape(T * P, -1).astype(np.float64)
        if not values.any(axis=1).all():
            raise VideoError(f"{self.path}: the network sees nothing in it (all features are 0); use another video")
        return unit_rows(values)

    def _run(self, role: str, **inputs: NDArray[Any]) -> NDArray[Any]:
        backend = self._embedder.backend
        output = backend.run(role, inputs)["frame_features" if role == "temporal" else "features"]
        if not np.isfinite(output).all():
            where = f"{backend.precision} on {backend.device}"
            raise BundleError(f"{self.path}: the {role} network ({where}) computed values that are no numbers")
        return output

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._video.close()
