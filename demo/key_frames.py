"""Pictures of two videos at moments that belong together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from ..runtime.alignment import alignment_path, unit_rows
from ..runtime.embedder import VideoEmbedding
from ..runtime.key_frames import picture_address
from ..runtime.video import open_video

__all__ = ["aligned_columns", "pictures_at", "strip"]

COLUMNS: Final = 8
PICTURE_SIZE: Final = 144  # pixels of the shorter side
_MAX_ASPECT: Final = 4.0


def aligned_columns(a: VideoEmbedding, b: VideoEmbedding, *, columns: int = COLUMNS) -> list[dict[str, Any]]:
    """Moments of two videos that are warped onto each other, evenly spread over the warping.

    Returns:
        For each column the frames `frame_a`, `frame_b`, their times `seconds_a`, `seconds_b`, and `apart`: what the
        videos' alignment distance would be if they were everywhere as unlike as they are here and next to here.
    """
    path = alignment_path(a.frame_features, b.frame_features)  # (L, 2)
    first, second = unit_rows(a.frame_features)[path[:, 0]], unit_rows(b.frame_features)[path[:, 1]]
    costs = 1.0 - (first * second).sum(axis=1)  # (L,)
    per_cell = len(path) / (len(a.frame_features) + len(b.frame_features))
    found = []
    for cells in np.array_split(np.arange(len(path)), min(columns, len(path))):
        i, j = path[cells[len(cells) // 2]]
        found.append(
            {
                "frame_a": int(a.indices[i]),
                "frame_b": int(b.indices[j]),
                "seconds_a": float(a.times_seconds[i]),
                "seconds_b": float(b.times_seconds[j]),
                "apart": float(max(0.0, costs[cells].mean()) * per_cell),
            }
        )
    return found


def pictures_at(path: str | os.PathLike[str], frames: Sequence[int]) -> list[str]:
    """The frames of a video as small pictures, each as a data address (JPEG).

    Raises:
        VideoError: if the video cannot be used, or a frame cannot be decoded.
        OptionError: for a frame that it does not have.
    """
    with open_video(path, num_threads=1) as video:
        return [picture_address(picture) for picture in video.frames(frames, size=_size(video.height, video.width))]


def strip(path: str | os.PathLike[str], *, pictures: int) -> list[str]:
    """Pictures of a video, evenly spread. Raises as `pictures_at` does."""
    with open_video(path, num_threads=1) as video:
        num_frames = video.num_frames
    return pictures_at(path, [(2 * i + 1) * num_frames // (2 * pictures) for i in range(pictures)])


def _size(height: int, width: int) -> tuple[int, int]:
    """Of a picture: the video's form, unless that is extremely long."""
    longer = round(PICTURE_SIZE * min(_MAX_ASPECT, max(height, width) / min(height, width)))
    return (PICTURE_SIZE, longer) if width >= height else (longer, PICTURE_SIZE)
