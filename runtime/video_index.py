"""Which packets hold which displayed frames, and which of them must be decoded for the frames that are asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "NO_TIME",
    "SKIP_CODECS",
    "FrameIndex",
    "PacketTable",
    "Run",
    "index_packets",
    "plan_runs",
    "reorder_depth",
    "shown_pictures",
]

NO_TIME = np.iinfo(np.int64).min
"""Stands for a time stamp that a packet does not have."""

SKIP_CODECS = frozenset({"h264", "hevc", "mpeg1video", "mpeg2video", "libdav1d"})
"""Codecs of which pictures that no other refers to can be passed over without any effect on the others.

Others are decoded in full: with mpeg4 frames go missing when pictures are skipped, and every picture of VP9 may change
the entropy tables of the next ones.
"""

_REORDERING = frozenset({"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4"})
_ONE_PICTURE_A_PACKET = SKIP_CODECS | {"mpeg4", "vp8", "vp9", "mjpeg", "ffv1", "prores", "dnxhd"}
_TINY_PACKET = 24


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PacketTable:
    """The packets of the video stream in the order of decoding; P rows.

    Attributes:
        pts: int64 (P,), presentation time stamps, `NO_TIME` where absent.
        dts: int64 (P,), decoding time stamps, `NO_TIME` where absent.
        duration: int64 (P,), 0 where unknown; all three in units of the stream's time base.
        size: int64 (P,), bytes.
        key: bool (P,), decoding can start here.
        shown: bool (P,), its picture is displayed: not cut away by an edit list and not a hidden reference.
    """

    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    duration: NDArray[np.int64]
    size: NDArray[np.int64]
    key: NDArray[np.bool_]
    shown: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pts)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FrameIndex:
    """The displayed frames, in the order of display; N rows.

    Attributes:
        pts: int64 (N,), presentation time stamps, `NO_TIME` where absent.
        packet: int64 (N,), the row of `PacketTable` that holds the frame; None where frames are known by counting what
            the decoder puts out from the start of the file, because packets do not tell.
    """

    pts: NDArray[np.int64]
    packet: NDArray[np.int64] | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Packets [start, stop) to decode in one go for the packets `needed`, which end at stop - 1."""

    start: int
    stop: int
    needed: frozenset[int]


def index_packets(table: PacketTable, *, codec: str, progressive: bool, timed: bool) -> FrameIndex | None:
    """List the displayed frames from packets alone, or None where only decoding can tell.

    Packets tell if each holds one picture, all shown ones have distinct time stamps, decoding can start at the first,
    and no group of pictures reaches back in time behind an earlier one (as in files that were joined end to end).

    Args:
        table: all packets.
        codec: name of the decoder.
        progressive: whether the pictures are coded as whole frames; fields may come as packets of their own.
        timed: whether the container stores presentation times (AVI and ASF do not).
    """
    pts = table.pts[table.shown]
    if codec not in _ONE_PICTURE_A_PACKET or not progressive or (codec in _REORDERING and not timed):
        return None
    if codec == "mpeg4" and np.any(table.size < _TINY_PACKET):
        return None  # placeholders for pictures that are not coded
    if len(pts) == 0 or np.any(pts == NO_TIME) or len(np.unique(pts)) < len(pts) or not table.key[0]:
        return None
    group = np.cumsum(table.key)[table.shown]
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    earliest = np.minimum.reduceat(pts, starts)
    latest = np.maximum.reduceat(pts, starts)
    if np.any(earliest[1:] <= latest[:-1]):
        return None
    if table.shown[0] and pts.min() < table.pts[0]:
        return None  # begins with pictures that refer to what was cut off; decoders drop some of them
    packet = np.flatnonzero(table.shown)[np.argsort(pts)]
    return FrameIndex(pts=table.pts[packet], packet=packet)


def reorder_depth(table: PacketTable) -> int:
    """How many pictures a decoder has to hold back at a time to put them out in the order of their time stamps."""
    order = np.argsort(table.pts, kind="stable")
    return int((order - np.arange(len(order))).max(initial=0))


def plan_runs(
    table: PacketTable, packets: Sequence[int] | NDArray[np.int64], *, earlier_keys: int, gap: int
) -> list[Run]:
    """The runs of packets to decode for the pictures in `packets`.

    A picture is decoded from the last key packet before it; one that is displayed before that key picture (a leading
    picture) from the key packet before, since it refers to pictures of the group of pictures before.

    Args:
        table: all packets.
        packets: rows whose pictures are wanted.
        earlier_keys: start so many key packets earlier than seems needed.
        gap: go on decoding instead of starting anew where at most so many packets lie between.
    """
    keys = np.flatnonzero(table.key)
    if len(keys) == 0 or keys[0] > 0:
        keys = np.concatenate([[0], keys])
    wanted = np.sort(np.asarray(packets, np.int64))
    place = np.searchsorted(keys, wanted, side="right") - 1
    leading = table.pts[wanted] < table.pts[keys[place]]
    starts = keys[np.maximum(place - leading - earlier_keys, 0)]
    runs: list[tuple[int, list[int]]] = []
    for start, packet in zip(starts.tolist(), wanted.tolist(), strict=True):
        if runs and start <= runs[-1][1][-1] + gap:
            runs[-1][1].append(packet)
        else:
            runs.append((start, [packet]))
    return [Run(start=start, stop=needed[-1] + 1, needed=frozenset(needed)) for start, needed in runs]


def shown_pictures(codec: str, data: memoryview) -> int:
    """How many pictures a packet displays: VP8 and VP9 have hidden ones, other codecs show one a packet."""
    if codec == "vp8":
        return data[0] >> 4 & 1
    if codec == "vp9":
        return sum(_vp9_shown(data[start]) for start in _vp9_starts(data))
    return 1


def _vp9_starts(data: memoryview) -> list[int]:
    """Where the frames of a VP9 packet start; a superframe lists their sizes at its end (VP9 format, Annex B)."""
    marker = data[-1]
    count, size_bytes = (marker & 7) + 1, (marker >> 3 & 3) + 1
    index_size = 2 + count * size_bytes
    if marker & 0xE0 != 0xC0 or len(data) < index_size or data[-index_size] != marker:
        return [0]
    sizes = [
        int.from_bytes(data[place : place + size_bytes], "little")
        for place in range(len(data) - index_size + 1, len(data) - 1, size_bytes)
    ]
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    return [start for start, size in zip(starts, sizes, strict=True) if size and start < len(data)]


def _vp9_shown(header: int) -> bool:
    """Whether a VP9 frame is displayed, from the first byte of its uncompressed header (VP9 specification, 6.2)."""
    bits = header << 1 if header >> 4 & 3 == 3 else header  # profile 3 has one reserved bit more
    show_existing_frame, show_frame = bits >> 3 & 1, bits >> 1 & 1
    return bool(show_existing_frame or show_frame)
