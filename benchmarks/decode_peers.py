"""Decoders that the decode benchmark compares: each opens a file, takes frames by number, scales them, closes it.

Every reader is called as `read(path, indices, height, width, threads)` and returns uint8 (T, height, width, 3), RGB.
Each stands at the best of its documented settings for this task: scaling inside the library where it offers that, the
number of threads as asked, ascending indices.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import importlib.util
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["OURS", "PEERS", "SEGMENT", "Reader", "load_reader", "segments_of", "version_of"]

Frames = NDArray[np.uint8]
Reader = Callable[[str, list[int], int, int, int], Frames]


def _weaksvr() -> Reader:
    from weaksvr.runtime.video import open_video

    def read(path: str, indices: list[int], height: int, width: int, threads: int) -> Frames:
        with open_video(path, num_threads=threads) as video:
            return video.frames(indices, size=(height, width))

    return read


def segments_of(num_frames: int, count: int) -> list[tuple[int, int]]:
    """`count` equal segments of a video."""
    return [(num_frames * j // count, num_frames * (j + 1) // count) for j in range(count)]


def _segment() -> Reader:
    from weaksvr.runtime.video import open_video

    def read(path: str, indices: list[int], height: int, width: int, threads: int) -> Frames:
        with open_video(path, num_threads=threads) as video:
            chosen = video.cheapest(segments_of(video.num_frames, len(indices)))
            return video.frames(chosen, size=(height, width))

    return read


def _torchcodec(seek_mode: str) -> Reader:
    import torch
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    def read(path: str, indices: list[int], height: int, width: int, threads: int) -> Frames:
        torch.set_num_threads(threads)
        decoder = VideoDecoder(
            path,
            seek_mode=seek_mode,
            num_ffmpeg_threads=threads,
            dimension_order="NHWC",
            transforms=[Resize((height, width))],
        )
        return np.asarray(decoder.get_frames_at(indices).data.numpy())

    return read


def _decord() -> Reader:
    import decord

    def read(path: str, indices: list[int], height: int, width: int, threads: int) -> Frames:
        reader = decord.VideoReader(path, ctx=decord.cpu(0), width=width, height=height, num_threads=threads)
        return np.asarray(reader.get_batch(indices).asnumpy())

    return read


def _video_reader_rs() -> Reader:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, OSError):
        # Wheels were published in which one library does not find another one that lies beside it.
        for file in importlib.metadata.files("video-reader-rs") or ():
            if "libsharpyuv" in file.name:
                ctypes.CDLL(str(file.locate()))
    from video_reader import PyVideoReader

    def read(path: str, indices: list[int], height: int, width: int, threads: int) -> Frames:
        reader = PyVideoReader(path, threads=threads, target_height=height, target_width=width, resize_algo="bicubic")
        return np.asarray(reader.get_batch(indices))

    return read


def _opencv(*, seek: bool) -> Reader:
    import cv2

    def read(path: str, indices: list[int], height: int, width: int, threads: int) -> Frames:
        cv2.setNumThreads(threads)
        capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
        output = np.empty((len(indices), height, width, 3), np.uint8)
        position = 0
        for place, index in enumerate(indices):
            if seek:
                capture.set(cv2.CAP_PROP_POS_FRAMES, index)
                capture.grab()
            else:
                for _ in range(position, index + 1):
                    capture.grab()
                position = index + 1
            found, picture = capture.retrieve()
            if not found:
                raise RuntimeError(f"no frame {index}")
            small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
            cv2.cvtColor(small, cv2.COLOR_BGR2RGB, dst=output[place])
        capture.release()
        return output

    return read


def _pyav(*, seek: bool) -> Reader:
    import av
    from av.video.reformatter import Interpolation, VideoReformatter

    def sequential(path: str, indices: list[int], height: int, width: int, threads: int) -> Frames:
        with av.open(path) as container:
            stream = container.streams.video[0]
            stream.thread_count, stream.thread_type = threads, "AUTO"
            scaler, wanted, found = VideoReformatter(), set(indices), []
            for number, frame in enumerate(container.decode(stream)):
                if number in wanted:
                    small = scaler.reformat(frame, width, height, "rgb24", interpolation=Interpolation.BICUBIC)
                    found.append(small.to_ndarray())
                    if number == indices[-1]:
                        break
        return np.stack(found)

    def seeking(path: str, indices: list[int], height: int, width: int, threads: int) -> Frames:
        with av.open(path) as container:
            stream = container.streams.video[0]
            stream.thread_count, stream.thread_type = threads, "AUTO"
            scaler, found = VideoReformatter(), []
            start, ticks = stream.start_time or 0, 1 / (stream.average_rate * stream.time_base)
            for index in indices:
                target = start + round(index * ticks)
                container.seek(target, stream=stream)
                for frame in container.decode(stream):
                    if frame.pts is not None and frame.pts >= target - ticks / 2:
                        small = scaler.reformat(frame, width, height, "rgb24", interpolation=Interpolation.BICUBIC)
                        found.append(small.to_ndarray())
                        break
        return np.stack(found)

    return seeking if seek else sequential


OURS = "weaksvr"
SEGMENT = "weaksvr segment"
"""The reader that is free to take any frame of each segment."""

PEERS: dict[str, tuple[str, Callable[[], Reader]]] = {
    OURS: ("weaksvr", _weaksvr),
    SEGMENT: ("weaksvr", _segment),
    "torchcodec exact": ("torchcodec", lambda: _torchcodec("exact")),
    "torchcodec approximate": ("torchcodec", lambda: _torchcodec("approximate")),
    "decord": ("decord", _decord),
    "video_reader-rs": ("video-reader-rs", _video_reader_rs),
    "OpenCV grab": ("opencv-python-headless", lambda: _opencv(seek=False)),
    "OpenCV seek": ("opencv-python-headless", lambda: _opencv(seek=True)),
    "PyAV sequential": ("av", lambda: _pyav(seek=False)),
    "PyAV seek": ("av", lambda: _pyav(seek=True)),
}
"""Name in the table -> distribution, and what loads it."""


def load_reader(peer: str) -> Reader:
    """Import a peer; whatever its import raises means that it is not there."""
    return PEERS[peer][1]()


def version_of(peer: str) -> str:
    """The version of the distribution that a peer comes from."""
    return importlib.metadata.version(PEERS[peer][0])
