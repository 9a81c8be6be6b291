"""How a tool moves while it is at work."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

__all__ = ["Pose", "pose_of"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """Where the tool is relative to the point that it works on.

    Attributes:
        x, y: shift in the workpiece's coordinates.
        along: shift along the tool, positive pushes it forward.
        turn: rotation about the hand in radians.
        swing: rotation about the tip in radians; the hand moves around it.
        lift: size relative to a tool on the workpiece, above 1 when raised.
        phase: cycle of the tool's moving parts in radians.
        done: progress on the slot in [0, 1].
        released: whether the hand has let go of what it carried.
    """

    x: float = 0.0
    y: float = 0.0
    along: float = 0.0
    turn: float = 0.0
    swing: float = 0.0
    lift: float = 1.0
    phase: float = 0.0
    done: float = 0.0
    released: bool = False


def _wave(seconds: float, hertz: float) -> float:
    """0 to 1 to 0, `hertz` times a second, from 0."""
    return 0.5 - 0.5 * math.cos(2 * math.pi * hertz * seconds)


def _cycle(seconds: float, hertz: float) -> float:
    return 2 * math.pi * hertz * seconds


def _hammer(u: float, seconds: float) -> Pose:
    raised = _wave(seconds, 1.7)
    return Pose(turn=-0.85 * raised, lift=1.0 + 0.12 * raised, done=u)


def _sponge(u: float, seconds: float) -> Pose:
    turn = _cycle(seconds, 1.3)
    return Pose(x=6 * math.cos(turn), y=6 * math.sin(turn), done=u)


def _screwdriver(u: float, seconds: float) -> Pose:
    return Pose(swing=0.16 * math.sin(_cycle(seconds, 1.4)), phase=_cycle(seconds, 1.4) * 2, done=u)


def _scissors(u: float, seconds: float) -> Pose:
    return Pose(y=5 - 9 * u, phase=_cycle(seconds, 1.9), done=u)


def _ruler(u: float, seconds: float) -> Pose:
    slide = min(1.0, max(0.0, (u - 0.45) * 8))
    return Pose(x=-7 + 10 * slide, swing=0.05 * math.sin(_cycle(seconds, 0.7)), done=u)


def _bottle(u: float, seconds: float) -> Pose:
    tilt = min(1.0, u * 5, (1 - u) * 6)
    return Pose(swing=-0.9 * tilt, lift=1.08, phase=_cycle(seconds, 2.1) + 0.1 if tilt > 0.75 else 0.0, done=u)


def _stamp(u: float, seconds: float) -> Pose:
    raised = 1.0 - _wave(seconds, 1.1)
    return Pose(along=-7 * raised, lift=1.0 + 0.28 * raised, done=u)


def _burner(u: float, seconds: float) -> Pose:
    return Pose(
        along=-4 * (1 - u), swing=0.12 * math.sin(_cycle(seconds, 0.6)), phase=_cycle(seconds, 3.1) + 0.1, done=u
    )


def _gear(u: float, seconds: float) -> Pose:
    if u < 0.6:
        return Pose(along=-5 * (1 - u / 0.6), swing=0.35 * math.sin(_cycle(seconds, 1.5)), lift=1.05 - 0.2 * u)
    return Pose(along=-6 * _wave(seconds, 1.8), done=min(1.0, u + 0.05), released=True)


def _brush(u: float, seconds: float) -> Pose:
    stroke = _cycle(seconds, 1.1)
    return Pose(y=-8 * math.cos(stroke), phase=stroke, done=u)


def _tape(u: float, seconds: float) -> Pose:
    pull = min(1.0, u / 0.85)
    return Pose(y=-14 + 26 * pull, phase=_cycle(seconds, 0.9), done=pull)


def _wrench(u: float, seconds: float) -> Pose:
    return Pose(swing=0.62 * math.sin(_cycle(seconds, 0.9)), done=u)


def _saw(u: float, seconds: float) -> Pose:
    return Pose(along=10 * math.sin(_cycle(seconds, 1.7)), done=u)


def _drill(u: float, seconds: float) -> Pose:
    shiver = math.sin(_cycle(seconds, 4.3))
    return Pose(
        x=1.1 * shiver, y=0.8 * math.cos(_cycle(seconds, 3.7)), along=-4 + 5 * u, phase=_cycle(seconds, 2.3), done=u
    )


def _iron(u: float, seconds: float) -> Pose:
    stroke = _cycle(seconds, 0.8)
    return Pose(y=9 * math.cos(stroke), phase=stroke + 0.1, done=u)


def _magnifier(u: float, seconds: float) -> Pose:
    turn = _cycle(seconds, 0.5)
    return Pose(x=4 * math.cos(turn), y=3 * math.sin(turn), lift=1.1 + 0.1 * math.sin(turn), phase=turn * 2, done=u)


def _roller(u: float, seconds: float) -> Pose:
    stroke = _cycle(seconds, 0.9)
    return Pose(along=9 * math.sin(stroke), phase=2 * stroke, done=u)


def _spray(u: float, seconds: float) -> Pose:
    return Pose(y=4 * math.sin(_cycle(seconds, 0.4)), lift=1.04, phase=_cycle(seconds, 1.3), done=u)


_MOTIONS: dict[str, Callable[[float, float], Pose]] = {
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


def pose_of(name: str, u: float, *, seconds: float) -> Pose:
    """The pose of step type `name` at the fraction `u` in [0, 1] of its action.

    Args:
        name: step type.
        u: fraction of the action that has passed.
        seconds: time since the action began, at the person's own tempo.
    """
    return _MOTIONS[name](u, seconds)
