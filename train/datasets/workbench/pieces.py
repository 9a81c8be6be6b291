"""Drawings of the workpieces, as a function of how far the work on them has come.

A workpiece lies around the origin, within about 14 x 12 pixels of a 160-pixel frame to each side. `work` runs from 0 to
`NUM_SLOTS`: its integer part counts the slots that are done, its fraction is the progress on the next one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from .catalogue import NUM_SLOTS
from .palette import Paint, Palette, shade
from .sprites import Color, Drawing, Shape, box, capsule, disc, polygon, ring
from .tools import draw_gear

__all__ = ["draw_piece", "target_of"]

_SLOT_X = (-9.0, 0.0, 9.0)
_BLACK: Color = (40.0, 40.0, 44.0)
_WHITE: Color = (238.0, 238.0, 234.0)


def _parts(work: float) -> list[tuple[float, float]]:
    """(x, progress in [0, 1]) of every slot."""
    return [(x, min(1.0, max(0.0, work - i))) for i, x in enumerate(_SLOT_X)]


def _block(paint: Paint, colors: Palette, work: float) -> Drawing:
    shapes: list[Shape] = [box(0, 3, 32, 18, colors.wood, rounding=2)]
    shapes += [capsule(-14, y, 14, y, 0.5, shade(colors.wood, 0.75), edge=0) for y in (-2, 4, 9)]
    for x, done in _parts(work):
        head = -12 + 13 * done
        shapes += [capsule(x, head, x, 1, 1.0, shade(colors.steel, 0.8)), box(x, head, 6, 2.4, paint.mark)]
    return tuple(shapes)


def _tile(paint: Paint, colors: Palette, work: float) -> Drawing:
    del colors
    shapes: list[Shape] = [box(0, 0, 33, 25, _WHITE, rounding=2), box(0, 0, 27, 19, shade(paint.piece, 1.2), edge=0.5)]
    for x, done in _parts(work):
        if done < 0.95:
            size = 1.0 - 0.8 * done
            stain = shade(paint.mark, 0.7)
            shapes += [disc(x, -2, 4.8 * size, stain, edge=0), disc(x + 1, 4, 3.4 * size, stain, edge=0)]
    return tuple(shapes)


def _plate(paint: Paint, colors: Palette, work: float) -> Drawing:
    del paint
    shapes: list[Shape] = [polygon([(-17, -7), (-12, -11), (17, -11), (17, 7), (12, 11), (-17, 11)], colors.steel)]
    for x, done in _parts(work):
        radius, turn = 5.2 - 1.6 * done, done * 9.0
        dx, dy = radius * 0.8 * math.cos(turn), radius * 0.8 * math.sin(turn)
        shapes += [disc(x, 0, radius, shade(colors.steel, 0.55 + 0.3 * done))]
        shapes += [capsule(x - dx, -dy, x + dx, dy, 0.8, _BLACK, edge=0)]
    return tuple(shapes)


def _strip(paint: Paint, colors: Palette, work: float) -> Drawing:
    del colors
    shapes: list[Shape] = []
    edges = (-20.0, *_SLOT_X, 20.0)
    progress = [1.0, *(done for _, done in _parts(work)), 1.0]
    drop = 0.0
    for i, (left, right) in enumerate(itertools.pairwise(edges)):
        drop = 0.0 if i == 0 else drop + (2.0 if progress[i] >= 1.0 else 0.0)
        gap = 1.2 if i > 0 and progress[i] >= 1.0 else -0.4
        shapes.append(
            box(
                (left + right) / 2 + gap, drop - 2, right - left - max(gap, 0), 11, shade(paint.piece, 1.15), rounding=0
            )
        )
    for x, done in _parts(work):
        if 0 < done < 1:
            shapes.append(capsule(x, 5, x, 5 - 12 * done, 0.8, _BLACK, edge=0))
    return tuple(shapes)


def _board(paint: Paint, colors: Palette, work: float) -> Drawing:
    del paint
    shapes: list[Shape] = [box(0, 0, 38, 13, shade(colors.wood, 1.2))]
    for x, done in _parts(work):
        if done > 0.5:
            shapes.append(capsule(x, -6, x, 6, 1.0, (170, 30, 30), edge=0))
    return tuple(shapes)


def _bowl(paint: Paint, colors: Palette, work: float) -> Drawing:
    del colors
    liquid = (disc(0, 0, 3 + 2.4 * work, paint.mark, edge=0.4),) if work > 0.05 else ()
    return (disc(0, 0, 14, shade(paint.piece, 1.1)), disc(0, 0, 11.5, shade(paint.piece, 0.7), edge=0), *liquid)


def _card(paint: Paint, colors: Palette, work: float) -> Drawing:
    del colors
    shapes: list[Shape] = [box(0, 0, 35, 25, _WHITE, rounding=1)]
    shapes += [capsule(-13, y, 13, y, 0.4, (150, 150, 160), edge=0) for y in (-9, 9)]
    for x, done in _parts(work):
        if done > 0.3:
            shapes += [ring(x, 0, 3.4, 1.7, paint.mark, edge=0), disc(x, 0, 1.2, paint.mark, edge=0)]
    return tuple(shapes)


def _candles(paint: Paint, colors: Palette, work: float) -> Drawing:
    del colors
    shapes: list[Shape] = [box(0, 0, 36, 18, shade(paint.piece, 0.45), rounding=4)]
    for x, done in _parts(work):
        shapes.append(disc(x * 1.2, 0, 5.2, shade(paint.mark, 1.6)))
        lit = (disc(x * 1.2, 0, 3.4, (255, 170, 60), edge=0), disc(x * 1.2, 0, 1.8, (255, 245, 170), edge=0))
        shapes += lit if done > 0.4 else (disc(x * 1.2, 0, 1.0, _BLACK, edge=0),)
    return tuple(shapes)


def _tray(paint: Paint, colors: Palette, work: float) -> Drawing:
    shapes: list[Shape] = [box(0, 0, 37, 18, shade(paint.piece, 0.9), rounding=3)]
    for x, done in _parts(work):
        shapes.append(disc(x * 1.2, 0, 5.5, shade(paint.piece, 0.5), edge=0))
        if done > 0.6:
            shapes += draw_gear(x * 1.2, 0, 6.5, shade(colors.steel, 0.95))
    return tuple(shapes)


def _canvas(paint: Paint, colors: Palette, work: float) -> Drawing:
    del colors
    shapes: list[Shape] = [
        box(0, 0, 34, 26, shade(paint.piece, 0.8), rounding=8),
        box(0, 0, 29, 21, _WHITE, rounding=6, edge=0.4),
    ]
    for x, done in _parts(work):
        if done > 0:
            shapes.append(capsule(x * 0.95, -7, x * 0.95, -7 + 14 * done, 3.0, paint.mark, edge=0))
    return tuple(shapes)


def _carton(paint: Paint, colors: Palette, work: float) -> Drawing:
    brown = (190.0, 150.0, 100.0)
    shapes: list[Shape] = [box(0, 0, 34, 28, brown, rounding=1), capsule(-17, 0, 17, 0, 0.7, shade(brown, 0.6), edge=0)]
    shapes += [capsule(side * 17, -14, side * 12, 0, 0.5, shade(brown, 0.7), edge=0) for side in (-1, 1)]
    del colors
    for x, done in _parts(work):
        if done > 0:
            shapes.append(box(x, -13 + 13 * done, 6, 26 * done, shade(paint.mark, 1.5), rounding=0, edge=0.5))
    return tuple(shapes)


def _flange(paint: Paint, colors: Palette, work: float) -> Drawing:
    shapes: list[Shape] = [capsule(-11, 0, 11, 0, 8.5, shade(colors.steel, 0.7))]
    for x, done in _parts(work):
        turn = done * 2.6
        hexagon = [
            (x * 1.15 + 5 * math.cos(turn + k * math.pi / 3), 5 * math.sin(turn + k * math.pi / 3)) for k in range(6)
        ]
        shapes += [polygon(hexagon, paint.handle if done < 1 else shade(paint.handle, 0.7))]
        shapes += [disc(x * 1.15, 0, 1.4, _BLACK, edge=0)]
    return tuple(shapes)


def _plank(paint: Paint, colors: Palette, work: float) -> Drawing:
    del paint
    shapes: list[Shape] = [
        capsule(-14, 0, 14, 0, 8, shade(colors.wood, 0.75)),
        disc(15, 0, 6.5, shade(colors.wood, 1.3)),
    ]
    shapes += [ring(15, 0, 3, 0.9, shade(colors.wood, 0.8), edge=0)]
    for x, done in _parts(work):
        if done > 0:
            shapes.append(box(x - 2, -8 + 7.5 * done, 2.4, 15 * done, _BLACK, rounding=0, edge=0))
            shapes += [disc(x - 2 + d, 10 + abs(d) * 0.3, 1.5 * done, (226, 196, 140), edge=0) for d in (-3, 0, 3)]
    return tuple(shapes)


def _billet(paint: Paint, colors: Palette, work: float) -> Drawing:
    del colors
    shapes: list[Shape] = [polygon([(-15, -12), (15, -12), (18, 12), (-18, 12)], shade(paint.piece, 0.85))]
    for x, done in _parts(work):
        if done > 0:
            shapes += [disc(x, 0, 4.4 * done, _WHITE, edge=0), disc(x, 0, 3.2 * done, _BLACK, edge=0)]
        else:
            shapes += [capsule(x - 1.5, 0, x + 1.5, 0, 0.5, _BLACK, edge=0)]
    return tuple(shapes)


def _cloth(paint: Paint, colors: Palette, work: float) -> Drawing:
    del colors
    color = shade(paint.mark, 1.3)
    shapes: list[Shape] = [box(0, 0, 38, 28, color), box(0, 0, 34, 24, shade(color, 0.9), edge=0)]
    for x, done in _parts(work):
        wrinkles = ((-6, -9, 3, -5), (-4, 0, 4, -3), (-3, 4, 5, 9))
        for x0, y0, x1, y1 in wrinkles if done < 0.6 else ():
            shapes.append(capsule(x * 1.3 + x0 * 0.6, y0, x * 1.3 + x1 * 0.6, y1, 0.8, shade(color, 0.5), edge=0))
    return tuple(shapes)


def _coins(paint: Paint, colors: Palette, work: float) -> Drawing:
    del colors
    shapes: list[Shape] = [box(0, 0, 36, 17, shade(paint.piece, 0.55), rounding=7)]
    for x, done in _parts(work):
        shapes += [disc(x * 1.2, 0, 5.6, (214, 180, 80)), ring(x * 1.2, 0, 3.6, 0.8, (150, 120, 40), edge=0)]
        if done >= 1:
            shapes.append(disc(x * 1.2, 0, 2.6, (60, 170, 80), edge=0))
    return tuple(shapes)


def _dough(paint: Paint, colors: Palette, work: float) -> Drawing:
    del colors
    grow = work / NUM_SLOTS
    color = shade((240.0, 222.0, 176.0), 0.9 + 0.1 * grow)
    shapes = [capsule(-3 - 9 * grow, -1, 3 + 8 * grow, 1, 7 + 4.5 * grow, color)]
    shapes += [disc(5 + 5 * grow, -4 - 2 * grow, 4 + 2.5 * grow, color, edge=0)]
    return (*shapes, *(disc(x, y, 0.9, shade(paint.piece, 0.8), edge=0) for x, y in ((-4, -2), (2, 3), (5, -2))))


def _plant(paint: Paint, colors: Palette, work: float) -> Drawing:
    del colors
    shapes: list[Shape] = []
    green: Color = (70.0, 140.0 + 12 * work, 60.0)
    for k in range(7):
        turn, length = k * 2 * math.pi / 7 + 0.3, 11 + 1.3 * work
        x, y = length * math.cos(turn), length * math.sin(turn)
        nx, ny = -0.33 * y, 0.33 * x
        shapes.append(polygon([(0, 0), (x * 0.6 + nx, y * 0.6 + ny), (x, y), (x * 0.6 - nx, y * 0.6 - ny)], green))
    shapes.append(disc(0, 0, 4.5, shade(paint.mark, 0.9)))
    drops = int(work * 4)
    return (
        *shapes,
        *(disc(8 * math.cos(2.4 * k), 8 * math.sin(2.4 * k), 1.3, (190, 225, 255), edge=0) for k in range(drops)),
    )


_DRAWERS: dict[str, Callable[[Paint, Palette, float], Drawing]] = {
    "hammer": _block,
    "sponge": _tile,
    "screwdriver": _plate,
    "scissors": _strip,
    "ruler": _board,
    "bottle": _bowl,
    "stamp": _card,
    "burner": _candles,
    "gear": _tray,
    "brush": _canvas,
    "tape": _carton,
    "wrench": _flange,
    "saw": _plank,
    "drill": _billet,
    "iron": _cloth,
    "magnifier": _coins,
    "roller": _dough,
    "spray": _plant,
}

_STRETCHED = {"burner": 1.2, "gear": 1.2, "iron": 1.3, "magnifier": 1.2, "wrench": 1.15}
_WHOLE = {"bottle", "roller", "spray"}


def draw_piece(name: str, colors: Palette, *, work: float) -> Drawing:
    """The workpiece of a step type.

    Args:
        name: step type.
        colors: the video's palette.
        work: in [0, `NUM_SLOTS`], see the module's text.
    """
    return _DRAWERS[name](colors.paints[name], colors, work)


def target_of(name: str, slot: int) -> tuple[float, float]:
    """Where in the workpiece's coordinates slot number `slot` is worked on."""
    if name in _WHOLE:
        return 0.0, 0.0
    return _SLOT_X[slot] * _STRETCHED.get(name, 1.0), 0.0
