"""Pictures of results, drawn as SVG from numbers alone: no file, no model. Their look is the page's: `w-` classes.

No meaning is carried by colour alone: every kind of thing has a shape or a pattern of its own, and a word beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final, Literal

from .clock import clock
from .errors import OptionError
from .thresholds import Interval, SameProbability

__all__ = ["PATTERNS", "Fill", "clean", "patterns", "scale", "share", "swatch", "symbol", "time_axis"]

Fill = Literal["plain", "slanted", "crossed", "dotted", "upright", "empty"]
PATTERNS: Final[tuple[Fill, ...]] = ("slanted", "crossed", "dotted", "upright")

_SYMBOLS: Final = {
    "same": '<circle cx="24" cy="24" r="21"/><path d="M15 20h18M15 28h18"/>',
    "different": '<path d="M24 2.5 45.5 24 24 45.5 2.5 24z"/><path d="M15 20h18M15 28h18M29 13 19 35"/>',
    "undecided": '<rect x="4" y="4" width="40" height="40" rx="6" stroke-dasharray="5 4"/>'
    '<path d="M19 19a5 5 0 1 1 7 4.6c-1.6.8-2 1.6-2 3.4M24 33v.5"/>',
    "pass": '<circle cx="24" cy="24" r="21"/><path d="m14 25 7 7 13-15"/>',
    "fail": '<path d="M24 2.5 45.5 24 24 45.5 2.5 24z"/><path d="m17 17 14 14M31 17 17 31"/>',
    "error": '<path d="M24 4 45 43H3z"/><path d="M24 18v12M24 36v.5"/>',
    "note": '<circle cx="24" cy="24" r="21"/><path d="M24 22v13M24 14v.5"/>',
}
_WIDTH: Final = 680
_MARGIN: Final = 16
_CURVE: Final = 84  # pixels that the curve of the chance takes
_TICK_SECONDS: Final = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)


def symbol(name: str) -> str:
    """One of the shapes that go with a word; screen readers pass over it.

    Raises:
        OptionError: if there is no such shape.
    """
    if name not in _SYMBOLS:
        raise OptionError(f"symbol {name!r} is not known; use one of {', '.join(_SYMBOLS)}")
    return f'<svg class="w-symbol" viewBox="0 0 48 48" width="48" height="48" aria-hidden="true">{_SYMBOLS[name]}</svg>'


def clean(text: str) -> str:
    """A text from outside, as HTML: escaped, and characters that cannot be seen written out."""
    return escape("".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text))


def share(chance: float) -> str:
    """A chance in per cent, never 0 or 100."""
    if chance < 0.01:
        return "below 1 %"
    return "above 99 %" if chance > 0.99 else f"{chance:.0%}".replace("%", " %")


def scale(
    distance: float,
    threshold: float,
    *,
    interval: Interval | None = None,
    probability: SameProbability | None = None,
) -> str:
    """A line from alike to unlike with the threshold and the distance on it, as SVG with a text for screen readers.

    Args:
        distance, threshold: at least 0, and finite.
        interval: where the threshold may lie; hatched.
        probability: draws the chance of the same procedure above the line.
    """
    end = max(2 * threshold, 1.25 * distance, 1.1 * (interval[1] if interval else 0), 1e-6)
    left, right = _MARGIN, _WIDTH - _MARGIN

    def place(value: float) -> float:
        return left + (right - left) * value / end

    at, limit = place(distance), place(threshold)
    top = 0 if probability is None else _CURVE
    said = f"Distance {distance:.4f} on a scale from 0, alike, upwards; up to {threshold:.4f} counts as the same."
    curve = "" if probability is None else _curve(probability, distance, end)
    between = "" if interval is None else _between(place(interval[0]), place(interval[1]))
    return f"""<svg class="w-scale" viewBox="0 {-top} {_WIDTH} {118 + top}" role="img" aria-label="{said}">{curve}
<rect class="w-near" x="{left}" y="50" width="{limit - left:.1f}" height="16" rx="3"/>
<path class="w-far" d="{_hatching(limit, right)}"/>
<rect class="w-far-frame" x="{limit:.1f}" y="50" width="{right - limit:.1f}" height="16" rx="3"/>{between}
<path class="w-limit" d="M{limit:.1f} 42V74"/>
<text x="{limit:.1f}" y="92" text-anchor="{_anchor(limit, _WIDTH)}">threshold {threshold:.4f}</text>
<text class="w-zone" x="{left}" y="112">0, alike: same</text>
<text class="w-zone" x="{right}" y="112" text-anchor="end">unlike: different</text>
<path class="w-here" d="M{at:.1f} 58l-9-22h18z"/>
<text class="w-value" x="{at:.1f}" y="28" text-anchor="{_anchor(at, _WIDTH)}">distance {distance:.4f}</text>
</svg>"""


def patterns() -> str:
    """The definitions of the patterns, once a page."""
    lines = {
        "slanted": ("M0 0V8", 8, 45),
        "crossed": ("M0 0H7M0 0V7", 7, 45),
        "upright": ("M0 0V6", 6, 0),
    }
    drawn = "".join(
        f'<pattern id="w-{name}" width="{size}" height="{size}" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate({turn})"><rect class="w-ground" width="{size}" height="{size}"/>'
        f'<path class="w-stroke" d="{path}"/></pattern>'
        for name, (path, size, turn) in lines.items()
    )
    dots = (
        '<pattern id="w-dotted" width="7" height="7" patternUnits="userSpaceOnUse"><rect class="w-ground" width="7" '
        'height="7"/><circle class="w-dot" cx="3.5" cy="3.5" r="1.7"/></pattern>'
    )
    return f'<svg class="w-patterns" width="0" height="0" aria-hidden="true"><defs>{drawn}{dots}</defs></svg>'


def swatch(fill: Fill, word: str) -> str:
    """One entry of a legend."""
    box = f'<rect class="w-fill-{fill}" x="1" y="1" width="26" height="14" rx="2"/>'
    return (
        f'<span class="w-swatch"><svg viewBox="0 0 28 16" width="28" height="16" aria-hidden="true">{box}</svg>'
        f" {escape(word)}</span>"
    )


def time_axis(end: float, *, left: float, right: float, y: float, start: float = 0.0) -> str:
    """Times below a picture, from `start` to `end` seconds between two places."""
    step = next((step for step in _TICK_SECONDS if (end - start) / step <= 8), _TICK_SECONDS[-1])
    while (end - start) / step > 8:
        step *= 2
    tenths = step < 1
    marks = []
    count = int(start / step) if start % step == 0 else int(start / step) + 1
    while count * step <= end:
        x = left + (right - left) * (count * step - start) / max(end - start, 1e-9)
        marks.append(
            f'<path class="w-tick" d="M{x:.1f} {y}v5"/><text class="w-time" x="{x:.1f}" y="{y + 19}" '
            f'text-anchor="middle">{clock(count * step, tenths=tenths)}</text>'
        )
        count += 1
    return f'<path class="w-tick" d="M{left} {y}H{right}"/>' + "".join(marks)


def _anchor(place: float, width: float) -> str:
    """Where a label is tied so that it stays in the picture."""
    if place < width * 0.15:
        return "start"
    return "end" if place > width * 0.85 else "middle"


def _curve(probability: SameProbability, distance: float, end: float) -> str:
    """The chance of the same procedure over the distance, and where the two videos are on it."""
    left, right, low, high = _MARGIN, _WIDTH - _MARGIN, 0, -_CURVE + 18
    points: Sequence[float] = [end * step / 80 for step in range(81)]
    line = " ".join(
        f"{left + (right - left) * value / end:.1f},{low + (high - low) * probability.at(value):.1f}"
        for value in points
    )
    x, y = left + (right - left) * distance / end, low + (high - low) * probability.at(distance)
    return (
        f'<path class="w-tick" d="M{left} {low}H{right}M{left} {high}H{right}"/>'
        f'<polyline class="w-curve" points="{line}"/><path class="w-drop" d="M{x:.1f} {y:.1f}V14"/>'
        f'<circle class="w-point" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
        f'<text x="{right}" y="{high - 4}" text-anchor="end">chance of the same procedure: 100 %</text>'
        f'<text x="{right}" y="{low - 4}" text-anchor="end">0 %</text>'
    )


def _between(low: float, high: float) -> str:
    width = max(high - low, 1.0)
    return f'<rect class="w-between" x="{low:.1f}" y="45" width="{width:.1f}" height="26" rx="2"/>'


def _hatching(start: float, end: float) -> str:
    steps = range(int(start) // 8 + 1, int(end) // 8)
    return "".join(f"M{8 * step} 66l8 -16" for step in steps)
