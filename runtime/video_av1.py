"""AV1: packets without the frames that no other refers to. Reads headers alone (AV1 Bitstream & Decoding Process, 5.5
and 5.9.2).

A frame refreshes slots that later frames predict from, and take their entropy tables, segmentation and filter values
from as well; one that refreshes none leaves no trace. The decoder has to be spared such packets as a whole: it can pass
over kinds of frames only if it is told so when it is opened.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

__all__ = ["SequenceHeader", "sequence_in_effect", "without_unreferred"]

_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME = 1, 3, 6
_PARTS_OF_FRAME = frozenset({_FRAME_HEADER, 4, _FRAME, 7})  # 4: tile group, 7: redundant frame header
_KEY_FRAME, _INTRA_ONLY_FRAME, _SWITCH_FRAME = 0, 2, 3
_CHOSEN_PER_FRAME = 2


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SequenceHeader:
    """What the header of a frame depends on.

    Attributes:
        frame_id_bits: size of the number that each frame carries, 0 for none.
        order_hint_bits: size of the order hint, 0 for none.
        screen_content_tools, integer_mv: 0, 1, or 2 where each frame says so itself.
    """

    frame_id_bits: int
    order_hint_bits: int
    screen_content_tools: int
    integer_mv: int


class _Bits:
    """Reads bits, the highest of a byte first. Raises `IndexError` after the last."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data, self._place = data, 0

    def read(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | self._data[self._place >> 3] >> (7 - (self._place & 7)) & 1
            self._place += 1
        return value

    def flag(self) -> bool:
        return bool(self.read(1))


def sequence_in_effect(data: bytes | memoryview, before: SequenceHeader | None) -> SequenceHeader | None:
    """The sequence header that holds after these OBUs: theirs, or if they have none the one from before.

    None for one with which frame headers cannot be read here: that of still pictures, and one with a decoder model.
    """
    for kind, _, payload in _units(data):
        if kind == _SEQUENCE_HEADER:
            try:
                return _sequence(_Bits(payload))
            except IndexError:
                return None
    return before


def without_unreferred(data: bytes | memoryview, sequence: SequenceHeader | None) -> bytes:
    """A packet without the frames that nothing refers to, empty if that leaves no frame; whole where it cannot be told.

    Args:
        data: the packet, OBUs.
        sequence: the header of the packet's sequence, None if it is not known.
    """
    if sequence is None:
        return bytes(data)
    kept: list[memoryview] = []
    drop, frames = False, 0
    for kind, unit, payload in _units(data):
        if kind == _SEQUENCE_HEADER:
            return bytes(data)  # the start of a sequence, which may be another one
        if kind in (_FRAME_HEADER, _FRAME):
            try:
                drop = _refreshed(_Bits(payload), sequence) == 0
            except IndexError:
                return bytes(data)
            frames += not drop
        if not (drop and kind in _PARTS_OF_FRAME):
            kept.append(unit)
    return b"".join(kept) if frames else b""


def _units(data: bytes | memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """(type, whole, payload) of each OBU; one that is cut off is as long as what there is of it."""
    rest = memoryview(data)
    while len(rest) > 1:
        header = rest[0]
        place = 2 if header & 4 else 1
        size = len(rest) - place
        if header & 2:
            size = 0
            for shift in range(0, 56, 7):
                if place >= len(rest):
                    return
                size |= (rest[place] & 127) << shift
                place += 1
                if rest[place - 1] < 128:
                    break
        yield header >> 3 & 15, rest[: place + size], rest[place : place + size]
        rest = rest[place + size :]


def _sequence(bits: _Bits) -> SequenceHeader | None:
    bits.read(3)  # profile
    still, reduced = bits.flag(), bits.flag()
    if still or reduced:
        return None
    if bits.flag():  # timing info
        bits.read(64)
        if bits.flag():
            _skip_uvlc(bits)
        if bits.flag():
            return None  # a decoder model
    delays_present = bits.flag()
    for _ in range(bits.read(5) + 1):  # operating points
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)
        if delays_present and bits.flag():
            bits.read(4)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    bits.read(width_bits + height_bits)
    frame_id_bits = bits.read(4) + bits.read(3) + 3 if bits.flag() else 0
    bits.read(7)  # superblock size, intra filter and edges, compounds, warped motion, dual filter
    order_hint = bits.flag()
    if order_hint:
        bits.read(2)
    tools = _CHOSEN_PER_FRAME if bits.flag() else bits.read(1)
    integer_mv = _CHOSEN_PER_FRAME
    if tools > 0:
        integer_mv = _CHOSEN_PER_FRAME if bits.flag() else bits.read(1)
    return SequenceHeader(
        frame_id_bits=frame_id_bits,
        order_hint_bits=bits.read(3) + 1 if order_hint else 0,
        screen_content_tools=tools,
        integer_mv=integer_mv,
    )


def _skip_uvlc(bits: _Bits) -> None:
    zeros = 0
    while not bits.flag():
        zeros += 1
    if zeros < 32:
        bits.read(zeros)


def _refreshed(bits: _Bits, sequence: SequenceHeader) -> int:
    """The slots that a frame refreshes, one bit each; all for a frame that shows an earlier one, which may do so."""
    everything = 255
    if bits.flag():  # show_existing_frame
        return everything
    kind, shown = bits.read(2), bits.flag()
    if not shown:
        bits.read(1)  # showable_frame
    if kind == _SWITCH_FRAME or (kind == _KEY_FRAME and shown):
        return everything
    resilient = bits.flag()
    bits.read(1)  # disable_cdf_update
    tools = bits.read(1) if sequence.screen_content_tools == _CHOSEN_PER_FRAME else sequence.screen_content_tools
    if tools and sequence.integer_mv == _CHOSEN_PER_FRAME:
        bits.read(1)
    bits.read(sequence.frame_id_bits)
    bits.read(1)  # frame_size_override_flag
    bits.read(sequence.order_hint_bits)
    if not (kind in (_KEY_FRAME, _INTRA_ONLY_FRAME) or resilient):
        bits.read(3)  # primary_ref_frame
    return bits.read(8)
