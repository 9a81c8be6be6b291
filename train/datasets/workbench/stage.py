"""Puts sprites on the bench; every pose is rasterised once per video."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .background import paint_ground
from .pieces import draw_piece
from .scene import Disturbance, Placement, Scene
from .sprites import Color, Drawing, Sprite, blit, box, capsule, disc, rasterise, ring
from .tools import Grip, draw_fingers, draw_forearm, draw_resting_tool, draw_tool

__all__ = ["HAND_SCALE", "PIECE_SCALE", "REST_SCALE", "Canvas", "Stage"]

Canvas = NDArray[np.uint8]

REST_SCALE = 0.66
"""Size of a tool on the bench relative to one in the hand, which is nearer to the camera."""

PIECE_SCALE = 0.95
"""Size of a workpiece on the bench relative to its drawing."""

_ANGLES = 90  # drawn directions of a full turn
HAND_SCALE = 1.3
"""Size of the hand and arm relative to their drawing."""

_ANGLE_STEP = 2 * math.pi / _ANGLES
_BALL_TURN = 40.0  # radians that a ball rolls on its way
_WORK_LEVELS = 10  # drawn levels of progress a slot
_PHASE_LEVELS = 8  # drawn levels of a tool's cycle


class Stage:
    """The bench of one video: draws its things onto canvases of uint8 (S, S, 3).

    Args:
        scene: what lies where.
        rng: source of randomness for the bench top.
    """

    def __init__(self, scene: Scene, *, rng: np.random.Generator) -> None:
        self.scene = scene
        self._sprites: dict[tuple[object, ...], Sprite] = {}
        self._ground = paint_ground(scene, rng)
        for x, y, angle, kind in scene.clutter:
            at = Placement(x=x, y=y, angle=angle)
            self._put(self._ground, ("clutter", kind), partial(_clutter, kind, scene), at, shadow=1.0)

    def _put(
        self,
        canvas: Canvas,
        key: tuple[object, ...],
        draw: Callable[[], Drawing],
        at: Placement,
        *,
        scale: float = 1.0,
        shadow: float = 2.0,
    ) -> None:
        camera = self.scene.camera
        turn, size = round((at.angle + camera.angle) / _ANGLE_STEP) % _ANGLES, round(scale * 20)
        full_key = (*key, turn, size, shadow)
        sprite = self._sprites.get(full_key)
        if sprite is None:
            sprite = rasterise(draw(), scale=size / 20 * camera.scale, angle=turn * _ANGLE_STEP, shadow=shadow)
            self._sprites[full_key] = sprite
        blit(canvas, sprite, *camera.pixel(at.x, at.y))

    def piece(self, canvas: Canvas, name: str, work: float) -> None:
        """Draw a workpiece in place, `work` as in `pieces.draw_piece`."""
        level = round(work * _WORK_LEVELS)
        draw = partial(draw_piece, name, self.scene.palette, work=level / _WORK_LEVELS)
        self._put(canvas, ("piece", name, level), draw, self.scene.pieces[name], scale=PIECE_SCALE, shadow=1.5)

    def resting_tool(self, canvas: Canvas, name: str) -> None:
        """Draw a tool in its resting place."""
        draw = partial(draw_resting_tool, name, self.scene.palette)
        self._put(canvas, ("rest", name), draw, self.grip_of(name), scale=REST_SCALE)

    def grip_of(self, name: str) -> Placement:
        """Where the grip of a resting tool is (the scene's placement is that of its middle)."""
        at = self.scene.tools[name]
        middle = 13.0 * REST_SCALE
        return Placement(x=at.x - middle * math.cos(at.angle), y=at.y - middle * math.sin(at.angle), angle=at.angle)

    def held_tool(self, canvas: Canvas, name: str, at: Placement, *, scale: float, phase: float) -> None:
        """Draw a tool in the hand, its grip at `at`; at phase 0 its parts are at rest."""
        level = round(phase / (2 * math.pi) * _PHASE_LEVELS) % _PHASE_LEVELS
        turn = (level or (0.25 if phase else 0)) * 2 * math.pi / _PHASE_LEVELS
        draw = partial(draw_tool, name, self.scene.palette, phase=turn)
        self._put(canvas, ("held", name, turn), draw, at, scale=scale, shadow=4.0 if scale > 0.9 else 2.0)

    def forearm(self, canvas: Canvas, at: Placement, grip: Grip) -> None:
        """Draw the arm with its hand at `at`."""
        draw = partial(draw_forearm, self.scene.palette, grip=grip)
        self._put(canvas, ("forearm", grip), draw, at, scale=HAND_SCALE, shadow=4.0)

    def fingers(self, canvas: Canvas, at: Placement, grip: Grip) -> None:
        """Draw what of the hand lies over a tool."""
        draw = partial(draw_fingers, self.scene.palette, grip=grip)
        self._put(canvas, ("fingers", grip), draw, at, scale=HAND_SCALE, shadow=0.0)

    def still(self, work: dict[str, float], *, without: str | None = None) -> Canvas:
        """A new canvas with everything that does not move.

        Args:
            work: progress of every workpiece.
            without: a step type whose tool and workpiece are left out, to be drawn frame by frame.
        """
        canvas = self._ground.copy()
        for name in self.scene.pieces:
            if name != without:
                self.piece(canvas, name, work[name])
        for name in self.scene.tools:
            if name != without or name == "gear":
                self.resting_tool(canvas, name)
        return canvas

    def disturb(self, canvas: Canvas, disturbance: Disturbance, seconds: float) -> None:
        """Draw a disturbance as it is at a time of the video."""
        u = (seconds - disturbance.start) / disturbance.seconds
        if not 0 <= u <= 1:
            return
        kind, size, color = disturbance.kind, disturbance.size, disturbance.color
        (x0, y0), (x1, y1) = disturbance.path
        at = Placement(x=x0 + u * (x1 - x0), y=y0 + u * (y1 - y0), angle=0.0)
        if kind == "lamp":
            lit = (seconds * (0.5 + size / 8)) % 1 < 0.5
            still = Placement(x=x0, y=y0, angle=0.0)
            self._put(canvas, ("lamp", lit, size), partial(_lamp, lit, size, color), still, shadow=1.0)
        elif kind == "shadow":
            self._put(canvas, ("shadow", size), partial(_shadow, size), at, shadow=0.0)
        elif kind == "ball":
            rolled = Placement(x=at.x, y=at.y, angle=u * _BALL_TURN)
            self._put(canvas, ("ball", size), partial(_ball, size, color), rolled)
        else:
            self._put(canvas, ("block", size), partial(_block, size, color), at, shadow=1.5)


def _lamp(lit: bool, size: float, color: Color) -> Drawing:
    return (disc(0, 0, size + 1.5, (60, 60, 64)), disc(0, 0, size, color if lit else (25, 25, 28), edge=0))


def _shadow(size: float) -> Drawing:
    return (disc(0, 0, size, (0, 0, 0), alpha=0.3, edge=0),)


def _ball(size: float, color: Color) -> Drawing:
    return (disc(0, 0, size, color), box(0, 0, 1.7 * size, size * 0.6, (240, 240, 240), edge=0))


def _block(size: float, color: Color) -> Drawing:
    return (box(0, 0, 3 * size, 2 * size, color), capsule(-size, 0, size, 0, 1, (30, 30, 30), edge=0))


def _clutter(kind: int, scene: Scene) -> Drawing:
    steel = scene.palette.steel
    if kind == 0:
        return (capsule(-4, 0, 5, 0, 1.1, steel), disc(-5, 0, 2.2, steel))
    if kind == 1:
        return (ring(0, 0, 2.8, 2.0, steel),)
    if kind == 2:
        return (capsule(-8, 0, 7, 0, 1.5, (214, 170, 60)), capsule(8, 0, 9.5, 0, 0.7, (40, 40, 40), edge=0))
    return (box(0, 0, 5, 4, scene.palette.wood),)
