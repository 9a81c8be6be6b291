"""From the number of frames of a video to the indices of the frames that are looked at. Integers only.

N displayed frames, T equal segments: segment j holds the frames floor(j N / T) to floor((j + 1) N / T) - 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .errors import TooFewFramesError
from .spec import SamplingSpec

__all__ = ["Choose", "frame_indices", "segment_indices", "segments", "three_view_indices", "uniform_indices"]

Choose = Callable[[NDArray[np.int64]], NDArray[np.int64]]
"""Segments, int64 (T, 2) of first frames and ends (exclusive), to one frame of each, int64 (T,)."""


def uniform_indices(num_video_frames: int, num_frames: int) -> NDArray[np.int64]:
    """The middle frame of each of T equal segments: floor((2j + 1) N / 2T).

    Args:
        num_video_frames: N, displayed frames of the video.
        num_frames: T, frames to take.

    Returns:
        int64 (T,), strictly ascending, in [0, N).

    Raises:
        TooFewFramesError: if N < T.
    """
    if num_video_frames < num_frames:
        raise TooFewFramesError(num_video_frames, num_frames)
    j = np.arange(num_frames, dtype=np.int64)
    return (2 * j + 1) * num_video_frames // (2 * num_frames)


def three_view_indices(num_video_frames: int, num_frames: int) -> NDArray[np.int64]:
    """The published test protocol: frames at 1/4, 2/4 and 3/4 of every segment, as three views.

    Segment borders are g_j = floor(j (N - 2) / T); view i takes g_j + floor((g_{j+1} - g_j) / 4) (i + 1), i = 0, 1, 2.
    Where segments are shorter than four frames the views coincide, as in the published protocol.

    Args:
        num_video_frames: N, displayed frames of the video.
        num_frames: T, frames a view.

    Returns:
        int64 (3, T), each row strictly ascending, in [0, N).

    Raises:
        TooFewFramesError: if N < T + 2, where segments would be empty.
    """
    if num_video_frames < num_frames + 2:
        raise TooFewFramesError(num_video_frames, num_frames + 2)
    borders = np.arange(num_frames + 1, dtype=np.int64) * (num_video_frames - 2) // num_frames
    quarter = (borders[1:] - borders[:-1]) // 4
    views = np.arange(1, 4, dtype=np.int64)
    return borders[None, :-1] + quarter[None, :] * views[:, None]


def segment_indices(num_video_frames: int, num_frames: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """One random frame from each of T equal segments, as training draws them.

    Args:
        num_video_frames: N, displayed frames of the video (or of the part that is used).
        num_frames: T, frames to take.
        rng: source of randomness.

    Returns:
        int64 (T,), strictly ascending, in [0, N).

    Raises:
        TooFewFramesError: if N < T.
    """
    first, end = segments(num_video_frames, num_frames).T
    return np.asarray(rng.integers(first, end), dtype=np.int64)


def segments(num_video_frames: int, num_frames: int) -> NDArray[np.int64]:
    """T equal segments of a video.

    Args:
        num_video_frames: N, displayed frames of the video (or of the part that is used).
        num_frames: T, segments.

    Returns:
        int64 (T, 2), the first frame of each and its end (exclusive); none is empty.

    Raises:
        TooFewFramesError: if N < T.
    """
    if num_video_frames < num_frames:
        raise TooFewFramesError(num_video_frames, num_frames)
    borders = np.arange(num_frames + 1, dtype=np.int64) * num_video_frames // num_frames
    return np.stack([borders[:-1], borders[1:]], axis=1)


def frame_indices(num_video_frames: int, spec: SamplingSpec, *, choose: Choose) -> NDArray[np.int64]:
    """The frames that `spec` takes from a video of N displayed frames.

    Args:
        num_video_frames: N.
        spec: the policy, and T.
        choose: takes a frame of each segment, for the policy `segment` alone.

    Returns:
        int64 (V, T): V views of T ascending indices in [0, N).

    Raises:
        TooFewFramesError: if the video is too short for the policy.
    """
    if spec.policy == "three-view":
        return three_view_indices(num_video_frames, spec.num_frames)
    if spec.policy == "segment":
        return choose(segments(num_video_frames, spec.num_frames))[None]
    return uniform_indices(num_video_frames, spec.num_frames)[None]
