"""What is drawn once per video: camera, light, where things lie, and what else moves."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .catalogue import STEP_NAMES
from .palette import Palette, draw_palette

__all__ = ["WORLD", "Camera", "Disturbance", "Light", "Placement", "Scene", "draw_scene"]

WORLD = 160.0
"""Side of the bench in world units; with zoom 1 and 160-pixel frames one unit is one pixel."""

_NUM_PRESENT = 7  # step types whose things are on the bench, used or not
_TOOL_BAND, _PIECE_BAND = 42.0, 38.0
Surface = Literal["wood", "metal", "cloth", "mat"]
DisturbanceKind = Literal["shadow", "ball", "lamp", "block"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Camera:
    """From world units to pixels.

    Attributes:
        scale: pixels a world unit.
        angle: rotation in radians.
        shift: x, y of the bench's centre in pixels from the frame's centre.
        shake: amplitude of the camera's tremor in pixels.
        size: frame side in pixels.
        margin: pixels around the frame that are drawn too, for the tremor.
    """

    scale: float
    angle: float
    shift: tuple[float, float]
    shake: float
    size: int
    margin: int

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Canvas pixel of a world point."""
        cos, sin = math.cos(self.angle) * self.scale, math.sin(self.angle) * self.scale
        dx, dy = x - WORLD / 2, y - WORLD / 2
        centre = self.size / 2 + self.margin
        return centre + self.shift[0] + dx * cos - dy * sin, centre + self.shift[1] + dx * sin + dy * cos


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Light:
    """Brightness over space and time.

    Attributes:
        level: overall gain.
        tint: gain per RGB channel.
        slope: relative change of gain from one side of the frame to the other, in x and y.
        flicker: amplitude and frequency (hertz) of slow changes.
        noise: standard deviation of sensor noise, in grey levels.
    """

    level: float
    tint: tuple[float, float, float]
    slope: tuple[float, float]
    flicker: tuple[float, float]
    noise: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where an object lies: world x, y and angle in radians."""

    x: float
    y: float
    angle: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Disturbance:
    """Something that moves and has nothing to do with the procedure.

    Attributes:
        kind: what it is.
        start, seconds: when it begins and how long it lasts.
        path: world x, y at its beginning and end.
        size: in world units.
        color: RGB in [0, 255].
    """

    kind: DisturbanceKind
    start: float
    seconds: float
    path: tuple[tuple[float, float], tuple[float, float]]
    size: float
    color: tuple[float, float, float]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """Everything about a video except what happens in it.

    Attributes:
        surface: kind of bench top.
        ground: its RGB in [0, 255].
        tools, pieces: placements by step type; only what is on the bench.
        initial_work: slots of each workpiece that are done before the video begins.
        anchor: world point outside the frame from which the arm comes.
        tempo: speed of the person's movements, 1 is usual.
        clutter: small things: x, y, angle, kind.
    """

    surface: Surface
    ground: tuple[float, float, float]
    camera: Camera
    light: Light
    palette: Palette
    tools: dict[str, Placement]
    pieces: dict[str, Placement]
    initial_work: dict[str, int]
    anchor: tuple[float, float]
    tempo: float
    clutter: tuple[tuple[float, float, float, int], ...]
    disturbances: tuple[Disturbance, ...]


def _draw_camera(rng: np.random.Generator, size: int) -> Camera:
    unit = size / WORLD
    shift = rng.uniform(-4, 4, 2) * unit
    return Camera(
        scale=float(rng.uniform(0.92, 1.0)) * unit,
        angle=float(rng.normal(0, 0.04)),
        shift=(float(shift[0]), float(shift[1])),
        shake=float(rng.choice([0.0, 0.4, 0.9])) * unit,
        size=size,
        margin=max(2, round(3 * unit)),
    )


def _draw_light(rng: np.random.Generator) -> Light:
    tint = 1.0 + rng.uniform(-0.06, 0.06, 3)
    slope = rng.uniform(-0.18, 0.18, 2)
    return Light(
        level=float(rng.uniform(0.82, 1.1)),
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
        slope=(float(slope[0]), float(slope[1])),
        flicker=(float(rng.uniform(0.0, 0.05)), float(rng.uniform(0.1, 0.8))),
        noise=float(rng.uniform(1.0, 4.0)),
    )


def _turned(x: float, y: float, quarter: int) -> tuple[float, float]:
    for _ in range(quarter):
        x, y = WORLD - y, x
    return x, y


def _draw_layout(present: list[str], rng: np.random.Generator) -> tuple[dict[str, Placement], dict[str, Placement]]:
    """Bands of tools and of workpieces in random order, along the rows or the columns of the frame."""
    quarter = int(rng.integers(4))
    tools, pieces = list(rng.permutation(present)), list(rng.permutation(present))
    tool_cells: list[tuple[float, float]] = []
    piece_cells: list[tuple[float, float]] = []
    top, half, row = 0.0, (len(tools) + 1) // 2, (len(pieces) + 1) // 2
    for band in rng.permutation(["tool", "tool", "piece", "piece"]):
        if band == "tool":
            count = half if not tool_cells else len(tools) - half
            tool_cells += [((i + 0.5) * WORLD / count, top + _TOOL_BAND / 2) for i in range(count)]
            top += _TOOL_BAND
        else:
            piece_cells += [((i + 0.5) * WORLD / row, top + _PIECE_BAND / 2) for i in range(row)]
            top += _PIECE_BAND
    rng.shuffle(piece_cells)

    def place(cell: tuple[float, float], spread: float, angle: float) -> Placement:
        dx, dy = rng.normal(0, spread, 2)
        x, y = _turned(cell[0] + float(dx), cell[1] + float(dy), quarter)
        return Placement(x=x, y=y, angle=angle + quarter * math.pi / 2)

    upright = [math.pi / 2 * rng.choice([-1, 1]) for _ in range(2)]
    tool_places = {
        str(name): place(cell, 1.2, upright[i >= half] + rng.normal(0, 0.12))
        for i, (name, cell) in enumerate(zip(tools, tool_cells, strict=True))
    }
    piece_places = {
        str(name): place(cell, 0.9, math.pi * int(rng.integers(2)) + rng.normal(0, 0.1))
        for name, cell in zip(pieces, piece_cells, strict=False)
    }
    return tool_places, piece_places


def _draw_disturbance(rng: np.random.Generator, seconds: float) -> Disturbance:
    kind: DisturbanceKind = rng.choice(["shadow", "ball", "lamp", "block"])
    lasts = float(rng.uniform(2.0, 5.0)) if kind in ("shadow", "ball") else seconds
    across = rng.uniform(0, WORLD, 2)
    path = ((-45.0, float(across[0])), (WORLD + 45.0, float(across[1])))
    if kind in ("lamp", "block"):
        end = across + rng.uniform(-22, 22, 2)
        path = ((float(across[0]), float(across[1])), (float(end[0]), float(end[1])))
    if rng.uniform() < 0.5:
        path = (path[1], path[0])
    if rng.uniform() < 0.5:
        path = ((path[0][1], path[0][0]), (path[1][1], path[1][0]))
    color = rng.uniform(60, 250, 3)
    return Disturbance(
        kind=kind,
        start=float(rng.uniform(0, max(0.1, seconds - lasts))),
        seconds=lasts,
        path=path,
        size=float(rng.uniform(18, 40) if kind == "shadow" else rng.uniform(3.5, 6.5)),
        color=(float(color[0]), float(color[1]), float(color[2])),
    )


def _draw_anchor(rng: np.random.Generator) -> tuple[float, float]:
    along = WORLD / 2 + float(rng.uniform(-35, 35))
    return _turned(along, WORLD + 75.0, int(rng.integers(4)))


def _draw_ground(rng: np.random.Generator, surface: Surface) -> NDArray[np.float64]:
    means = {"wood": (168, 124, 80), "metal": (128, 134, 140), "cloth": (116, 122, 110), "mat": (56, 108, 92)}
    return np.clip(np.asarray(means[surface]) + rng.normal(0, 16, 3) + rng.normal(0, 14), 30, 225)


def draw_scene(used: tuple[str, ...], *, seconds: float, size: int, rng: np.random.Generator) -> Scene:
    """Draw the scene of one video.

    Args:
        used: step types whose things must be on the bench.
        seconds: length of the video.
        size: frame side in pixels.
        rng: source of randomness.
    """
    others = [name for name in STEP_NAMES if name not in used]
    extra = _NUM_PRESENT - len(used)
    present = [*used, *(str(name) for name in rng.permutation(others)[: max(extra, 0)])]
    tools, pieces = _draw_layout(present, rng)
    surface: Surface = rng.choice(["wood", "metal", "cloth", "mat"])
    ground = _draw_ground(rng, surface)
    clutter = tuple(
        (float(x), float(y), float(angle), int(kind))
        for x, y, angle, kind in zip(
            *rng.uniform(4, WORLD - 4, (2, 4)), rng.uniform(0, 6.3, 4), rng.integers(0, 4, 4), strict=True
        )
    )
    return Scene(
        surface=surface,
        ground=(float(ground[0]), float(ground[1]), float(ground[2])),
        camera=_draw_camera(rng, size),
        light=_draw_light(rng),
        palette=draw_palette(rng),
        tools=tools,
        pieces=pieces,
        initial_work={name: int(rng.integers(2)) for name in present},
        anchor=_draw_anchor(rng),
        tempo=float(rng.uniform(0.75, 1.3)),
        clutter=clutter,
        disturbances=tuple(_draw_disturbance(rng, seconds) for _ in range(int(rng.integers(0, 2)))),
    )
