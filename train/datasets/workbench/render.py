"""From a procedure to the frames of one video."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .motions import Pose, pose_of
from .pieces import target_of
from .scene import WORLD, Light, Placement, Scene
from .schedule import FRAMES_PER_SECOND, Schedule, Segment
from .stage import PIECE_SCALE, REST_SCALE, Canvas, Stage
from .tools import TOOL_TIPS, Grip

__all__ = ["render"]

_HELD_SCALE = 1.75
_BENDS = (0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 2.0, -2.0, 2.5, -2.5)  # radians
_INSIDE = 14.0  # world units from the border
Point = tuple[float, float]


def _ease(u: float) -> float:
    u = min(1.0, max(0.0, u))
    return u * u * (3 - 2 * u)


def _between(a: Point, b: Point, u: float) -> Point:
    return a[0] + (b[0] - a[0]) * u, a[1] + (b[1] - a[1]) * u


def _turn_between(a: float, b: float, u: float) -> float:
    """Angle on the shorter way from a to b."""
    difference = (b - a + math.pi) % (2 * math.pi) - math.pi
    return a + difference * u


class _Player:
    """Plays a schedule on a stage; keeps where the hand is and what has been done."""

    def __init__(self, stage: Stage, rng: np.random.Generator) -> None:
        self.stage = stage
        self.scene = stage.scene
        self.rng = rng
        self.work = {name: float(count) for name, count in self.scene.initial_work.items()}
        self.hand: Point = self._away()
        self.bend = 0.0
        self.frame = 0

    def _away(self) -> Point:
        """A place for the hand out of the frame."""
        centre = (WORLD / 2, WORLD / 2)
        return _between(centre, self.scene.anchor, 0.78)

    def _angle_at(self, hand: Point) -> float:
        return math.atan2(hand[1] - self.scene.anchor[1], hand[0] - self.scene.anchor[0])

    def _fresh(self, still: Canvas) -> Canvas:
        """A copy of `still` with the things that move on the bench at this time."""
        canvas = still.copy()
        self._disturb(canvas, over_hand=False)
        return canvas

    def _disturb(self, canvas: Canvas, *, over_hand: bool) -> None:
        for disturbance in self.scene.disturbances:
            if (disturbance.kind == "shadow") == over_hand:
                self.stage.disturb(canvas, disturbance, self.frame / FRAMES_PER_SECOND)

    def _show(
        self, canvas: Canvas, hand: Point, grip: Grip, *, tool: tuple[str, float, float, float] | None = None
    ) -> Canvas:
        """Draw the hand at `hand`; `tool` is name, angle, scale, phase."""
        self.hand = hand
        arm = Placement(x=hand[0], y=hand[1], angle=self._angle_at(hand))
        self.stage.forearm(canvas, arm, grip)
        if tool:
            name, angle, scale, phase = tool
            at = Placement(x=hand[0], y=hand[1], angle=angle)
            self.stage.held_tool(canvas, name, at, scale=scale, phase=phase)
        self.stage.fingers(canvas, arm, grip)
        self._disturb(canvas, over_hand=True)
        self.frame += 1
        return canvas

    def idle(self, num_frames: int, *, leave: bool) -> Iterator[Canvas]:
        """Frames between two steps: the hand stays, hovers or leaves."""
        if num_frames <= 0:
            return
        still = self.stage.still(self.work)
        start = self.hand
        goal = self._away() if leave else start
        if not leave and self.rng.uniform() < 0.75:
            away = (WORLD / 2 + self.rng.uniform(-45, 45), WORLD / 2 + self.rng.uniform(-45, 45))
            goal = _between(away, self._away(), self.rng.uniform(0.0, 1.0))
        move = min(num_frames, int(self.rng.integers(6, 12)))
        for frame in range(num_frames):
            tremble = (0.8 * math.sin(frame * 0.7), 0.8 * math.cos(frame * 0.9))
            x, y = _between(start, goal, _ease((frame + 1) / move))
            yield self._show(self._fresh(still), (x + tremble[0], y + tremble[1]), "open")

    def _place(self, name: str, slot: int, pose: Pose, scale: float) -> tuple[Point, float]:
        """Hand and tool angle such that the tool's tip is where the pose says."""
        piece = self.scene.pieces[name]
        tx, ty = target_of(name, slot)
        tx, ty = (tx + pose.x) * PIECE_SCALE, (ty + pose.y) * PIECE_SCALE
        cos, sin = math.cos(piece.angle), math.sin(piece.angle)
        tip = (piece.x + tx * cos - ty * sin, piece.y + tx * sin + ty * cos)
        hand = tip
        angle = 0.0
        for _ in range(4):
            angle = self._angle_at(hand) + self.bend + pose.swing
            ox, oy = TOOL_TIPS[name][0] * scale - pose.along, TOOL_TIPS[name][1] * scale
            cos, sin = math.cos(angle), math.sin(angle)
            hand = (tip[0] - ox * cos + oy * sin, tip[1] - ox * sin - oy * cos)
        return hand, angle + pose.turn

    def _bend_for(self, name: str, slot: int) -> float:
        """The least turn of the wrist that keeps the hand inside the frame while it works."""
        for self.bend in _BENDS:
            (x, y), _ = self._place(name, slot, Pose(), _HELD_SCALE)
            if min(x, y) > _INSIDE and max(x, y) < WORLD - _INSIDE:
                return self.bend
        return 0.0

    def step(self, segment: Segment) -> Iterator[Canvas]:
        """Frames of one step."""
        name, num_frames = segment.step, segment.end - segment.start
        slot = int(self.work[name])
        self.bend = self._bend_for(name, slot)
        still = self.stage.still(self.work, without=name)
        begin, end = 0.18, 0.92
        seconds = num_frames / FRAMES_PER_SECOND * self.scene.tempo
        start = self.hand
        for frame in range(num_frames):
            u = (frame + 0.5) / num_frames
            canvas = self._fresh(still)
            acting = min(1.0, max(0.0, (u - begin) / (end - begin)))
            pose = pose_of(name, acting, seconds=acting * (end - begin) * seconds)
            self.stage.piece(canvas, name, slot + min(pose.done, 0.98) if u <= end else slot + 1)
            yield self._with_tool(canvas, name, slot, pose, (u, begin, end), start)
        self.work[name] = slot + 1.0

    def _with_tool(
        self, canvas: Canvas, name: str, slot: int, pose: Pose, times: tuple[float, float, float], start: Point
    ) -> Canvas:
        """One frame of a step with a tool: fetch it, carry it, use it, bring it back."""
        u, begin, end = times
        taken = begin / 2
        rest = self.stage.grip_of(name)
        home = (rest.x, rest.y)
        if u < taken:
            if name != "gear":
                self.stage.resting_tool(canvas, name)
            return self._show(canvas, _between(start, home, _ease(u / taken)), "open")
        scale = _HELD_SCALE * pose.lift
        hand, angle = self._place(name, slot, pose, scale)
        if u < begin or u > end:
            way = _ease((u - taken) / (begin - taken)) if u < begin else _ease(1 - (u - end) / (1 - end))
            hand = _between(home, hand, way)
            angle = _turn_between(rest.angle, angle, way)
            scale = REST_SCALE + (scale - REST_SCALE) * min(1.0, 2 * way)
        if name == "gear" and (pose.released or u > end):
            return self._show(canvas, hand, "open")
        phase = pose.phase if begin <= u <= end else 0.0
        return self._show(canvas, hand, "closed", tool=(name, angle, scale, phase))


def _gain_map(light: Light, side: int) -> NDArray[np.float32]:
    """Gain of every pixel and channel, times 128; float32 (S, S, 3)."""
    v, u = np.mgrid[0:side, 0:side].astype(np.float32) / np.float32(side) - 0.5
    plane = light.level * (1.0 + light.slope[0] * u + light.slope[1] * v)
    return np.asarray(128 * plane[..., None] * np.asarray(light.tint, np.float32), np.float32)


def _expose(canvases: Iterator[Canvas], scene: Scene, rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """Camera tremor, light and sensor noise: canvases -> uint8 (S, S, 3) frames."""
    size, margin, light = scene.camera.size, scene.camera.margin, scene.light
    gain = _gain_map(light, size)
    bank = np.rint(rng.normal(0, light.noise, (size + 32, size + 32, 3))).astype(np.int16)
    start = rng.uniform(0, 6.3, 3)
    for index, canvas in enumerate(canvases):
        seconds = index / FRAMES_PER_SECOND
        dx, dy = scene.camera.shake * np.sin(seconds * np.array([5.1, 4.3]) + start[:2]) + rng.normal(0, 0.2, 2)
        x, y = np.clip(np.rint([margin + dx, margin + dy]), 0, 2 * margin).astype(int)
        flicker = 1.0 + light.flicker[0] * math.sin(2 * math.pi * light.flicker[1] * seconds + start[2])
        lit = (canvas[y : y + size, x : x + size] * (gain * np.float32(flicker)).astype(np.uint16)) >> 7
        i, j = rng.integers(0, 33, 2)
        noisy = lit.astype(np.int16) + bank[i : i + size, j : j + size]
        yield np.clip(noisy, 0, 255).astype(np.uint8)


def _play(schedule: Schedule, stage: Stage, rng: np.random.Generator) -> Iterator[Canvas]:
    player = _Player(stage, rng)
    at = 0
    for segment in schedule.segments:
        yield from player.idle(segment.start - at, leave=at == 0)
        yield from player.step(segment)
        at = segment.end
    yield from player.idle(schedule.num_frames - at, leave=True)


def render(schedule: Schedule, scene: Scene, *, rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """Render one video.

    Args:
        schedule: which step happens when; every step type needs its things in `scene`.
        scene: camera, light and placements.
        rng: source of randomness for texture, hesitation and noise.

    Yields:
        uint8 (S, S, 3) RGB frames, `schedule.num_frames` of them.
    """
    yield from _expose(_play(schedule, Stage(scene, rng=rng), rng), scene, rng)
