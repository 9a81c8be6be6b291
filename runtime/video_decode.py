"""Decode pictures from packets: planned runs for known packets, or everything, counted from the start of the file."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator

import av
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .video_av1 import sequence_in_effect, without_unreferred
from .video_index import NO_TIME, FrameIndex, PacketTable, Run
from .video_packets import DamageLog, PacketReader, Source, packet_of, sequence_of

__all__ = [
    "Begun",
    "FrameSink",
    "begin",
    "count_pictures",
    "decode_counted",
    "decode_run",
    "packets_to_decode",
    "pictures",
]

FrameSink = Callable[[int, VideoFrame], None]
"""Takes the number of a displayed frame and the frame."""

DAMAGED = "damaged pictures"
UNDECODABLE = "pictures that do not decode"
_MAX_DELAY = 20  # packets; H.264 and HEVC hold back 16 pictures at most
TRACES = "frames asked for that may show traces of damage before them"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Begun:
    """A run that has been begun: the decoder holds rows [start, next_row), and these pictures have come out of it."""

    start: int
    next_row: int
    frames: list[VideoFrame]


def begin(source: Source, reader: PacketReader, start: int) -> Begun | None:
    """Decode from row `start` until the first picture comes out; None if none does, or only with trouble."""
    decoder = source.decoder
    decoder.flush_buffers()
    decoder.skip_frame = "DEFAULT"
    with contextlib.closing(reader.read(start)) as rows:
        for row, packet in itertools.islice(rows, _MAX_DELAY + decoder.thread_count):
            try:
                frames = decoder.decode(packet)
            except av.FFmpegError:
                return None
            if frames:
                sound = not any(frame.is_corrupt for frame in frames)
                return Begun(start=start, next_row=row + 1, frames=frames) if sound else None
    return None


def pictures(
    decoder: VideoCodecContext,
    rows: Iterable[tuple[int, Packet[VideoStream]]],
    on_error: Callable[[int], None],
    *,
    begun: Begun | None = None,
) -> Iterator[VideoFrame]:
    """All pictures of a sequence of packets, in the order of display, then those that the decoder held back.

    Args:
        decoder: is emptied first, so that nothing of an earlier sequence comes out.
        rows: (row, packet) to decode.
        on_error: called with the row at which the decoder reported a packet that it cannot decode, -1 after the last
            row; a decoder with several threads reports late. Decoding goes on.
        begun: what the decoder is in the midst of, to go on with instead of emptying it; rows follow it.
    """
    if begun is None:
        decoder.flush_buffers()
    else:
        yield from begun.frames
    decoder.skip_frame = "DEFAULT"
    for row, packet in itertools.chain(rows, _barrier(decoder)):
        try:
            frames = decoder.decode(packet)
        except av.FFmpegError:
            on_error(row)
            continue
        yield from frames


def _barrier(decoder: VideoCodecContext) -> Iterator[tuple[int, Packet[VideoStream] | None]]:
    """The end of a sequence, when all threads of the decoder are done with what they have.

    At the end of its input an H.264 decoder hands out the pictures that it held back while other threads may still be
    working on them, and so before it is known whether they are damaged. Empty packets, one a thread, keep it waiting.
    """
    if decoder.name == "h264" and decoder.thread_count > 1:
        extradata = decoder.extradata or b""
        has_length = extradata[:1] == b"\1"
        start = (2).to_bytes((extradata[4] & 3) + 1, "big") if has_length and len(extradata) > 4 else b"\0\0\0\1"
        decoder.skip_frame = "NONREF"  # otherwise a packet without a picture is an error
        for _ in range(decoder.thread_count):
            yield -1, packet_of(start + b"\x09\xf0")  # an access unit delimiter
    yield -1, None


def decode_run(
    source: Source,
    reader: PacketReader,
    index: FrameIndex,
    run: Run,
    *,
    pending: set[int],
    sink: FrameSink,
    skip: bool,
    begun: Begun | None = None,
) -> DamageLog | None:
    """Decode one run and hand its sound pictures among `pending` to `sink`, which takes them off.

    Args:
        source: whose decoder is used.
        reader: whose packets are used.
        index: which packets hold which frames.
        run: the packets.
        pending: numbers of the frames that are wanted.
        sink: called once a frame.
        skip: pass over pictures that no other refers to, unless they are needed.
        begun: how the decoder has begun this very run; None if it has not.

    Returns:
        The damage that was met; None if a frame is missing, and so nothing certain is known yet.
    """
    assert index.packet is not None
    table = reader.table
    order = np.searchsorted(index.pts, table.pts[sorted(run.needed)])
    expected = set(order.tolist()) & pending
    missing = set(expected)
    trusted = _first_trusted_row(table, run.start, source.decoder.thread_count)
    damage = _RunDamage(table, index, source)

    def on_error(row: int) -> None:
        row = run.stop - 1 if row < 0 else row
        if row >= trusted:
            damage.note(UNDECODABLE, row)

    rows = packets_to_decode(source, reader, run, missing, skip=skip)
    if begun is not None:
        rows = ((row, packet) for row, packet in rows if row >= begun.next_row)
    for frame in pictures(source.decoder, rows, on_error, begun=begun):
        number = int(np.searchsorted(index.pts, NO_TIME if frame.pts is None else frame.pts))
        if number == len(index.pts) or index.pts[number] != frame.pts:
            continue
        if frame.is_corrupt:
            if frame.pts >= table.pts[run.start]:
                damage.note(DAMAGED, int(index.packet[number]))
        elif number in missing:
            sink(number, frame)
            missing.discard(number)
    return None if missing else damage.log(expected)


def packets_to_decode(
    source: Source, reader: PacketReader, run: Run, missing: set[int], *, skip: bool
) -> Iterator[tuple[int, Packet[VideoStream]]]:
    """The packets of a run, until its end or until nothing is missing any more; tells the decoder what to pass over."""
    thins = skip and source.codec == "libdav1d"
    sequence = sequence_of(source)
    with contextlib.closing(reader.read(run.start)) as packets:
        for row, packet in packets:
            passed_over = skip and row not in run.needed
            if thins:
                sequence = sequence_in_effect(memoryview(packet), sequence)
                thinned = without_unreferred(memoryview(packet), sequence) if passed_over else None
                if thinned is None or len(thinned) == packet.size:
                    yield row, packet
                elif thinned:
                    yield row, packet_of(thinned, like=packet)
            elif not (passed_over and reader.is_dispensable(packet)):
                # A packet that the decoder gets and passes over would still keep one of its threads from the next one.
                source.decoder.skip_frame = "NONREF" if passed_over else "DEFAULT"
                yield row, packet
            if row + 1 >= run.stop or not missing:
                return


def _first_trusted_row(table: PacketTable, start: int, num_threads: int) -> int:
    """From where on an error means damage.

    Pictures that are displayed before the key picture refer to what is not decoded when decoding starts there, so they
    may rightly fail, and threads report that some packets later.
    """
    keys = np.flatnonzero(table.key[start + 1 :])
    stop = start + 1 + int(keys[0]) if len(keys) else len(table)
    leading = np.flatnonzero(table.pts[start:stop] < table.pts[start])
    return start + int(leading[-1]) + 1 + num_threads if len(leading) else start


@dataclasses.dataclass(slots=True, eq=False)
class _RunDamage:
    """Damage met in one run: what, in which packets."""

    table: PacketTable
    index: FrameIndex
    source: Source
    found: list[tuple[str, int]] = dataclasses.field(default_factory=list)

    def note(self, what: str, row: int) -> None:
        self.found.append((what, row))

    def log(self, numbers: set[int]) -> DamageLog:
        """The findings, and which of the frames `numbers` come after them in the same group of pictures."""
        log = DamageLog()
        for what, row in self.found:
            log.note(what, self._seconds(int(self.table.pts[row])))
        if self.found and self.index.packet is not None:
            group = np.cumsum(self.table.key)
            first_damaged: dict[int, int] = {}
            for _, row in self.found:
                first_damaged[int(group[row])] = min(row, first_damaged.get(int(group[row]), row))
            for number in numbers:
                row = int(self.index.packet[number])
                if row >= first_damaged.get(int(group[row]), row + 1):
                    log.note(TRACES, self._seconds(int(self.index.pts[number])))
        return log

    def _seconds(self, pts: int) -> float:
        return float((pts - int(self.index.pts[0])) * self.source.time_base) if pts != NO_TIME else 0.0


def count_pictures(source: Source, reader: PacketReader, damage: DamageLog) -> FrameIndex:
    """Decode the whole file and list what is displayed, for files whose packets do not tell."""
    stamps: list[int] = []

    def on_error(_: int) -> None:
        damage.note(UNDECODABLE, (stamps[-1] - stamps[0]) * float(source.time_base) if stamps else 0.0)

    with contextlib.closing(reader.read(0)) as rows:
        for frame in pictures(source.decoder, rows, on_error):
            stamps.append(NO_TIME if frame.pts is None else frame.pts)
            if frame.is_corrupt:
                damage.note(DAMAGED, (stamps[-1] - stamps[0]) * float(source.time_base))
    return FrameIndex(pts=np.array(stamps, np.int64), packet=None)


def decode_counted(
    source: Source, reader: PacketReader, index: FrameIndex, *, pending: set[int], sink: FrameSink
) -> None:
    """Decode from the start of the file up to the last of `pending`, and hand the sound ones to `sink`."""
    last = max(pending)
    with contextlib.closing(reader.read(0)) as rows:
        for number, frame in enumerate(pictures(source.decoder, rows, lambda _: None)):
            same = number < len(index.pts) and index.pts[number] == (NO_TIME if frame.pts is None else frame.pts)
            if same and number in pending and not frame.is_corrupt:
                sink(number, frame)
            if number >= last:
                return
