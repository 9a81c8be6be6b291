"""Open a video and take exact frames from it, upright, as RGB.

A video is a container file or a folder of numbered frames; `open_video` tells which, and refuses what is neither before
any decoder sees it. This module holds what both kinds share and loads no decoder until a video is opened.
"""

from __future__ import annotations

import abc
import codecs
import contextlib
import errno
import operator
import os
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import OptionError, VideoError, VideoFormatError, VideoNotFoundError
from .video_cost import DecodePlan

__all__ = ["DEFAULT_PACKET_BUDGET", "MAX_PIXELS", "Video", "open_video", "shorter_side_size"]

MAX_PIXELS = 8192 * 8192
"""Largest area of a frame, decoded or asked for; anything above is taken for an attack or a damaged header."""

DEFAULT_PACKET_BUDGET = 256 * 2**20
"""Bytes of compressed video kept in memory; a larger file is read again, group of pictures by group of pictures."""

_MAX_DEFAULT_THREADS = 4
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.,-]+:")


class Video(abc.ABC):
    """A video whose frames are addressed by their place in the order of display. A context manager.

    An open video holds a file and a decoder: use it from one thread at a time and open it in the process that reads it.

    Attributes:
        path: as it was given.
        name: the path as it stands in messages.
        num_frames: N, displayed frames. Hidden pictures and those that an edit list cuts away are not counted.
        duration_seconds: from the first frame's appearance to the last one's end.
        height, width: pixels of the upright frame, after rotation. Pixels are taken as square.
    """

    path: str
    name: str
    num_frames: int
    duration_seconds: float
    height: int
    width: int
    _closed: bool = False

    @property
    @abc.abstractmethod
    def damaged(self) -> tuple[str, ...]:
        """What is known to be damaged so far, one line each; empty for a sound video.

        Grows while frames are read: damage inside a picture shows only when it is decoded. Concealment that a decoder
        does not report, and packets that are missing without a trace, cannot be seen.
        """

    @abc.abstractmethod
    def _seconds(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Presentation times of valid frame numbers, relative to frame 0."""

    @abc.abstractmethod
    def _read(self, numbers: NDArray[np.int64], height: int, width: int, put: PutFrame) -> None:
        """Hand each of the distinct ascending `numbers` once to `put`, as uint8 (height, width, 3)."""

    @abc.abstractmethod
    def _plan(self, numbers: NDArray[np.int64]) -> DecodePlan:
        """What decoding valid frame numbers takes."""

    @abc.abstractmethod
    def _cheapest(self, segments: NDArray[np.int64]) -> NDArray[np.int64]:
        """The frame of each of the valid `segments`, (T, 2), as `cheapest` says."""

    @abc.abstractmethod
    def _release(self) -> None:
        """Give file and decoder back."""

    def frames(
        self, indices: Sequence[int] | NDArray[np.int64], *, size: int | tuple[int, int] | None = None
    ) -> NDArray[np.uint8]:
        """Decode frames by their place in the order of display.

        Args:
            indices: (T,) frame numbers in [0, num_frames), in any order, repeats allowed.
            size: None keeps the source size; an int scales the shorter side to it, the longer one to
                floor(size * longer / shorter); (height, width) scales to exactly that. Scaling is bicubic, from the
                decoded colours straight to RGB of the asked size.

        Returns:
            uint8 (T, height, width, 3), RGB, upright. A frame whose stored size differs from the first one's is scaled
            to the same size.

        Raises:
            OptionError: for an index out of range or a size that cannot be meant.
            VideoDecodeError: if one of the frames cannot be decoded, or only with damage.
        """
        self._check_open()
        numbers = self._check_indices(indices)
        height, width = self._target_size(size)
        try:
            output = np.empty((len(numbers), height, width, 3), np.uint8)
        except MemoryError as error:
            gib = len(numbers) * height * width * 3 / 2**30
            raise OptionError(
                f"{self.name}: {len(numbers)} frames take {gib:.1f} GiB; ask for fewer or smaller"
            ) from error
        places: dict[int, list[int]] = {}
        for place, number in enumerate(numbers.tolist()):
            places.setdefault(number, []).append(place)

        def put(number: int, pixels: NDArray[np.uint8]) -> None:
            for place in places[number]:
                output[place] = pixels

        if places:
            self._read(np.array(sorted(places), np.int64), height, width, put)
        return output

    def times(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
        """When frames appear.

        Args:
            indices: (T,) frame numbers in [0, num_frames).

        Returns:
            float64 (T,), seconds after the first displayed frame.

        Raises:
            OptionError: for an index out of range.
        """
        self._check_open()
        return self._seconds(self._check_indices(indices))

    def plan(self, indices: Sequence[int] | NDArray[np.int64]) -> DecodePlan:
        """What `frames` has to decode for these frames, as long as nothing is damaged. Decodes nothing.

        Args:
            indices: (T,) frame numbers in [0, num_frames).

        Raises:
            OptionError: for an index out of range.
        """
        self._check_open()
        return self._plan(self._check_indices(indices))

    def cheapest(self, segments: Sequence[tuple[int, int]] | NDArray[np.int64]) -> NDArray[np.int64]:
        """One frame of each segment, chosen so that decoding them takes little. Decodes nothing.

        The same file and segments give the same frames, whatever the threads and the memory. Decoding them never takes
        more, by the packets' sizes, than decoding the middle frames. Of frames that cost the same, the one nearest the
        middle is taken.

        Args:
            segments: (T, 2), the first frame number of each segment and the one past its last, as in `range`.

        Returns:
            int64 (T,), frame numbers in the order of the segments.

        Raises:
            OptionError: for a segment that is empty or out of range.
        """
        self._check_open()
        array = np.asarray(segments)
        if array.size == 0:
            return np.zeros(0, np.int64)
        if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu":
            raise OptionError(f"{self.name}: segments must be pairs of whole numbers (first, one past the last)")
        wrong = array[(array[:, 0] < 0) | (array[:, 1] > self.num_frames) | (array[:, 0] >= array[:, 1])]
        if len(wrong):
            first, stop = wrong[0].tolist()
            raise OptionError(f"{self.name}: segment {first} to {stop} is empty or not within 0 to {self.num_frames}")
        return self._cheapest(array.astype(np.int64))

    def close(self) -> None:
        """Give file and decoder back; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise VideoError(f"{self.name}: is closed; read its frames inside the with block")

    def _check_indices(self, indices: ArrayLike) -> NDArray[np.int64]:
        array = np.asarray(indices)
        if array.ndim != 1:
            raise OptionError(f"{self.name}: frame indices must be one row of numbers, not of shape {array.shape}")
        if array.size and array.dtype.kind not in "iu":
            raise OptionError(f"{self.name}: frame indices must be integers, not {array.dtype}")
        wrong = array[(array < 0) | (array >= self.num_frames)]
        if wrong.size:
            raise OptionError(f"{self.name}: has no frame {wrong[0]}; its frames are 0 to {self.num_frames - 1}")
        return array.astype(np.int64)

    def _target_size(self, size: int | tuple[int, int] | None) -> tuple[int, int]:
        try:
            if size is None:
                height, width = self.height, self.width
            elif isinstance(size, tuple):
                height, width = (operator.index(side) for side in size)
            else:
                height, width = shorter_side_size(self.height, self.width, operator.index(size))
        except (TypeError, ValueError) as error:
            raise OptionError(f"{size = } must be a whole number, a pair (height, width), or None") from error
        if height < 1 or width < 1 or height * width > MAX_PIXELS:
            raise OptionError(
                f"{size = } makes frames of {height} x {width}; from 1 to {MAX_PIXELS} pixels are possible"
            )
        return height, width


PutFrame = Callable[[int, NDArray[np.uint8]], None]


def shorter_side_size(height: int, width: int, size: int) -> tuple[int, int]:
    """(height, width) with the shorter side scaled to `size`, the longer one to floor(size * longer / shorter)."""
    if height <= width:
        return size, size * width // height
    return size * height // width, size


def open_video(
    path: str | os.PathLike[str],
    *,
    num_threads: int = 0,
    packet_budget: int = DEFAULT_PACKET_BUDGET,
) -> Video:
    """Open a video file or a folder of numbered frames (`1.jpg, 2.jpg, …`; also .jpeg and .png).

    Accepted files are containers (mp4, mov, mkv, webm, avi, ts, mpg, flv, wmv); a still image is not one.
    The file is read through once, without decoding, to list its frames.

    Args:
        path: a local file or folder.
        num_threads: threads for decoding; 0 takes one a core, at most 4.
        packet_budget: bytes of compressed video kept in memory (see `DEFAULT_PACKET_BUDGET`).

    Raises:
        VideoNotFoundError: if there is no such file or folder.
        VideoFormatError: if it is not a video of an accepted kind.
        VideoError: if it may not be read.
        OptionError: if an option cannot be meant.
    """
    if num_threads < 0:
        raise OptionError(f"{num_threads = } must be 0 (automatic) or more")
    if packet_budget < 0:
        raise OptionError(f"{packet_budget = } must be 0 bytes or more")
    text = os.fsdecode(path)
    name = text if text.isprintable() else ascii(text)
    mode = _stat_mode(text, name)
    if stat.S_ISDIR(mode):
        from .video_folder import FolderVideo

        return FolderVideo(text, name=name)
    from .video_file import FileVideo

    threads = num_threads or min(_MAX_DEFAULT_THREADS, os.cpu_count() or 1)
    _check_content(text, name)
    return FileVideo(text, name=name, num_threads=threads, packet_budget=packet_budget)


def _stat_mode(path: str, name: str) -> int:
    """The mode of a readable, non-empty regular file, or of a folder. Never blocks, as opening a FIFO would."""
    try:
        info = Path(path).stat()
    except (OSError, ValueError) as error:
        if _SCHEME.match(path):
            raise VideoFormatError(f"{name}: is an address, not a local file; fetch it first") from error
        if isinstance(error, OSError) and error.errno in {errno.EACCES, errno.EPERM}:
            raise VideoError(f"{name}: may not be read (permission denied); change its permissions") from error
        if isinstance(error, OSError) and error.errno not in {errno.ENOENT, errno.ENOTDIR}:
            raise VideoNotFoundError(f"{name}: cannot be found: {error.strerror}") from error
        raise VideoNotFoundError(f"{name}: no such file or folder; check the path") from error
    if stat.S_ISREG(info.st_mode) and info.st_size == 0:
        raise VideoFormatError(f"{name}: is an empty file, not a video")
    if not stat.S_ISREG(info.st_mode) and not stat.S_ISDIR(info.st_mode):
        raise VideoFormatError(f"{name}: is a pipe, socket or device; only files and folders are read")
    if not os.access(path, os.R_OK):
        raise VideoError(f"{name}: may not be read (permission denied); change its permissions")
    return info.st_mode


def _check_content(path: str, name: str) -> None:
    """Refuse text before a demuxer sees it: playlists and scripts name other files, which would then be read."""
    head = b""
    with contextlib.suppress(OSError), Path(path).open("rb") as file:
        head = file.read(512)
    if head and not any(byte < 9 or 13 < byte < 27 for byte in head):
        with contextlib.suppress(UnicodeDecodeError):
            codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
            raise VideoFormatError(
                f"{name}: is a text file (a playlist or script?), not a video; give the video itself"
            )
