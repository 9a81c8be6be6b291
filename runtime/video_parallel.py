"""Decode several runs of packets at the same time, each on a decoder and a thread of its own."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Sequence

from .video_decode import FrameSink, decode_run
from .video_index import FrameIndex, Run
from .video_packets import DamageLog, PacketReader, Source, hold_back, open_source

__all__ = ["ParallelDecoder", "share_runs"]

_UNEVEN = 1.3
"""Above so many times an even share, threads within one decoder are the better use of the cores."""


def share_runs(runs: Sequence[Run], num_threads: int) -> list[list[Run]] | None:
    """Runs for each thread, about the same number of packets; None where that cannot be, or for one thread."""
    count = min(num_threads, len(runs))
    if count < 2:
        return None
    shares: list[list[Run]] = [[] for _ in range(count)]
    loads = [0] * count
    for run in sorted(runs, key=lambda run: (run.start - run.stop, run.start)):
        place = loads.index(min(loads))
        shares[place].append(run)
        loads[place] += run.stop - run.start
    if max(loads) * num_threads > _UNEVEN * sum(loads):
        return None
    return [sorted(share, key=lambda run: run.start) for share in shares]


class ParallelDecoder:
    """Decoders of one file for several threads, opened when they are first needed and kept until `close`."""

    def __init__(self, path: str, name: str, reader: PacketReader) -> None:
        self._path, self._name, self._reader = path, name, reader
        self._sources: dict[int, Source] = {}

    def decode(
        self,
        shares: Sequence[Sequence[Run]],
        index: FrameIndex,
        *,
        pending: set[int],
        new_sink: Callable[[], FrameSink],
        skip: bool,
    ) -> DamageLog:
        """Decode each of `shares` on its own thread, as `decode_run` does.

        Args:
            shares: the runs of each thread; packets must be at hand.
            index: which packets hold which frames.
            pending: numbers of the frames that are wanted; sinks take off what they got.
            new_sink: makes the sink of one thread.
            skip: pass over pictures that no other refers to, unless they are needed.

        Returns:
            The damage that was met in runs of which no frame is missing.
        """

        def work(place: int) -> DamageLog:
            source, sink, damage = self._source(place), new_sink(), DamageLog()
            for run in shares[place]:
                log = decode_run(source, self._reader, index, run, pending=pending, sink=sink, skip=skip)
                if log is not None:
                    damage.merge(log)
            return damage

        damage = DamageLog()
        with concurrent.futures.ThreadPoolExecutor(len(shares), thread_name_prefix="decode") as threads:
            for log in threads.map(work, range(len(shares))):
                damage.merge(log)
        return damage

    def close(self) -> None:
        """Give the decoders back."""
        for source in self._sources.values():
            source.container.close()
        self._sources = {}

    def _source(self, place: int) -> Source:
        if place not in self._sources:
            source = self._sources[place] = open_source(self._path, self._name, num_threads=1, probe=False)
            hold_back(source, self._reader.table)
        return self._sources[place]
