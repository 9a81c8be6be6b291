"""Exact frames of a container file: list the packets once, decode only what the asked frames need, convert only those.

Every asked frame must arrive sound. What is missing after the planned decoding is looked for with nothing skipped, then
from one key picture earlier, then through the whole file on one thread; what is missing then is an error.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from .errors import VideoDecodeError, VideoFormatError
from .video import PutFrame, Video
from .video_convert import FrameConverter, orientation_of
from .video_cost import CostModel, DecodePlan, count_plan, within
from .video_decode import Begun, FrameSink, begin, count_pictures, decode_counted, decode_run, pictures
from .video_index import NO_TIME, SKIP_CODECS, FrameIndex, Run, index_packets, plan_runs
from .video_packets import DamageLog, PacketReader, hold_back, open_source, translate_errors
from .video_parallel import ParallelDecoder, share_runs

__all__ = ["FileVideo"]

_RATE_IF_UNKNOWN = 25.0


class FileVideo(Video):
    """A video in a container file. Made by `open_video`."""

    def __init__(self, path: str, *, name: str, num_threads: int, packet_budget: int) -> None:
        self.path, self.name = path, name
        self._begun: Begun | None = None
        self._num_threads, self._packet_budget = num_threads, packet_budget
        index = self._open(probe=False)
        if index is None:  # what the decoder shows is counted, so it has to know from the start what it can know
            self._close_file()
            self._open(probe=True)
        try:
            with translate_errors(name, VideoFormatError, "cannot be read as a video"):
                self._held_back = hold_back(self._source, self._reader.table) if index else 0
                self._parallel = ParallelDecoder(path, name, self._reader)
                first = self._first_picture()
                self._index = index or self._count_frames()
        except BaseException:
            self._close_file()
            raise
        self._orientation = orientation_of(first)
        self.height, self.width = self._orientation.upright_size(first.height, first.width)
        self.num_frames = len(self._index.pts)
        self._times, last_duration = self._presentation_times()
        self.duration_seconds = float(self._times[-1]) + last_duration

    @property
    def damaged(self) -> tuple[str, ...]:
        return self._damage.lines()

    def _seconds(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._times[numbers]

    def _release(self) -> None:
        self._parallel.close()
        self._close_file()

    def _close_file(self) -> None:
        self._reader.close()
        self._source.container.close()

    def _read(self, numbers: NDArray[np.int64], height: int, width: int, put: PutFrame) -> None:
        pending: set[int] = set(numbers.tolist())

        def new_sink() -> FrameSink:
            converter = FrameConverter(height, width, orientation=self._orientation)

            def sink(number: int, frame: VideoFrame) -> None:
                put(number, converter.convert(frame))
                pending.discard(number)

            return sink

        with translate_errors(self.name, VideoDecodeError, "cannot be decoded"):
            if self._index.packet is None:
                decode_counted(self._source, self._reader, self._index, pending=pending, sink=new_sink())
            else:
                self._decode_planned(self._index.packet, pending, new_sink)
        if pending:
            number, others = min(pending), len(pending) - 1
            raise VideoDecodeError(
                f"{self.name}: frame {number} at {self._times[number]:.2f} s cannot be decoded, or only with damage"
                f"{f' (and {others} more)' if others else ''}; repair the file or take another one"
            )

    def _decode_planned(self, packet: NDArray[np.int64], pending: set[int], new_sink: Callable[[], FrameSink]) -> None:
        """Each attempt is for what the one before left; the last one reads the whole file up to there."""
        attempts = [(True, 0)] if self._source.codec in SKIP_CODECS else []
        sink = new_sink()
        for skip, earlier_keys in [*attempts, (False, 0), (False, 1)]:
            wanted = packet[sorted(pending)]
            runs = plan_runs(self._reader.table, wanted, earlier_keys=earlier_keys, gap=self._gap)
            shares = share_runs(runs, self._num_threads) if self._reader.at_hand and not earlier_keys else None
            if shares is not None:
                self._damage.merge(
                    self._parallel.decode(shares, self._index, pending=pending, new_sink=new_sink, skip=skip)
                )
            else:
                self._decode_in_turn(runs, pending, sink, skip=skip)
            if not pending:
                return
        wanted = packet[sorted(pending)]
        run = Run(start=0, stop=int(wanted.max()) + 1, needed=frozenset(wanted.tolist()))
        source = open_source(self.path, self.name, num_threads=1, strict=True)
        with contextlib.closing(source.container):
            log = decode_run(source, self._reader, self._index, run, pending=pending, sink=sink, skip=False)
        if log is not None:
            self._damage.merge(log)

    @property
    def _gap(self) -> int:
        """Decoding on costs less than emptying the decoder, which loses what its threads have begun."""
        return self._held_back + self._source.decoder.thread_count - 1

    def _plan(self, numbers: NDArray[np.int64]) -> DecodePlan:
        table, packet = self._reader.table, self._index.packet
        if packet is None:
            return count_plan(self._index, table, numbers)
        return self._costs(packet, numbers).plan(numbers)

    def _cheapest(self, segments: NDArray[np.int64]) -> NDArray[np.int64]:
        packet = self._index.packet
        if packet is None:
            return within(segments, int(segments[:, 0].max()))
        middles = segments.sum(axis=1) // 2
        return self._costs(packet, np.concatenate([segments[:, 0], segments[:, 1] - 1, middles])).cheapest(segments)

    def _costs(self, packet: NDArray[np.int64], numbers: NDArray[np.int64]) -> CostModel:
        """The costs, true for the groups of pictures of `numbers`, and of others as if nothing were passed over."""
        table = self._reader.table
        reference = np.ones(len(table), np.bool_)
        if self._source.codec in SKIP_CODECS:
            group = np.cumsum(table.key)
            near = np.isin(group, np.add.outer([-1, 0], group[packet[numbers]]))
            reference[near] = self._reader.referred(np.flatnonzero(near).tolist())
        pixels = self._source.decoder.width * self._source.decoder.height
        return CostModel(table=table, packet=packet, reference=reference, pixels=pixels, gap=self._held_back)

    def _take_begun(self, run: Run) -> Begun | None:
        """What the decoder has begun, if it is this run. Only once, since the decoder goes on to other things then."""
        begun, self._begun = self._begun, None
        return begun if begun is not None and begun.start == run.start else None

    def _decode_in_turn(self, runs: list[Run], pending: set[int], sink: FrameSink, *, skip: bool) -> None:
        for run in runs:
            begun = self._take_begun(run)
            log = decode_run(
                self._source, self._reader, self._index, run, pending=pending, sink=sink, skip=skip, begun=begun
            )
            if log is not None:
                self._damage.merge(log)

    def _first_picture(self) -> VideoFrame:
        """The picture that tells size and orientation: the first key picture, or whatever the decoder shows first."""
        table, decoder = self._reader.table, self._source.decoder
        keys = np.flatnonzero(table.key & table.shown)
        if len(keys):
            self._begun = begin(self._source, self._reader, int(keys[0]))
            if self._begun is not None:
                return self._begun.frames[0]
            with contextlib.closing(self._reader.read(int(keys[0]))) as rows:
                for frame in pictures(decoder, itertools.islice(rows, 1), lambda _: None):
                    return frame
        with contextlib.closing(self._reader.read(0)) as rows:
            for frame in pictures(decoder, rows, lambda _: None):
                return frame
        raise VideoFormatError(f"{self.name}: no picture of it can be decoded; it is cut off or damaged")

    def _open(self, *, probe: bool) -> FrameIndex | None:
        """Open the file and list its packets; the frames too, if packets tell."""
        self._damage = DamageLog()
        source = self._source = open_source(self.path, self.name, num_threads=self._num_threads, probe=probe)
        try:
            with translate_errors(self.name, VideoFormatError, "cannot be read as a video"):
                self._reader = PacketReader(
                    source, self.path, self.name, budget=self._packet_budget, damage=self._damage
                )
        except BaseException:
            source.container.close()
            raise
        if not self._reader.one_picture:
            return None
        return index_packets(self._reader.table, codec=source.codec, progressive=source.progressive, timed=source.timed)

    def _count_frames(self) -> FrameIndex:
        self._begun = None
        index = count_pictures(self._source, self._reader, self._damage)
        if len(index.pts) == 0:
            raise VideoFormatError(f"{self.name}: displays no picture; it is cut off or damaged")
        return index

    def _presentation_times(self) -> tuple[NDArray[np.float64], float]:
        """Seconds after frame 0, float64 (N,), and how long the last frame stays.

        Where time stamps are absent or go back, the frames are taken as evenly spaced at the stream's rate.
        """
        pts = self._index.pts
        stream = self._source.stream
        interval = 1 / float(stream.average_rate or stream.guessed_rate or _RATE_IF_UNKNOWN)
        if np.any(pts == NO_TIME) or np.any(np.diff(pts) <= 0):
            return np.arange(len(pts), dtype=np.float64) * np.float64(interval), interval
        time_base = float(self._source.time_base)
        last = 0 if self._index.packet is None else int(self._reader.table.duration[self._index.packet[-1]])
        return (pts - pts[0]).astype(np.float64) * np.float64(time_base), last * time_base or interval
