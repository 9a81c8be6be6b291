"""MP4 and MOV: all packets from the tables in the file's header, their bytes straight from their places in the file.

FFmpeg has read most of these tables when it opens a file; it keeps the times of display to itself until it reads the
packets, so those come from the `ctts` box (ISO/IEC 14496-12, 8.6.1). A file counts as plain, and is read like this,
only if everything that both have read agrees, and so do the first packets that FFmpeg gives. Else its packets are
listed one by one. Key pictures that the file does not name as such are not found; decoding then starts earlier.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .video_index import PacketTable

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

    from .video_packets import Source

__all__ = ["FirstPackets", "SampleFile", "open_samples"]

FirstPackets = Callable[[int], "Sequence[Packet[VideoStream]]"]

_CODECS = frozenset({"h264", "hevc", "libdav1d"})  # a packet is a sample, byte for byte
_MAX_HEADER_BYTES = 1 << 28
_PROOF = 32  # packets of which everything is compared


@dataclasses.dataclass(kw_only=True, slots=True, eq=False)
class SampleFile:
    """A plain file, open for reading at any place, from any thread.

    Attributes:
        table: its packets.
        offset: int64 (P,), where in the file each begins.
    """

    table: PacketTable
    offset: NDArray[np.int64]
    _file: BinaryIO

    def read(self, row: int, *, at_most: int | None = None) -> bytes:
        """The bytes of a packet, or the first `at_most`; fewer if the file has become shorter."""
        size = int(self.table.size[row])
        return _read_at(self._file, int(self.offset[row]), size if at_most is None else min(size, at_most))

    def close(self) -> None:
        self._file.close()


def open_samples(source: Source, path: str, first: FirstPackets) -> SampleFile | None:
    """The packets of a plain MP4 or MOV file, None if it is another or may not be plain.

    Args:
        source: the file as FFmpeg has opened it.
        path: the same file.
        first: gives as many packets from the beginning as it is asked for, fewer if there are not so many.
    """
    if "mp4" not in source.container.format.name or source.codec not in _CODECS or not hasattr(os, "pread"):
        return None
    with contextlib.ExitStack() as on_failure:
        try:
            file = on_failure.enter_context(open(path, "rb"))  # noqa: PTH123 - stays open
            found = _read_tables(source, file)
            if found is None or not _proved(first(_PROOF), found):
                return None
        except (OSError, ValueError, LookupError, struct.error):
            return None
        on_failure.pop_all()
        return found


def _read_tables(source: Source, file: BinaryIO) -> SampleFile | None:
    header = _header(file)
    track = None if header is None else _track(header, source.stream.id)
    if track is None:
        return None
    entries = source.stream.index_entries
    rows = [(entry.pos, entry.timestamp, entry.size, entry.is_keyframe, entry.is_discard) for entry in entries]
    count = len(rows)
    durations, shifts, sizes = _runs(track, b"stts", count), _runs(track, b"ctts", count), _sizes(track)
    if not rows or durations is None or shifts is None:
        return None
    offset, dts, size, key, discard = (np.array(column) for column in zip(*rows, strict=True))
    fits = np.array_equal(size, sizes) and np.array_equal(np.diff(dts), durations[:-1]) and not discard.any()
    if not fits or size.min() <= 0 or offset.min() < 0 or (offset + size).max() > os.fstat(file.fileno()).st_size:
        return None
    table = PacketTable(
        pts=dts + shifts, dts=dts, duration=durations, size=size, key=key, shown=np.ones(count, np.bool_)
    )
    return SampleFile(table=table, offset=offset, _file=file)


def _proved(first: Sequence[Packet[VideoStream]], found: SampleFile) -> bool:
    """Compare the first packets with what FFmpeg gives; the constant that it adds to all times of display is learnt."""
    table = found.table
    first = [packet for packet in first if packet.size]  # the last one of a file is empty
    if len(first) < min(_PROOF, len(table)) or first[0].pts is None:
        return False
    table.pts[:] += first[0].pts - table.pts[0]
    return all(
        (packet.pts, packet.dts, packet.size, packet.is_keyframe)
        == (table.pts[row], table.dts[row], table.size[row], table.key[row])
        and not (packet.is_corrupt or packet.is_discard or any(True for _ in packet.iter_sidedata()))
        and bytes(packet) == found.read(row)
        for row, packet in enumerate(first)
    )


def _read_at(file: BinaryIO, place: int, size: int) -> bytes:
    parts = []
    while size > 0:
        part = os.pread(file.fileno(), size, place)
        if not part:
            break
        parts.append(part)
        place, size = place + len(part), size - len(part)
    return b"".join(parts)


def _header(file: BinaryIO) -> bytes | None:
    """What is in the `moov` box; None if there is none, or there are fragments."""
    end = os.fstat(file.fileno()).st_size
    place, header = 0, None
    while place + 8 <= end:
        size, kind = struct.unpack(">I4s", _read_at(file, place, 8))
        start = place + 8
        if size == 1:
            (size,) = struct.unpack(">Q", _read_at(file, start, 8))
            start += 8
        size = size or end - place
        if size < start - place or kind == b"moof":
            return None
        if kind == b"moov":
            if header is not None or size > _MAX_HEADER_BYTES:
                return None
            header = _read_at(file, start, place + size - start)
        place += size
    return header


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """(type, content) of the boxes in a box. Raises `ValueError` if they do not fit into it."""
    while len(data) >= 8:
        size, kind = struct.unpack_from(">I4s", data)
        start = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, 8)
            start = 16
        size = size or len(data)
        if not start <= size <= len(data):
            raise ValueError("a box is larger than what it is in")
        yield kind, data[start:size]
        data = data[size:]


def _child(data: memoryview, *path: bytes) -> memoryview:
    """The only box of a type in the only one of a type, and so on. Raises `ValueError`."""
    for name in path:
        (data,) = (content for kind, content in _boxes(data) if kind == name)
    return data


def _track(header: bytes, number: int) -> memoryview | None:
    """The `stbl` box of the track of that number, None if not every sample is described there, or not in one way."""
    boxes = list(_boxes(memoryview(header)))
    if any(kind == b"mvex" for kind, _ in boxes):
        return None
    for kind, track in boxes:
        if kind != b"trak":
            continue
        head = _child(track, b"tkhd")
        (found,) = struct.unpack_from(">I", head, 20 if head[0] == 1 else 12)
        if found == number:
            table = _child(track, b"mdia", b"minf", b"stbl")
            (descriptions,) = struct.unpack_from(">I", _child(table, b"stsd"), 4)
            return table if descriptions == 1 else None
    return None


def _runs(table: memoryview, name: bytes, count: int) -> NDArray[np.int64] | None:
    """The values of `stts` or `ctts`, stored as (how many, value); zeros for a box that is not there. None if there are
    not `count`.
    """
    if not any(kind == name for kind, _ in _boxes(table)):
        return np.zeros(count, np.int64)
    box = _child(table, name)
    (lines,) = struct.unpack_from(">I", box, 4)
    pairs = np.frombuffer(box, ">i4", count=2 * lines, offset=8).astype(np.int64).reshape(-1, 2)
    if (pairs[:, 0] < 0).any() or pairs[:, 0].sum() != count:
        return None
    return np.repeat(pairs[:, 1], pairs[:, 0])


def _sizes(table: memoryview) -> NDArray[np.int64]:
    """The sizes of `stsz`."""
    box = _child(table, b"stsz")
    each, count = struct.unpack_from(">II", box, 4)
    if each:
        return np.full(count, each, np.int64)
    return np.frombuffer(box, ">u4", count=count, offset=12).astype(np.int64)
