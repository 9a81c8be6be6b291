"""Many videos to their embeddings: several at a time, in the order they were given, in memory that does not grow.

Each worker takes a video through decoding, conversion and the networks on its own, so that one decodes while another
computes and no core waits. Decoded frames never wait for anyone: there are at most as many videos in memory as workers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor

from .cpus import available_cpus
from .embedder import Embedder, VideoEmbedding, restored
from .errors import BundleError, OptionError, VideoError
from .video_part import VideoPart

__all__ = ["StreamedVideo", "ThreadPlan", "embed_stream", "plan_threads"]

AHEAD = 4  # videos a worker that may be under way or done while an earlier one is still awaited


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StreamedVideo:
    """One video of a stream: either its embedding, or what is wrong with it.

    Attributes:
        path: as it was given.
        embedding: None if the video failed.
        num_frames: displayed frames of the whole video; None if it failed.
        duration_seconds: of the whole video; None if it failed.
        error: None if all went well.
    """

    path: str
    embedding: VideoEmbedding | None = None
    num_frames: int | None = None
    duration_seconds: float | None = None
    error: VideoError | BundleError | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ThreadPlan:
    """How threads are shared out.

    Attributes:
        workers: videos that are worked on at a time.
        num_threads: of each, for decoding and for the networks, which take turns in it.
    """

    workers: int
    num_threads: int


def plan_threads(num_videos: int, *, total: int | None = None) -> ThreadPlan:
    """As many single-threaded workers as there are threads; with fewer videos, workers of several threads.

    Threads of one video wait for one another, workers for nobody.

    Args:
        num_videos: how many there are.
        total: threads to share out; None takes the CPUs that this process may use.

    Raises:
        OptionError: if `total` cannot be meant.
    """
    if total is not None and total < 1:
        raise OptionError(f"the number of threads is {total}; it must be at least 1")
    threads = available_cpus() if total is None else total
    workers = max(1, min(threads, num_videos))
    return ThreadPlan(workers=workers, num_threads=threads // workers)


def embed_stream(
    embedder: Embedder, paths: Iterable[str | os.PathLike[str] | VideoPart], *, workers: int
) -> Generator[StreamedVideo]:
    """Embed videos, `workers` at a time.

    The paths are taken from their iterable as they are needed, in the thread that takes the results; close the
    generator to stop early (what is under way is finished, nothing new is begun). On a GPU the networks run for one
    video at a time, while the others decode.

    Args:
        embedder: its backend should use `plan_threads(...).num_threads` threads, and so does its decoder.
        paths: video files and folders of frames, or parts of them.
        workers: videos that are worked on at a time.

    Yields:
        One result a path, in the order of the paths. A video that cannot be used, or for which a network computes what
        is no number, is a result with its error.

    Raises:
        OptionError: if `workers` is not at least 1.
        BundleError: if a network cannot be loaded or run; before the first video.
        DeviceError: if the GPU fails.
    """
    if workers < 1:
        raise OptionError(f"{workers = } must be at least 1")
    embedder.warm_up()
    turn: contextlib.AbstractContextManager[object] = threading.Lock()
    if embedder.backend.device == "cpu":
        turn = contextlib.nullcontext()

    def work(video: str | os.PathLike[str] | VideoPart) -> StreamedVideo:
        part = VideoPart.of(video)
        try:
            known = embedder.look(part)
            if known.found is not None:
                return StreamedVideo(
                    path=part.path,
                    embedding=restored(part.path, known.found),
                    num_frames=known.found.num_frames,
                    duration_seconds=known.found.duration_seconds,
                )
            sampled = embedder.read(part.path, start=part.start, end=part.end)
            with turn:
                embedding = embedder.embed_read(sampled, known)
        except (VideoError, BundleError) as error:
            return StreamedVideo(path=part.path, error=error)
        return StreamedVideo(
            path=sampled.path,
            embedding=embedding,
            num_frames=sampled.num_frames,
            duration_seconds=sampled.duration_seconds,
        )

    source = iter(paths)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="weaksvr-embed")
    try:
        waiting = deque(pool.submit(work, path) for path in itertools.islice(source, workers * AHEAD))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(work, path) for path in itertools.islice(source, 1))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
