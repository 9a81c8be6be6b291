"""Small pictures of a video at given times, as data addresses that a page can hold."""

from __future__ import annotations

import base64
import dataclasses
import fractions
import os
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .errors import VideoDecodeError
from .video import Video, open_video

__all__ = ["FilmedVideo", "KeyFrame", "film", "picture_address"]

PICTURE_SIZE: Final = 132  # pixels of the shorter side
_MAX_ASPECT: Final = 2.4
_QUANTIZER: Final = "4"  # of JPEG: 2 is nearly perfect, 31 is worst


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class KeyFrame:
    """What a video shows at a time.

    Attributes:
        seconds: that were asked for, after the first frame of the video.
        picture: data address of a JPEG picture; None if the frame cannot be decoded.
    """

    seconds: float
    picture: str | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FilmedVideo:
    """A video's measures and its key frames.

    Attributes:
        duration_seconds, num_frames, height, width: of the whole video.
        key_frames: in the order of the times that were asked for.
    """

    duration_seconds: float
    num_frames: int
    height: int
    width: int
    key_frames: tuple[KeyFrame, ...]


def film(path: str | os.PathLike[str], seconds: Sequence[float], *, size: int = PICTURE_SIZE) -> FilmedVideo:
    """Take pictures of a video.

    Args:
        path: a video file, or a folder of frames.
        seconds: after the first frame; of each the frame that is then displayed.
        size: pixels of the pictures' shorter side; the longer one is as in the video, unless that is extremely long.

    Raises:
        VideoError: if the video cannot be opened. A frame that cannot be decoded is a key frame without a picture.
    """
    with open_video(path) as video:
        starts = video.times(np.arange(video.num_frames))
        numbers = np.searchsorted(starts, np.asarray(seconds, np.float64) + 1e-6, side="right") - 1
        frames = np.clip(numbers, 0, video.num_frames - 1).tolist()
        pictures = _pictures(video, frames, _shape(video.height, video.width, size))
        return FilmedVideo(
            duration_seconds=video.duration_seconds,
            num_frames=video.num_frames,
            height=video.height,
            width=video.width,
            key_frames=tuple(
                KeyFrame(seconds=float(at), picture=picture) for at, picture in zip(seconds, pictures, strict=True)
            ),
        )


def picture_address(picture: NDArray[np.uint8]) -> str:
    """uint8 (H, W, 3), RGB, as the data address of a JPEG picture."""
    import av

    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format="yuvj420p")
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
    encoder.time_base = fractions.Fraction(1, 1)
    encoder.thread_count = 1  # starting more takes longer than one small picture
    encoder.options = {"qmin": _QUANTIZER, "qmax": _QUANTIZER}
    data = b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def _pictures(video: Video, frames: Sequence[int], shape: tuple[int, int]) -> list[str | None]:
    try:
        return [picture_address(picture) for picture in video.frames(frames, size=shape)]
    except VideoDecodeError:  # of all of them, so one by one
        return [_picture(video, frame, shape) for frame in frames]


def _picture(video: Video, frame: int, shape: tuple[int, int]) -> str | None:
    try:
        return picture_address(video.frames([frame], size=shape)[0])
    except VideoDecodeError:
        return None


def _shape(height: int, width: int, size: int) -> tuple[int, int]:
    longer = round(size * min(_MAX_ASPECT, max(height, width) / min(height, width)))
    return (size, longer) if width >= height else (longer, size)
