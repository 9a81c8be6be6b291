"""A folder of numbered frames as a video: `1.jpg, 2.jpg, …`, or .jpeg and .png."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from .errors import VideoDecodeError, VideoError, VideoFormatError
from .video import MAX_PIXELS, PutFrame, Video
from .video_convert import FrameConverter, Orientation, orientation_of
from .video_cost import DecodePlan
from .video_packets import packet_of

__all__ = ["FOLDER_FRAME_RATE", "FolderVideo"]

FOLDER_FRAME_RATE = 25.0
"""Frames a second that a folder is taken to have, since pictures carry no times."""

_NUMBERED = re.compile(r"(\d+)\.(jpe?g|png)", re.IGNORECASE | re.ASCII)
_MAX_BYTES = 256 * 2**20
_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"


class FolderVideo(Video):
    """A video in a folder of numbered frames. Made by `open_video`.

    Numbers start at 0 or 1 and leave none out; leading zeros are allowed. Other files are ignored. What a picture is
    tells its content, not its name.
    """

    def __init__(self, path: str, *, name: str) -> None:
        self.path, self.name = path, name
        self._files = _numbered_files(Path(path), name)
        self.num_frames = len(self._files)
        self.duration_seconds = self.num_frames / FOLDER_FRAME_RATE
        first = self._decode(0)
        self.height, self.width = orientation_of(first).upright_size(first.height, first.width)

    @property
    def damaged(self) -> tuple[str, ...]:
        return ()

    def _seconds(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        return numbers / FOLDER_FRAME_RATE

    def _read(self, numbers: NDArray[np.int64], height: int, width: int, put: PutFrame) -> None:
        converters: dict[Orientation, FrameConverter] = {}
        for number in numbers.tolist():
            frame = self._decode(number)
            orientation = orientation_of(frame)
            if orientation not in converters:
                converters[orientation] = FrameConverter(height, width, orientation=orientation)
            try:
                pixels = converters[orientation].convert(frame)
            except (av.FFmpegError, ValueError, MemoryError) as error:
                raise VideoDecodeError(f"{self._file_name(number)}: cannot be converted to RGB") from error
            put(number, pixels)

    def _plan(self, numbers: NDArray[np.int64]) -> DecodePlan:
        distinct = np.unique(numbers).tolist()
        try:
            size = sum(Path(self.path, self._files[number]).stat().st_size for number in distinct)
        except OSError as error:
            raise VideoError(f"{self.name}: the folder cannot be read: {error.strerror or error}") from error
        count = len(distinct)
        return DecodePlan(num_frames=count, num_packets=count, num_pictures=count, num_bytes=size, num_runs=count)

    def _cheapest(self, segments: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(segments.sum(axis=1) // 2, np.int64)  # every picture stands for itself

    def _release(self) -> None:
        self._files = []

    def _file_name(self, number: int) -> str:
        return f"{self.name.rstrip('/')}/{self._files[number]}"

    def _decode(self, number: int) -> VideoFrame:
        """Decode one picture without a demuxer, so that nothing but this file's bytes is ever looked at."""
        name = self._file_name(number)
        data = _read_bytes(Path(self.path, self._files[number]), name)
        codec: Literal["mjpeg", "png"]
        if data.startswith(_JPEG_START):
            codec, whole = "mjpeg", data.rfind(_JPEG_END) > data.rfind(_JPEG_SCAN)
        elif data.startswith(_PNG_START):
            codec, whole = "png", data.rfind(_PNG_END) > 0
        else:
            raise VideoFormatError(f"{name}: is neither a JPEG nor a PNG picture")
        if not whole:
            raise VideoDecodeError(f"{name}: is cut off; extract the frames again")
        decoder = av.CodecContext.create(codec, "r")
        decoder.thread_count = 1
        decoder.options = {"max_pixels": str(MAX_PIXELS), "err_detect": "explode"}
        frames: list[VideoFrame] = []
        with contextlib.suppress(av.FFmpegError):
            frames = [*decoder.decode(packet_of(data)), *decoder.decode(None)]
        if not frames or frames[0].is_corrupt:
            raise VideoDecodeError(f"{name}: cannot be decoded, or is larger than {MAX_PIXELS} pixels")
        return frames[0]


def _numbered_files(folder: Path, name: str) -> list[str]:
    """Names of the frames in order.

    Raises:
        VideoFormatError: if there are none, some are left out or double, or one is not a regular file.
        VideoError: if the folder may not be read.
    """
    files: dict[int, str] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                match = _NUMBERED.fullmatch(entry.name)
                if not match:
                    continue
                number = int(match[1])
                if number in files:
                    raise VideoFormatError(f"{name}: frame {number} is there twice, {files[number]} and {entry.name}")
                if not entry.is_file():
                    raise VideoFormatError(f"{name}: {entry.name} is not a regular file")
                files[number] = entry.name
    except OSError as error:
        raise VideoError(f"{name}: the folder cannot be read: {error.strerror or error}") from error
    if not files:
        raise VideoFormatError(f"{name}: is a folder without numbered frames (1.jpg, 2.jpg, …; or .jpeg, .png)")
    first = min(files)
    if first > 1:
        raise VideoFormatError(f"{name}: numbered frames start at {first}; they must start at 1 or 0")
    for number in range(first, first + len(files)):
        if number not in files:
            raise VideoFormatError(f"{name}: frame {number} is missing among the numbered frames")
    return [files[number] for number in sorted(files)]


def _read_bytes(file: Path, name: str) -> bytes:
    try:
        with file.open("rb") as handle:
            data = handle.read(_MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise VideoDecodeError(f"{name}: has been removed since the folder was opened") from error
    except OSError as error:
        raise VideoError(f"{name}: cannot be read: {error.strerror or error}") from error
    if len(data) > _MAX_BYTES:
        raise VideoDecodeError(f"{name}: is larger than {_MAX_BYTES >> 20} MiB, too large for one frame")
    return data
