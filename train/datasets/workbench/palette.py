"""Colours that vary from video to video."""

from __future__ import annotations

import colorsys
import dataclasses

import numpy as np

from .catalogue import STEP_NAMES
from .sprites import Color

__all__ = ["Paint", "Palette", "draw_palette", "shade"]

_HUE_SPREAD = 0.04  # turns
_GOLDEN = 0.618  # hues of step types that follow one another lie far apart
_SLEEVES = ((40, 60, 120), (110, 40, 45), (50, 90, 60), (70, 70, 75), (190, 190, 195), (150, 110, 60), (30, 110, 120))
_HANDS = (
    (241, 204, 177),
    (214, 163, 125),
    (160, 108, 76),
    (102, 66, 46),
    (60, 130, 190),
    (215, 200, 60),
    (190, 70, 60),
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Paint:
    """The colours of one step type's tool and workpiece, RGB in [0, 255].

    Attributes:
        handle: painted or plastic part of the tool.
        piece: ground colour of the workpiece.
        mark: what the action leaves behind.
    """

    handle: Color
    piece: Color
    mark: Color


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Palette:
    """All colours of one video.

    Attributes:
        paints: per step type.
        steel, wood: materials.
        hand, sleeve: of the person.
    """

    paints: dict[str, Paint]
    steel: Color
    wood: Color
    hand: Color
    sleeve: Color


def shade(color: Color, factor: float) -> Color:
    """`color` made darker (factor < 1) or lighter (factor > 1)."""
    red, green, blue = (min(255.0, channel * factor) for channel in color)
    return red, green, blue


def _hsv(rng: np.random.Generator, hue: float, saturation: tuple[float, float], value: tuple[float, float]) -> Color:
    """A colour near a hue in turns: the same tool of two makers is alike in colour more often than not."""
    turn = (hue + rng.normal(0, _HUE_SPREAD)) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(turn, rng.uniform(*saturation), rng.uniform(*value))
    return red * 255, green * 255, blue * 255


def _jitter(rng: np.random.Generator, color: Color | tuple[int, int, int], amount: float) -> Color:
    red, green, blue = np.clip(np.asarray(color) + rng.normal(0, amount, 3), 0, 255)
    return float(red), float(green), float(blue)


def draw_palette(rng: np.random.Generator) -> Palette:
    """Random colours for one video."""
    paints = {
        name: Paint(
            handle=_hsv(rng, i * _GOLDEN, (0.55, 0.95), (0.6, 0.95)),
            piece=_hsv(rng, i * _GOLDEN + 0.4, (0.05, 0.4), (0.6, 0.95)),
            mark=_hsv(rng, i * _GOLDEN + 0.7, (0.6, 0.95), (0.3, 0.7)),
        )
        for i, name in enumerate(STEP_NAMES)
    }
    return Palette(
        paints=paints,
        steel=_jitter(rng, (178, 184, 190), 12),
        wood=_jitter(rng, (186, 138, 84), 16),
        hand=_jitter(rng, _HANDS[rng.integers(len(_HANDS))], 8),
        sleeve=_jitter(rng, _SLEEVES[rng.integers(len(_SLEEVES))], 12),
    )
