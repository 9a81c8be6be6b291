"""Open container files safely and read their packets: from memory, or again from the file with every seek verified."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from .errors import VideoDecodeError, VideoError, VideoFormatError, WeakSVRError
from .video import MAX_PIXELS
from .video_av1 import SequenceHeader, sequence_in_effect, without_unreferred
from .video_cost import dispensable, refers
from .video_index import NO_TIME, PacketTable, reorder_depth, shown_pictures
from .video_samples import SampleFile, open_samples

__all__ = [
    "FORMATS",
    "DamageLog",
    "PacketReader",
    "Source",
    "hold_back",
    "open_source",
    "packet_of",
    "sequence_of",
    "translate_errors",
]

FORMATS = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "asf")
"""Demuxers that may be used: containers of video. No playlists, no scripts, no images, no raw streams."""

ACCEPTED = "mp4, mov, mkv, webm, avi, ts, mpg, flv, wmv"

_UNTIMED_FORMATS = frozenset({"avi", "asf"})  # one time stamp a packet, which is not that of display with B-frames
_PROGRESSIVE_ORDERS = frozenset({0, 1})  # AV_FIELD_UNKNOWN, AV_FIELD_PROGRESSIVE
# With several threads these hand out pictures before it is known whether they are damaged.
_LATE_DAMAGE_CODECS = frozenset({"mpeg4"})
_AV1_BOX_BEGINS, _AV1_BOX_HEAD_BYTES = b"\x81", 4  # `av1C`: marker and version, then OBUs after four bytes
_HEAD_BYTES = 4096  # enough to come to the header of a picture
_SEEK_STEPS_SECONDS = (0, 1, 2, 4, 8, 16)


@contextlib.contextmanager
def translate_errors(name: str, kind: type[VideoError], doing: str) -> Iterator[None]:
    """Turn whatever the media library raises into one line of the project's own errors."""
    try:
        yield
    except WeakSVRError:
        raise
    except PermissionError as error:
        raise VideoError(f"{name}: may not be read (permission denied); change its permissions") from error
    except (av.FFmpegError, OSError, ValueError, RuntimeError, MemoryError, LookupError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise kind(f"{name}: {doing} ({reason})") from error


class DamageLog:
    """Collects what is found damaged; the same finding twice counts once."""

    def __init__(self) -> None:
        self._places: defaultdict[str, set[float]] = defaultdict(set)
        self._lines: dict[str, None] = {}

    def note(self, what: str, seconds: float) -> None:
        """Count a finding at a time (seconds after the first packet)."""
        self._places[what].add(round(seconds, 3))

    def note_line(self, line: str) -> None:
        """Keep a finding that has no time."""
        self._lines[line] = None

    def merge(self, other: DamageLog) -> None:
        for what, places in other._places.items():
            self._places[what] |= places
        self._lines |= other._lines

    def lines(self) -> tuple[str, ...]:
        counted = (f"{what}: {len(times)}, the first at {min(times):.2f} s" for what, times in self._places.items())
        return (*self._lines, *counted)


@dataclasses.dataclass(kw_only=True, slots=True, eq=False)
class Source:
    """An open container with its one video stream and that stream's decoder."""

    container: InputContainer
    stream: VideoStream
    decoder: VideoCodecContext
    codec: str

    @property
    def time_base(self) -> Fraction:
        return self.stream.time_base or Fraction(1, av.time_base)

    @property
    def timed(self) -> bool:
        """Whether the container stores presentation times."""
        return self.container.format.name not in _UNTIMED_FORMATS

    @property
    def progressive(self) -> bool:
        """Whether the pictures are known to be coded as whole frames, or nothing is known."""
        return self.decoder.field_order in _PROGRESSIVE_ORDERS


def open_source(path: str, name: str, *, num_threads: int, strict: bool = False, probe: bool = True) -> Source:
    """Open a container file and prepare the decoder of its best video stream; other streams are not read.

    Args:
        path: a regular file, already checked.
        name: the path in messages.
        num_threads: threads of the decoder.
        strict: let the decoder hold back as many pictures as the standard allows, where the stream does not say how
            many it needs; slower to put out, never drops a picture that comes in an unexpected order.
        probe: decode the first pictures to learn how many are held back; else what the container and the headers say
            has to do, and `hold_back` mends it where more is known.

    Raises:
        VideoFormatError: if it is not a video, or one whose frames are absurdly large.
    """
    limits = {"max_pixels": str(MAX_PIXELS)}
    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file", **limits}
    if not probe:
        options["skip_frame"] = "all"  # concerns the decoder that looks for parameters, not the one that is used
    # An absolute path cannot be taken for an address, whatever the file is called.
    with translate_errors(
        name, VideoFormatError, f"is not a video that can be read, or its header is cut off; accepted are {ACCEPTED}"
    ):
        container = av.open(str(Path(path).absolute()), mode="r", options=options, metadata_errors="replace")
    try:
        with translate_errors(name, VideoFormatError, "its header is damaged"):
            return _prepare(container, name, num_threads, limits | ({"strict": "1"} if strict else {}))
    except BaseException:
        container.close()
        raise


def _prepare(container: InputContainer, name: str, num_threads: int, options: dict[str, str]) -> Source:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        if any(other.type == "audio" for other in container.streams):
            raise VideoFormatError(f"{name}: has no video, only sound")
        raise VideoFormatError(f"{name}: has no video in it, or its header is cut off")
    decoder = stream.codec_context
    if decoder is None:
        raise VideoFormatError(f"{name}: is coded in a way for which there is no decoder; convert it to H.264")
    if decoder.width * decoder.height > MAX_PIXELS:
        raise VideoFormatError(
            f"{name}: frames of {decoder.width} x {decoder.height} are too large; at most {MAX_PIXELS} pixels are read"
        )
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    decoder.thread_count = 1 if decoder.name in _LATE_DAMAGE_CODECS else num_threads
    decoder.thread_type = "AUTO"
    decoder.options = options
    return Source(container=container, stream=stream, decoder=decoder, codec=decoder.name)


def hold_back(source: Source, table: PacketTable) -> int:
    """Have the decoder hold back as many pictures as their order in the packets needs; call it before decoding.

    Returns:
        How many pictures it holds back at least.
    """
    needed = reorder_depth(table)
    if source.codec == "h264" and needed > source.decoder.reorder_depth:
        source.decoder.options = source.decoder.options | {"strict": "1"}
    return max(needed, source.decoder.reorder_depth)


def packet_of(data: bytes, *, like: Packet[VideoStream] | None = None) -> Packet[VideoStream]:
    """A packet with a padded copy of `data` in memory of its own, with the times of another if one is given.

    A packet made from a Python object directly would be freed under the interpreter's lock by a thread of the decoder,
    while the decoder's end waits for that thread with the lock held.
    """
    packet: Packet[VideoStream] = Packet(len(data))  # type: ignore[assignment]
    memoryview(packet)[:] = data
    if like is not None:
        packet.pts, packet.dts, packet.is_keyframe = like.pts, like.dts, like.is_keyframe
    return packet


def sequence_of(source: Source) -> SequenceHeader | None:
    """The sequence header that an AV1 file carries beside its packets."""
    if source.codec != "libdav1d":
        return None
    extradata = source.decoder.extradata or b""
    boxed = extradata[:1] == _AV1_BOX_BEGINS
    return sequence_in_effect(extradata[_AV1_BOX_HEAD_BYTES if boxed else 0 :], None)


def _length_bytes(source: Source) -> int:
    """Size of the length that stands before each unit of H.264 and HEVC; 0 where start codes do."""
    extradata = source.decoder.extradata or b""
    place = {"h264": 4, "hevc": 21}.get(source.codec)
    if place is None or len(extradata) <= place or extradata[0] != 1:
        return 0
    return (extradata[place] & 3) + 1


class _ReadAhead:
    """Packets, of which the first can be looked at before they are taken."""

    def __init__(self, packets: Iterator[Packet[VideoStream]]) -> None:
        self._packets = packets
        self._first: list[Packet[VideoStream]] = []
        self._error: Exception | None = None

    def first(self, count: int) -> Sequence[Packet[VideoStream]]:
        try:
            self._first += itertools.islice(self._packets, count - len(self._first))
        except (av.FFmpegError, OSError, ValueError) as error:
            self._error = error
        return self._first

    def __iter__(self) -> Iterator[Packet[VideoStream]]:
        yield from self._first
        if self._error is not None:
            raise self._error
        yield from self._packets


class PacketReader:
    """The packets of a source, listed once and readable from any key packet on.

    Attributes:
        table: all packets.
        one_picture: no packet displays more than one picture.
    """

    def __init__(self, source: Source, path: str, name: str, *, budget: int, damage: DamageLog) -> None:
        self._source = source
        self._path = path
        self._name = name
        self._packets: list[Packet[VideoStream]] | None = []
        self._refers: list[bool] = []
        self._length_bytes = _length_bytes(source)
        self._sequence = sequence_of(source)
        self._rows: dict[tuple[int | None, int], int] = {}
        self.one_picture = True
        packets = _ReadAhead(source.container.demux(source.stream))
        self._samples = open_samples(source, path, packets.first)
        self.table = self._scan(packets, budget, damage) if self._samples is None else self._samples.table

    def close(self) -> None:
        """Close what was opened beside the source."""
        if self._samples is not None:
            self._samples.close()

    @property
    def at_hand(self) -> bool:
        """Whether several threads may read packets at the same time."""
        return self._samples is not None or self._packets is not None

    def referred(self, rows: Iterable[int]) -> list[bool]:
        """Whether other pictures may refer to those of packets `rows`."""
        if self._samples is not None:
            heads = (self._samples.read(row, at_most=_HEAD_BYTES) for row in rows)
            return [self._is_referred(memoryview(head)) for head in heads]
        if self._packets is None:
            return [self._refers[row] for row in rows]
        return [self._is_referred(memoryview(self._packets[row])) for row in rows]

    def is_dispensable(self, packet: Packet[VideoStream]) -> bool:
        """Whether nothing but its own picture is missing if the decoder never gets this packet."""
        return dispensable(self._source.codec, memoryview(packet), self._length_bytes)

    def read(self, start: int) -> Generator[tuple[int, Packet[VideoStream]]]:
        """(row, packet) from row `start` to the last. May leave the decoder flushed: use it before decoding.

        Raises:
            VideoDecodeError: if the file has changed since it was listed.
        """
        if self._samples is not None:
            for row in range(start, len(self.table)):
                yield row, self._sample(self._samples, row)
        elif self._packets is not None:
            yield from enumerate(itertools.islice(self._packets, start, None), start)
        elif start == 0 or not self._seek_before(start):
            yield from self._read_from_beginning(start)
        else:
            yield from self._read_on(start)

    def _sample(self, samples: SampleFile, row: int) -> Packet[VideoStream]:
        data = samples.read(row)
        if len(data) < self.table.size[row]:
            raise VideoDecodeError(f"{self._name}: has changed since it was opened; open it again")
        packet = packet_of(data)
        packet.pts, packet.dts = int(self.table.pts[row]), int(self.table.dts[row])
        packet.is_keyframe = bool(self.table.key[row])
        return packet

    def _scan(self, packets: Iterable[Packet[VideoStream]], budget: int, damage: DamageLog) -> PacketTable:
        rows: list[tuple[int | None, int | None, int | None, int, bool, bool, bool]] = []
        shown: list[int] = []
        total = 0
        hides = self._source.codec in {"vp8", "vp9"}
        try:
            for packet in packets:
                size = packet.size
                if size == 0:
                    continue  # nothing in it; a decoder would take it for the end
                if hides:
                    shown.append(shown_pictures(self._source.codec, memoryview(packet)))
                rows.append(
                    (
                        packet.pts,
                        packet.dts,
                        packet.duration,
                        size,
                        packet.is_keyframe,
                        packet.is_discard,
                        packet.is_corrupt,
                    )
                )
                total += size
                if self._packets is None:
                    self._refers.append(self._is_referred(memoryview(packet)))
                    continue
                self._packets.append(packet)
                if total > budget:
                    self._refers = [self._is_referred(memoryview(kept)) for kept in self._packets]
                    self._packets = None
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            damage.note_line(f"reading stopped before the end of the file after {len(rows)} packets ({reason})")
        pts, dts, duration, sizes, key, discard, corrupt = zip(*rows, strict=True) if rows else [()] * 7
        table = PacketTable(
            pts=np.array([NO_TIME if stamp is None else stamp for stamp in pts], np.int64),
            dts=np.array([NO_TIME if stamp is None else stamp for stamp in dts], np.int64),
            duration=np.array([length or 0 for length in duration], np.int64),
            size=np.array(sizes, np.int64),
            key=np.array(key, np.bool_),
            shown=~np.array(discard, np.bool_) & np.array(shown if hides else [1] * len(rows), np.bool_),
        )
        self.one_picture = max(shown, default=1) <= 1
        for row in np.flatnonzero(np.array(corrupt, np.bool_)):
            stamp = int(max(table.pts[row], table.dts[row], 0))
            damage.note("damaged packets", stamp * float(self._source.time_base))
        self._check_complete(table, damage)
        return table

    def _is_referred(self, data: memoryview) -> bool:
        if self._source.codec == "libdav1d":
            return len(without_unreferred(data, self._sequence)) > 0
        return refers(self._source.codec, data, self._length_bytes)

    def _check_complete(self, table: PacketTable, damage: DamageLog) -> None:
        """Compare what was read with what the container says it holds, where it says so reliably."""
        listed = len(self._source.stream.index_entries) if "mp4" in self._source.container.format.name else 0
        if len(table) < listed:
            damage.note_line(f"cut off: {len(table)} of {listed} packets are there")

    def _seek_before(self, start: int) -> bool:
        """Place the container at or before row `start`; False if no seek lands there."""
        if not self._rows:
            keys = zip(self.table.pts.tolist(), self.table.size.tolist(), strict=True)
            self._rows = {key: row for row, key in reversed(list(enumerate(keys)))}
        table, source = self.table, self._source
        stamps = [int(stamp) for stamp in (table.pts[start], table.dts[start]) if stamp != NO_TIME]
        for step in _SEEK_STEPS_SECONDS:
            for stamp in stamps:
                try:
                    source.container.seek(stamp - int(step / source.time_base), stream=source.stream)
                    row = next((self._row_of(packet) for packet in self._demux(source)), None)
                    if row is not None and row <= start:
                        source.container.seek(stamp - int(step / source.time_base), stream=source.stream)
                        return True
                except (av.FFmpegError, OSError):
                    continue
        return False

    def _row_of(self, packet: Packet[VideoStream]) -> int | None:
        return self._rows.get((NO_TIME if packet.pts is None else packet.pts, packet.size))

    def _read_on(self, start: int) -> Iterator[tuple[int, Packet[VideoStream]]]:
        row: int | None = None
        for packet in self._demux(self._source):
            row = self._row_of(packet) if row is None else row + 1
            if row is None or row >= len(self.table) or packet.size != self.table.size[row]:
                return  # not where it seemed to be; the frame is missing then and is looked for from further back
            if row >= start:
                yield row, packet

    def _read_from_beginning(self, start: int) -> Iterator[tuple[int, Packet[VideoStream]]]:
        fresh = open_source(self._path, self._name, num_threads=1)
        try:
            for row, packet in enumerate(self._demux(fresh)):
                if row >= len(self.table) or packet.size != self.table.size[row]:
                    raise VideoDecodeError(f"{self._name}: has changed since it was opened; open it again")
                if row >= start:
                    yield row, packet
        finally:
            fresh.container.close()

    @staticmethod
    def _demux(source: Source) -> Iterator[Packet[VideoStream]]:
        with contextlib.suppress(av.FFmpegError, OSError):  # the scan has noted where reading stops
            yield from (packet for packet in source.container.demux(source.stream) if packet.size)
