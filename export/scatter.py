"""Distances before and after, drawn as SVG."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from .verdicts import Distances

__all__ = ["Panel", "scatter"]

_SIDE: Final = 300  # pixels, of the square that holds the points
_MARGIN: Final = 50
_DRAWN: Final = 1500  # points of a panel; more would only make the file larger
_COLORS: Final = {"other": "#b0b0b0", "different": "#d98032", "same": "#3273b8", "flipped": "#d0021b"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """One square: a variant and a way to compare.

    Attributes:
        distances: of the pairs.
        threshold, source_threshold: the variant's and PyTorch's.
        flipped: numbers of the pairs whose verdict flipped, all of which are drawn.
    """

    title: str
    distances: Distances
    threshold: float
    source_threshold: float
    flipped: Sequence[int]


def scatter(panels: Sequence[Panel], *, columns: int) -> str:
    """An SVG document with a square for each panel."""
    step = _SIDE + 2 * _MARGIN
    rows = -(-len(panels) // columns)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{columns * step}" height="{rows * step + 20}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        left, top = number % columns * step + _MARGIN, number // columns * step + _MARGIN
        lines += [f'<g transform="translate({left} {top})">', *_panel(panel), "</g>"]
    for number, (name, color) in enumerate(_COLORS.items()):
        label = "unlabelled" if name == "other" else name
        left, top = _MARGIN + 110 * number, rows * step
        lines.append(f'<rect x="{left}" y="{top}" width="8" height="8" fill="{color}"/>')
        lines.append(f'<text x="{left + 14}" y="{top + 8}">{label}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _panel(panel: Panel) -> Iterator[str]:
    distances = panel.distances
    largest = max(float(distances.source.max()), float(distances.variant.max()), panel.threshold, 1e-9)
    yield f'<rect width="{_SIDE}" height="{_SIDE}" fill="none" stroke="#444"/>'
    yield f'<text x="0" y="-8">{escape(panel.title)}</text>'
    yield f'<text x="{_SIDE}" y="{_SIDE + 16}" text-anchor="end">PyTorch, up to {largest:.3g}</text>'
    x, y = panel.source_threshold / largest * _SIDE, _SIDE - panel.threshold / largest * _SIDE
    yield f'<path d="M{x:.1f} 0V{_SIDE}M0 {y:.1f}H{_SIDE}" stroke="#888" stroke-dasharray="4 3" fill="none"/>'
    drawn = _drawn(len(distances.source), panel.flipped)
    kind = np.full(len(distances.source), "other", dtype="U9")
    kind[: len(distances.same)] = np.where(distances.same, "same", "different")
    kind[list(panel.flipped)] = "flipped"
    for name, color in _COLORS.items():
        rows = drawn[kind[drawn] == name]
        points = np.stack([distances.source[rows], largest - distances.variant[rows]], axis=1) / largest * _SIDE
        path = "".join(f"M{px:.1f} {py:.1f}h0" for px, py in points)
        if path:
            yield f'<path d="{path}" stroke="{color}" stroke-width="3" stroke-linecap="round" fill="none"/>'


def _drawn(count: int, flipped: Sequence[int]) -> NDArray[np.int64]:
    """Numbers of the points that are drawn: evenly spread ones, and all that flipped."""
    spread = np.linspace(0, count - 1, min(count, _DRAWN), dtype=np.int64)
    return np.union1d(spread, np.array(flipped, dtype=np.int64))
