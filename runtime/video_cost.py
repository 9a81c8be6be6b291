"""What frames cost to decode, and the frames that cost least. Known from the packets; nothing is decoded for it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .video_index import SKIP_CODECS, FrameIndex, PacketTable, Run, plan_runs

__all__ = ["CostModel", "DecodePlan", "count_plan", "dispensable", "refers", "within"]

_ASIDES = frozenset({35, 38, 39, 40})  # of HEVC
_PIXELS_PER_BYTE = 50
"""So many pixels of a picture take about as long to decode as one byte of it (H.264, 720 lines, one thread)."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DecodePlan:
    """What is decoded for a set of frames.

    Attributes:
        num_frames: distinct frames that are wanted.
        num_packets: packets that are given to the decoder.
        num_pictures: pictures that it decodes; it passes over the other packets.
        num_bytes: compressed size of these pictures.
        num_runs: places where decoding starts anew.
    """

    num_frames: int
    num_packets: int
    num_pictures: int
    num_bytes: int
    num_runs: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CostModel:
    """The costs of a file whose packets tell which frames they hold.

    Attributes:
        table: all packets.
        packet: int64 (N,), the row of each displayed frame.
        reference: bool (P,), False for pictures that the decoder passes over unless they are wanted themselves.
        pixels: of one picture.
        gap: as in `plan_runs`.
    """

    table: PacketTable
    packet: NDArray[np.int64]
    reference: NDArray[np.bool_]
    pixels: int
    gap: int

    def __post_init__(self) -> None:
        table = self.table
        keys = np.flatnonzero(table.key)
        if len(keys) == 0 or keys[0] > 0:
            keys = np.concatenate([[0], keys])
        price = table.size + self.pixels // _PIXELS_PER_BYTE
        before = np.concatenate([[0], np.cumsum(price * self.reference)])
        group = np.searchsorted(keys, np.arange(len(table)), side="right") - 1
        leading = table.pts < table.pts[keys[group]]
        start = keys[np.maximum(group - leading, 0)]
        for name, value in {"_price": price, "_before": before, "_start": start}.items():
            object.__setattr__(self, name, value)

    _price: NDArray[np.int64] = dataclasses.field(init=False, repr=False)
    _before: NDArray[np.int64] = dataclasses.field(init=False, repr=False)
    _start: NDArray[np.int64] = dataclasses.field(init=False, repr=False)

    def plan(self, numbers: NDArray[np.int64]) -> DecodePlan:
        """The plan for frame numbers."""
        runs = plan_runs(self.table, self.packet[np.unique(numbers)], earlier_keys=0, gap=self.gap)
        decoded = np.concatenate([np.zeros(0, np.int64), *(self._decoded(run) for run in runs)])
        return DecodePlan(
            num_frames=len(np.unique(numbers)),
            num_packets=sum(run.stop - run.start for run in runs),
            num_pictures=len(decoded),
            num_bytes=int(self.table.size[decoded].sum()),
            num_runs=len(runs),
        )

    def cost(self, numbers: NDArray[np.int64]) -> int:
        """How long decoding takes, in bytes: those of the pictures, and their pixels at their worth."""
        plan = self.plan(numbers)
        return plan.num_bytes + plan.num_pictures * (self.pixels // _PIXELS_PER_BYTE)

    def cheapest(self, segments: NDArray[np.int64]) -> NDArray[np.int64]:
        """One frame of each segment, so that all together cost little, and never more than the middles.

        Frames share the pictures that lead up to them from a key picture. Segments are settled in order of time; for
        each end of the chain so far (the place up to which a group of pictures is decoded) the least cost is kept.

        Args:
            segments: int64 (T, 2), first and one past the last frame number of each.

        Returns:
            int64 (T,), a frame number for each segment.
        """
        order = np.argsort(segments.mean(axis=1), kind="stable")
        chains: dict[tuple[int, int], tuple[int, tuple[int, ...]]] = {(-1, 0): (0, ())}
        for low, high in segments[order].tolist():
            longer: dict[tuple[int, int], tuple[int, tuple[int, ...]]] = {}
            for (start, reach), (cost, chosen) in chains.items():
                for number in self._candidates(low, high):
                    end, more = self._extend(start, reach, number)
                    best = longer.get(end)
                    if best is None or (cost + more, *chosen, number) < (best[0], *best[1]):
                        longer[end] = (cost + more, (*chosen, number))
            chains = longer
        _, numbers = min(chains.values())
        found = np.empty(len(segments), np.int64)
        found[order] = numbers
        found = self._towards_middles(found, segments)
        middles = segments.sum(axis=1) // 2
        return found if self.cost(found) <= self.cost(middles) else middles

    def _decoded(self, run: Run) -> NDArray[np.int64]:
        rows = np.arange(run.start, run.stop)
        return rows[self.reference[rows] | np.isin(rows, sorted(run.needed))]

    def _candidates(self, low: int, high: int) -> list[int]:
        """Frames of a segment among which the best one is, whatever is decoded before.

        Groups that lie within share nothing with other segments; the cheapest frame of theirs stands for them all.
        """
        starts = self._start[self.packet[low:high]]
        borders = [low, *(low + 1 + np.flatnonzero(np.diff(starts))).tolist(), high]
        ends: list[int] = []
        inner: list[tuple[int, int]] = []
        for first, last in itertools.pairwise(borders):
            best = self._foremost(first, last)
            if low < first and last < high:
                inner += [(self._extend(-1, 0, number)[1], number) for number in best]
            else:
                ends += best
        return sorted({*ends, *([min(inner)[1]] if inner else [])})

    def _foremost(self, first: int, last: int) -> list[int]:
        """Of frames in one group of pictures the first in decoding that others refer to, and all before it."""
        rows = self.packet[first:last]
        references = np.flatnonzero(self.reference[rows])
        limit = rows[references].min() if len(references) else rows.max()
        return (first + np.flatnonzero(rows <= limit)).tolist()

    def _extend(self, start: int, reach: int, number: int) -> tuple[tuple[int, int], int]:
        """(start, reach) after one more frame, and what it adds to the cost. Rows from start to reach are decoded."""
        row = int(self.packet[number])
        own = 0 if self.reference[row] else int(self._price[row])
        begin = int(self._start[row])
        if begin == start:
            further = max(reach, row + 1)
            return (start, further), own + int(self._before[further] - self._before[reach])
        return (begin, row + 1), own + int(self._before[row + 1] - self._before[begin])

    def _towards_middles(self, numbers: NDArray[np.int64], segments: NDArray[np.int64]) -> NDArray[np.int64]:
        """Exchange frames for those nearest the middle of their segment that are decoded anyway."""
        decoded = np.zeros(len(self.table), np.bool_)
        for run in plan_runs(self.table, self.packet[np.unique(numbers)], earlier_keys=0, gap=0):
            decoded[self._decoded(run)] = True
        shown = decoded & self.reference
        found = numbers.copy()
        for place, (low, high) in enumerate(segments.tolist()):
            free = low + np.flatnonzero(shown[self.packet[low:high]])
            if len(free):
                found[place] = free[np.abs(2 * free + 1 - low - high).argmin()]
        return found


def count_plan(index: FrameIndex, table: PacketTable, numbers: NDArray[np.int64]) -> DecodePlan:
    """The plan for a file whose frames are known by counting: everything from the start on."""
    pictures = int(numbers.max(initial=-1)) + 1
    share = pictures / len(index.pts)
    return DecodePlan(
        num_frames=len(np.unique(numbers)),
        num_packets=round(len(table) * share),
        num_pictures=pictures,
        num_bytes=round(int(table.size.sum()) * share),
        num_runs=min(1, pictures),
    )


def within(segments: NDArray[np.int64], last: int) -> NDArray[np.int64]:
    """The middle frame of each segment, or one before it that is not after `last` where the segment has one."""
    middles = segments.sum(axis=1) // 2
    return np.asarray(np.maximum(np.minimum(middles, last), segments[:, 0]), np.int64)


def refers(codec: str, data: memoryview, length_bytes: int) -> bool:
    """Whether other pictures may refer to the picture of a packet; True where that cannot be told.

    Args:
        codec: name of the decoder.
        data: the packet.
        length_bytes: size of the length before each unit of H.264 and HEVC; 0 where start codes stand before them.
    """
    if codec not in SKIP_CODECS:
        return True
    if codec in {"mpeg1video", "mpeg2video"}:
        place = bytes(data[:4096]).find(b"\0\0\1\0")
        return place < 0 or len(data) < place + 6 or data[place + 5] >> 3 & 7 != 3
    for unit in _unit_heads(data, length_bytes):
        if codec == "h264" and unit & 31 in {1, 2, 5}:
            return unit & 0x60 != 0
        if codec == "hevc" and unit >> 1 & 63 < 32:
            kind = unit >> 1 & 63
            return kind > 14 or kind & 1 == 1
    return True


def dispensable(codec: str, data: memoryview, length_bytes: int) -> bool:
    """Whether a packet of H.264 or HEVC holds slices of a picture that no other refers to, and nothing that is needed
    for others: no parameter sets. False where that cannot be told. Arguments as in `refers`.
    """
    if codec not in {"h264", "hevc"}:
        return False
    units = _unit_heads(data, length_bytes)
    if codec == "h264":  # 1: slice; 6: SEI, 9: delimiter, 12: filler
        slices = [unit for unit in units if unit & 31 == 1]
        others = [unit & 31 for unit in units if unit & 31 != 1]
        return bool(slices) and not any(unit & 0x60 for unit in slices) and set(others) <= {6, 9, 12}
    kinds = [unit >> 1 & 63 for unit in units]
    # 0 to 14, even: slices that none of the same layer refers to; 35: delimiter, 38: filler, 39 and 40: SEI
    slices = [kind for kind in kinds if kind < 32]
    return bool(slices) and all(kind <= 14 and kind % 2 == 0 for kind in slices) and set(kinds) <= {*slices, *_ASIDES}


def _unit_heads(data: memoryview, length_bytes: int) -> Sequence[int]:
    """The first byte of each unit of a packet."""
    heads: list[int] = []
    if length_bytes:
        place = 0
        while place + length_bytes < len(data):
            heads.append(data[place + length_bytes])
            place += length_bytes + int.from_bytes(data[place : place + length_bytes], "big")
        return heads
    text = bytes(data)
    place = text.find(b"\0\0\1")
    while 0 <= place < len(text) - 3:
        heads.append(text[place + 3])
        place = text.find(b"\0\0\1", place + 3)
    return heads
