"""What thresholds are founded on, as one picture: ROC curves and histograms of distances, drawn as SVG."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from .operating_point import Curve
from .thresholds import Threshold

__all__ = ["Panel", "draw"]

_WIDTH: Final = 380  # pixels, of a field
_HEIGHT: Final = 260
_GAP: Final = 70
_TOP: Final = 64
_ROW: Final = _HEIGHT + 124
_BINS: Final = 40
_SAME: Final = "#3273b8"
_DIFFERENT: Final = "#d98032"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Panel:
    """One row of the picture.

    Attributes:
        entry: the threshold, with its evidence.
        same, distances: of the pairs that it was calibrated on, (P,).
    """

    entry: Threshold
    same: NDArray[np.bool_]
    distances: NDArray[np.float64]


def draw(panels: Sequence[Panel], *, name: str) -> str:
    """An SVG document with a row for each panel; it can be read without colour."""
    width, height = 2 * _WIDTH + 3 * _GAP, _TOP + len(panels) * _ROW + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        '<defs><pattern id="stripes" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<path d="M0 0V5" stroke="{_DIFFERENT}" stroke-width="3.5"/></pattern></defs>',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_GAP}" y="24" font-size="15">Calibration of {escape(name)}</text>',
    ]
    for row, panel in enumerate(panels):
        top = _TOP + row * _ROW
        entry = panel.entry
        title = f"{entry.method}, {entry.precision}, {entry.sampling}: {entry.calibrated.rule}"
        lines.append(f'<text x="{_GAP}" y="{top - 8}">{escape(title)}</text>')
        lines += [f'<g transform="translate({_GAP} {top})">', *_roc(panel), "</g>"]
        lines += [f'<g transform="translate({2 * _GAP + _WIDTH} {top})">', *_histogram(panel), "</g>"]
    return "\n".join([*lines, "</svg>", ""])


def _roc(panel: Panel) -> Iterator[str]:
    curve = Curve(panel.same, panel.distances)
    accepted = curve.different[0] / curve.different[0, -1]
    recognised = curve.same[0] / curve.same[0, -1]
    yield from _frame("different pairs accepted", 1.0, "same pairs accepted", 1.0)
    points = " ".join(
        f"{x * _WIDTH:.1f},{_HEIGHT - y * _HEIGHT:.1f}" for x, y in zip(accepted, recognised, strict=True)
    )
    yield f'<path d="M0 {_HEIGHT}L{_WIDTH} 0" stroke="#bbb" stroke-dasharray="2 4"/>'
    yield f'<polyline points="{points}" fill="none" stroke="{_SAME}" stroke-width="2"/>'
    calibrated, evidence = panel.entry.calibrated, panel.entry.calibrated.evidence
    low, high = evidence.intervals["auc"] if evidence else (calibrated.auc, calibrated.auc)
    cut = int(curve.cuts_at(panel.entry.threshold)[0])
    x, y = accepted[cut] * _WIDTH, _HEIGHT - recognised[cut] * _HEIGHT
    if evidence:
        left, right = (rate * _WIDTH for rate in evidence.intervals["false_accept"])
        upper, lower = (rate * _HEIGHT for rate in evidence.intervals["false_refuse"])
        cross = f"M{left:.1f} {y:.1f}H{right:.1f}M{x:.1f} {upper:.1f}V{lower:.1f}"
        yield f'<path d="{cross}" stroke="#222" stroke-width="1.5"/>'
    yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="white" stroke="#222" stroke-width="2"/>'
    text = (f"AUC {calibrated.auc:.4f} (95 %: {low:.4f} to {high:.4f})", f"equal error rate {calibrated.eer:.3f}")
    for line, words in enumerate((*text, f"circle: at the threshold {panel.entry.threshold:.4f}")):
        yield f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 44 + 16 * line}" text-anchor="end">{words}</text>'


def _histogram(panel: Panel) -> Iterator[str]:
    entry, evidence = panel.entry, panel.entry.calibrated.evidence
    low, high = evidence.intervals["threshold"] if evidence else (entry.threshold, entry.threshold)
    largest = _round_up(max(float(panel.distances.max()), high, 1e-9))
    edges = np.linspace(0, largest, _BINS + 1)
    shares = [np.histogram(panel.distances[kind], edges)[0] / kind.sum() for kind in (panel.same, ~panel.same)]
    tallest = _round_up(max(float(share.max()) for share in shares))
    yield from _frame("distance", largest, "share of the pairs of a kind", tallest)
    scale = _WIDTH / largest
    yield f'<rect x="{low * scale:.1f}" width="{(high - low) * scale:.1f}" height="{_HEIGHT}" fill="#ddd"/>'
    for share, fill, edge in zip(shares, (_SAME, "url(#stripes)"), (_SAME, _DIFFERENT), strict=True):
        outline = "".join(
            f"V{_HEIGHT - value / tallest * _HEIGHT:.1f}H{right * scale:.1f}"
            for value, right in zip(share, edges[1:], strict=True)
        )
        yield f'<path d="M0 {_HEIGHT}{outline}V{_HEIGHT}Z" fill="{fill}" fill-opacity="0.55" stroke="{edge}"/>'
    if entry.probability is not None:
        at = np.linspace(0, largest, 101)
        chances = [_HEIGHT * (1 - entry.probability.at(float(distance))) for distance in at]
        points = " ".join(f"{x * scale:.1f},{y:.1f}" for x, y in zip(at, chances, strict=True))
        yield f'<polyline points="{points}" fill="none" stroke="#222" stroke-dasharray="6 3"/>'
        yield f'<text x="{_WIDTH + 6}" y="10">1</text><text x="{_WIDTH + 6}" y="{_HEIGHT}">0</text>'
    yield f'<path d="M{entry.threshold * scale:.1f} 0V{_HEIGHT}" stroke="#222" stroke-width="2"/>'
    num_same, num_different = int(panel.same.sum()), int((~panel.same).sum())
    keys = (
        (f'fill="{_SAME}" fill-opacity="0.55" stroke="{_SAME}"', f"{num_same} same pairs"),
        (f'fill="url(#stripes)" fill-opacity="0.55" stroke="{_DIFFERENT}"', f"{num_different} different pairs"),
        ('fill="#ddd"', f"threshold {entry.threshold:.4f} (95 %: {low:.4f} to {high:.4f})"),
    )
    for line, (look, words) in enumerate(keys):
        x, y = (line % 2) * 170, _HEIGHT + 50 + 18 * (line // 2)
        yield f'<rect x="{x}" y="{y}" width="11" height="11" {look}/><text x="{x + 17}" y="{y + 10}">{words}</text>'
    if entry.probability is not None:
        yield f'<path d="M0 {_HEIGHT + 92}h15" stroke="#222" stroke-dasharray="6 3"/>'
        yield f'<text x="17" y="{_HEIGHT + 96}">probability of being the same (scale on the right)</text>'


def _frame(across: str, largest: float, upward: str, tallest: float) -> Iterator[str]:
    yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#444"/>'
    yield f'<text x="{_WIDTH / 2}" y="{_HEIGHT + 34}" text-anchor="middle">{across}</text>'
    yield f'<text transform="translate(-50 {_HEIGHT / 2}) rotate(-90)" text-anchor="middle">{upward}</text>'
    for part in (0, 0.25, 0.5, 0.75, 1):
        x, y = part * _WIDTH, _HEIGHT * (1 - part)
        yield f'<path d="M{x:.1f} {_HEIGHT}v5M0 {y:.1f}h-5" stroke="#444"/>'
        yield f'<text x="{x:.1f}" y="{_HEIGHT + 18}" text-anchor="middle">{part * largest:.3g}</text>'
        yield f'<text x="-8" y="{y + 4:.1f}" text-anchor="end">{part * tallest:.3g}</text>'


def _round_up(value: float) -> float:
    """The next number above `value` whose quarter is 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value / 4))
    return 4 * power * next(step for step in (1, 2, 2.5, 5, 10) if 4 * step * power >= value)
