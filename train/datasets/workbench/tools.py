"""Drawings of the tools and of the hand.

A tool lies along x: its grip is at the origin, its tip points towards positive x. Lengths are pixels of a 160-pixel
frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from .palette import Paint, Palette, shade
from .sprites import Color, Drawing, Shape, box, capsule, disc, polygon, ring

__all__ = ["TOOL_TIPS", "Grip", "draw_fingers", "draw_forearm", "draw_gear", "draw_resting_tool", "draw_tool"]

Grip = Literal["open", "closed"]

TOOL_TIPS: dict[str, tuple[float, float]] = {
    "hammer": (27.0, 12.0),
    "sponge": (14.0, 0.0),
    "screwdriver": (36.0, 0.0),
    "scissors": (24.0, 0.0),
    "ruler": (27.0, 0.0),
    "bottle": (36.0, 0.0),
    "stamp": (20.0, 0.0),
    "burner": (36.0, 0.0),
    "gear": (16.0, 0.0),
    "brush": (31.0, 0.0),
    "tape": (17.0, 0.0),
    "wrench": (30.0, 0.0),
    "saw": (27.0, 5.0),
    "drill": (41.0, 0.0),
    "iron": (16.0, 0.0),
    "magnifier": (24.0, 0.0),
    "roller": (22.0, 0.0),
    "spray": (36.0, -6.0),
}
"""The point of the tool that meets the workpiece."""

_BLACK: Color = (40.0, 40.0, 44.0)
_WHITE: Color = (240.0, 240.0, 236.0)
_GLASS: Color = (205.0, 228.0, 240.0)


def _hammer(paint: Paint, colors: Palette, phase: float) -> Drawing:
    del phase
    claw = ((22, -5), (32, -5), (31, -12), (27, -17), (28, -10), (24, -9))
    return (
        capsule(-14, 0, 26, 0, 2.8, colors.wood),
        capsule(-14, 0, 0, 0, 3.4, paint.handle),
        polygon(claw, shade(colors.steel, 0.75)),
        box(27, 2, 11, 22, shade(colors.steel, 0.75), rounding=2),
        box(27, 11, 15, 6, shade(colors.steel, 0.95)),
    )


def _sponge(paint: Paint, colors: Palette, phase: float) -> Drawing:
    del phase, colors
    holes = ((6, -6), (12, -2), (20, -6), (8, 4), (16, 5), (22, 2), (15, -8), (23, 8))
    return (
        box(14, 0, 27, 24, paint.handle, rounding=5),
        box(14, 8, 27, 7, shade(paint.handle, 0.6), rounding=3, edge=0),
        *(disc(x, y, 1.8, shade(paint.handle, 0.6), edge=0) for x, y in holes),
    )


def _screwdriver(paint: Paint, colors: Palette, phase: float) -> Drawing:
    roll = 3.2 * math.sin(phase)
    return (
        capsule(8, 0, 34, 0, 1.8, colors.steel),
        box(35, 0, 5, 5 * abs(math.cos(phase)) + 1.5, shade(colors.steel, 0.8)),
        box(-1, 0, 27, 15, paint.handle, rounding=5),
        capsule(-10, roll, 8, roll, 1.3, _WHITE, edge=0),
        box(12, 0, 4, 7, _BLACK),
    )


def _scissors(paint: Paint, colors: Palette, phase: float) -> Drawing:
    spread = 0.42 * (0.5 - 0.5 * math.cos(phase)) + 0.06
    shapes: list[Shape] = []
    for side in (-1, 1):
        cos, sin = math.cos(side * spread), math.sin(side * spread)

        def turn(x: float, y: float, cos: float = cos, sin: float = sin) -> tuple[float, float]:
            return 6 + (x - 6) * cos - y * sin, (x - 6) * sin + y * cos

        shapes.append(polygon([turn(2, -2), turn(8, 2.6), turn(34, 0.6), turn(34, -0.6)], colors.steel))
        shapes.append(ring(-6, side * (7 + 7 * spread), 6, 3.4, paint.handle))
    return (*shapes, disc(6, 0, 2.2, _BLACK))


def _ruler(paint: Paint, colors: Palette, phase: float) -> Drawing:
    del phase, colors
    ticks = (
        capsule(x, -5.5, x, -5.5 + (4.5 if i % 2 else 2.5), 0.5, _BLACK, edge=0) for i, x in enumerate(range(-4, 52, 4))
    )
    return (box(23, 0, 60, 11, shade(paint.handle, 1.25)), *ticks, disc(-3, 1, 1.4, _BLACK, edge=0))


def _bottle(paint: Paint, colors: Palette, phase: float) -> Drawing:
    del colors
    swell = 0.6 * math.sin(phase)
    stream = (capsule(31, 0, 38, 0, 1.9 + swell, shade(paint.mark, 1.1), edge=0),) if phase else ()
    return (
        *stream,
        box(2, 0, 32, 18, paint.mark, rounding=5),
        polygon([(14, -8), (14, 8), (22, 4), (22, -4)], paint.mark, edge=0),
        box(24, 0, 10, 7, shade(paint.mark, 1.2)),
        box(29, 0, 4, 9, _WHITE),
        box(0, 0, 13, 18, _WHITE, edge=0),
        box(0, 0, 5, 10, paint.handle, edge=0),
    )


def _stamp(paint: Paint, colors: Palette, phase: float) -> Drawing:
    del phase
    return (
        box(19, 0, 9, 26, _BLACK),
        box(15, 0, 7, 26, colors.wood),
        box(7, 0, 12, 7, colors.wood),
        disc(-1, 0, 8, paint.handle),
        disc(-3, -2, 2.5, shade(paint.handle, 1.4), edge=0),
    )


def draw_gear(x: float, y: float, radius: float, color: Color) -> Drawing:
    """A toothed wheel around (x, y)."""
    points = []
    for tooth in range(8):
        for step, r in ((0.0, 1.0), (0.3, 1.0), (0.45, 0.72), (0.85, 0.72)):
            turn = (tooth + step) * math.pi / 4
            points.append((x + radius * r * math.cos(turn), y + radius * r * math.sin(turn)))
    return (polygon(points, color), disc(x, y, radius * 0.28, _BLACK, edge=0))


def _gear(paint: Paint, colors: Palette, phase: float) -> Drawing:
    del phase, paint
    return draw_gear(16, 0, 15, shade(colors.steel, 0.95))


def _brush(paint: Paint, colors: Palette, phase: float) -> Drawing:
    bend = 2.5 * math.sin(phase)
    bristles = ((18, -7), (18, 7), (26, 7 + bend), (32, 3 + bend), (32, -3 + bend), (26, -7 + bend))
    return (
        capsule(-16, 0, 8, 0, 2.8, paint.handle),
        polygon([(4, -3), (4, 3), (12, 7), (12, -7)], paint.handle),
        box(15, 0, 8, 16, colors.steel),
        polygon(bristles, (92, 66, 44)),
        polygon([(28, 6 + bend), (32, 3 + bend), (32, -3 + bend), (28, -6 + bend)], paint.mark, edge=0),
    )


def _tape(paint: Paint, colors: Palette, phase: float) -> Drawing:
    del colors
    spoke = (4 * math.cos(phase), 4 * math.sin(phase))
    return (
        box(17, 13, 16, 4, shade(paint.mark, 1.5), edge=0.5),
        ring(17, 0, 11, 8, shade(paint.mark, 1.5)),
        ring(17, 0, 6.5, 2, _WHITE, edge=0),
        disc(17 + 2.7 * spoke[0], 2.7 * spoke[1], 1.6, _BLACK, edge=0),
    )


def _burner(paint: Paint, colors: Palette, phase: float) -> Drawing:
    flame: Drawing = ()
    if phase:
        reach = 46 + 3 * math.sin(phase)
        flame = (
            polygon([(30, -3), (37, -7), (reach, 0), (37, 7), (30, 3)], (255, 150, 40), alpha=0.9, edge=0),
            polygon([(30, -1.5), (35, -3.5), (reach - 6, 0), (35, 3.5), (30, 1.5)], (255, 240, 150), edge=0),
        )
    return (
        *flame,
        capsule(14, 0, 28, 0, 2.4, colors.steel),
        box(29, 0, 5, 8, _BLACK),
        box(2, 0, 26, 17, paint.handle, rounding=7),
        box(-3, 0, 5, 17, _WHITE, edge=0),
        capsule(12, 0, 12, 13, 2.2, _BLACK),
    )


def _iron(paint: Paint, colors: Palette, phase: float) -> Drawing:
    puff = 2.0 + 1.5 * math.sin(phase)
    steam = tuple(disc(-18, y, puff, _WHITE, alpha=0.6, edge=0) for y in (-9, 0, 9)) if phase else ()
    return (
        *steam,
        polygon([(-12, -15), (16, -15), (31, -7), (38, 0), (31, 7), (16, 15), (-12, 15)], colors.steel),
        polygon([(-9, -11), (13, -11), (26, -4), (30, 0), (26, 4), (13, 11), (-9, 11)], paint.handle),
        disc(20, 0, 2.6, _WHITE, edge=0),
        capsule(-5, 0, 11, 0, 3.6, _BLACK),
    )


def _wrench(paint: Paint, colors: Palette, phase: float) -> Drawing:
    del phase
    jaw = (
        (16, -4),
        (21, -11),
        (32, -10),
        (35, -5),
        (27, -4.5),
        (25, 0),
        (27, 4.5),
        (35, 5),
        (32, 10),
        (21, 11),
        (16, 4),
    )
    return (
        box(2, 0, 34, 6.5, colors.steel, rounding=3),
        box(2, 0, 22, 2, paint.handle, edge=0),
        ring(-15, 0, 5, 4, colors.steel),
        polygon(jaw, colors.steel),
    )


def _saw(paint: Paint, colors: Palette, phase: float) -> Drawing:
    del phase
    teeth = [(48 - 3 * i, 5.5 if i % 2 else 2.2 + 0.25 * i) for i in range(14)]
    blade = [(6, -8), (50, -3), (50, 2), *teeth, (6, 8)]
    return (
        polygon(blade, colors.steel),
        polygon([(-11, -9), (8, -9), (10, 9), (-6, 11), (-12, 4)], paint.handle),
        box(-1, 0, 9, 8, _BLACK, rounding=3, edge=0),
    )


def _drill(paint: Paint, colors: Palette, phase: float) -> Drawing:
    twist = 1.2 * math.sin(phase)
    return (
        capsule(28, 0, 41, 0, 1.5, colors.steel),
        capsule(31, -twist, 34, twist, 0.8, _BLACK, edge=0),
        polygon([(-7, 2), (5, 2), (1, 24), (-11, 24)], shade(paint.handle, 0.8)),
        box(-6, 25, 16, 7, _BLACK, rounding=2),
        box(6, 0, 30, 15, paint.handle, rounding=4),
        box(24, 0, 9, 9, _BLACK, rounding=2),
        box(4, -4, 12, 2, _WHITE, edge=0),
    )


def _magnifier(paint: Paint, colors: Palette, phase: float) -> Drawing:
    glint = 3 * math.sin(phase)
    return (
        capsule(-14, 0, 8, 0, 3.4, paint.handle),
        box(10, 0, 5, 5, colors.steel),
        disc(24, 0, 13, _GLASS, alpha=0.45, edge=0),
        capsule(19, -5 + glint, 24, -8 + glint, 1.2, _WHITE, alpha=0.8, edge=0),
        ring(24, 0, 13, 4, colors.steel),
    )


def _roller(paint: Paint, colors: Palette, phase: float) -> Drawing:
    stripe = 4 * math.sin(phase)
    return (
        capsule(-14, 0, 6, 0, 3.4, paint.handle),
        capsule(6, 0, 12, 0, 1.6, colors.steel),
        box(13, 0, 2.5, 36, colors.steel),
        box(22, 0, 13, 36, colors.wood, rounding=4),
        capsule(22 + stripe, -14, 22 + stripe, 14, 1.1, shade(colors.wood, 0.7), edge=0),
    )


def _spray(paint: Paint, colors: Palette, phase: float) -> Drawing:
    del colors
    squeeze = 2.0 * max(0.0, math.sin(phase))
    mist = polygon([(17, -7), (40, -17), (43, -6), (40, 4)], (225, 238, 255), alpha=0.55, edge=0)
    drops = (disc(24 + 5 * k, -6 + (k - 1) * 4 * math.sin(phase + k), 1.3, _WHITE, edge=0) for k in range(4))
    return (
        *((mist, *drops) if squeeze > 0.3 else ()),
        polygon([(-12, 4), (-2, 4), (4, 24), (-18, 24)], paint.handle, alpha=0.92),
        box(-7, 17, 15, 6, _WHITE, edge=0),
        box(-7, 2, 7, 8, _BLACK),
        polygon([(-13, -10), (12, -10), (12, -3), (-6, 0), (-13, -2)], _WHITE),
        box(14, -6.5, 5, 5, paint.mark),
        capsule(4 - squeeze, -2, 1 - squeeze, 6, 1.5, paint.mark),
    )


_DRAWERS: dict[str, Callable[[Paint, Palette, float], Drawing]] = {
    "hammer": _hammer,
    "sponge": _sponge,
    "screwdriver": _screwdriver,
    "scissors": _scissors,
    "ruler": _ruler,
    "bottle": _bottle,
    "stamp": _stamp,
    "burner": _burner,
    "gear": _gear,
    "brush": _brush,
    "tape": _tape,
    "wrench": _wrench,
    "saw": _saw,
    "drill": _drill,
    "iron": _iron,
    "magnifier": _magnifier,
    "roller": _roller,
    "spray": _spray,
}


def draw_tool(name: str, colors: Palette, *, phase: float = 0.0) -> Drawing:
    """The tool of a step type as it is held.

    Args:
        name: step type.
        colors: the video's palette.
        phase: position in the cycle of its moving parts (blades, trigger, bristles), radians.
    """
    return _DRAWERS[name](colors.paints[name], colors, phase)


def draw_resting_tool(name: str, colors: Palette) -> Drawing:
    """The tool as it lies on the bench: for gears a box of them, which never runs empty."""
    if name != "gear":
        return draw_tool(name, colors)
    piece, steel = colors.paints[name].handle, shade(colors.steel, 0.95)
    gears = (*draw_gear(6, -3, 8, steel), *draw_gear(21, 4, 8, steel), *draw_gear(14, -2, 7, shade(steel, 0.8)))
    return (box(13, 0, 38, 24, shade(piece, 0.7), rounding=3), box(13, 0, 33, 19, shade(piece, 0.4), edge=0), *gears)


def draw_forearm(colors: Palette, *, grip: Grip) -> Drawing:
    """Sleeve, palm and what of the fingers lies under a tool; the hand points towards x."""
    skin = colors.hand
    spread = (-6, -2, 2, 6) if grip == "open" else ()
    reach = (capsule(4, y, 14 - abs(y) * 0.25, y * 1.35, 2.5, skin) for y in spread)
    sleeve = [(-17, -8), (-17, 8), (-190, 14), (-190, -14)]
    return (
        polygon(sleeve, colors.sleeve),
        box(-19, 0, 5, 18, shade(colors.sleeve, 0.8)),
        capsule(-16, 0, -6, 0, 6.5, skin),
        disc(-1, 0, 9.5, skin),
        *reach,
    )


def draw_fingers(colors: Palette, *, grip: Grip) -> Drawing:
    """Fingers and thumb that close over a tool; empty for a hand that holds none."""
    if grip != "closed":
        return (capsule(-2, 8, 7, 10, 2.6, colors.hand),)
    skin = shade(colors.hand, 1.04)
    return (*(capsule(x, -6.5, x + 1, 4, 2.5, skin) for x in (-4, 0.5, 5)), capsule(-4, 7.5, 6, 5.5, 2.6, skin))
