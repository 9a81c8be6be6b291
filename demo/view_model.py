"""What stands on the page about the model: what it is, and what its threshold means."""

from __future__ import annotations

import base64
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .view import METHOD_WORDS, note_view, notes_list, section, table

__all__ = ["calibration_view", "model_view", "rates_at", "rates_view"]


def model_view(facts: Mapping[str, Any]) -> str:
    """What the model is and runs on, as in effect.

    Args:
        facts: see `answers.Answerer.facts`.
    """
    rows = [
        ("Model", facts["name"]),
        ("What it knows", facts["description"]),
        ("How it compares", METHOD_WORDS[facts["method"]]),
        ("Frames it looks at", facts["sampling"]),
        ("Runs on", f"{facts['device']} ({facts['provider']})"),
        ("Precision", facts["precision"]),
        ("Follows scripts", "yes" if facts["reads_scripts"] else "no: it has no network for texts"),
    ]
    return (
        f'<article class="w-result">{section("What answers here", table(rows) + notes_list(facts["notes"]))}</article>'
    )


def rates_at(curve: Sequence[Sequence[float]], threshold: float) -> tuple[float, float]:
    """The shares of different pairs that would pass and of same pairs that would not, between two points of the curve.

    Args:
        curve: see `Evidence.curve`; at least one point.
        threshold: a distance.
    """
    after = bisect_right([point[0] for point in curve], threshold)
    if after in (0, len(curve)):
        _, accepted, refused = curve[max(0, after - 1)]
        return accepted, refused
    (low, *first), (high, *second) = curve[after - 1], curve[after]
    part = (threshold - low) / (high - low)
    accepted, refused = (a + part * (b - a) for a, b in zip(first, second, strict=True))
    return accepted, refused


def rates_view(facts: Mapping[str, Any], threshold: float) -> str:
    """Which errors a threshold would mean, on the pairs that the model was calibrated on."""
    entry = facts["thresholds"].get(facts["method"])
    curve = (entry or {}).get("calibrated", {}).get("evidence", {}).get("curve", [])
    if entry is None or not curve:
        return note_view(
            "Unknown",
            "This model does not hold what other thresholds would mean; calibrate it anew with weaksvr-calibrate.",
        )
    calibrated = entry["calibrated"]
    num_same, num_different = calibrated["same"], calibrated["pairs"] - calibrated["same"]
    accepted, refused = rates_at(curve, threshold)
    own = " (the model's own)" if abs(threshold - entry["threshold"]) < 5e-4 else ""
    return (
        f'<div class="w-result"><p>At <b>{threshold:.3f}</b>{own}, of the pairs that the model was calibrated on:</p>'
        f"{_meter('different pairs would pass as the same', accepted, num_different, 'far')}"
        f"{_meter('same pairs would be called different', refused, num_same, 'near')}</div>"
    )


def calibration_view(facts: Mapping[str, Any]) -> str:
    """How the threshold was found, in words and as the bundle's picture."""
    entry = facts["thresholds"].get(facts["method"])
    if entry is None:
        return note_view("Not calibrated", "Nobody has told this model from which distance on two videos differ.")
    calibrated = entry["calibrated"]
    words = (
        f"Found on {calibrated['pairs']} pairs of videos, {calibrated['same']} of them the same: {calibrated['rule']}. "
        "On other footage the rates may be others."
    )
    if not facts["picture"]:
        return section("How the threshold was found", f"<p>{escape(words)}</p>")
    picture = base64.b64encode(facts["picture"].encode()).decode()
    return (
        '<article class="w-result">'
        + section(
            "How the threshold was found",
            f'<p>{escape(words)}</p><div class="w-film" role="region" tabindex="0" aria-label="Calibration picture">'
            f'<img class="w-calibration" src="data:image/svg+xml;base64,{picture}" '
            'alt="Left, the share of same pairs recognised over the share of different pairs accepted. Right, how '
            'often each distance occurs among same and different pairs, with the threshold between."></div>',
        )
        + "</article>"
    )


def _meter(text: str, rate: float, count: int, kind: str) -> str:
    """A share in per cent, as a number of pairs, and as a bar."""
    return (
        f'<div class="w-meter w-meter-{kind}"><b>{100 * rate:.1f} %</b><span>{text} ({round(rate * count)} of {count})'
        f'</span><div class="w-meter-bar" aria-hidden="true"><i style="width:{100 * rate:.1f}%"></i></div></div>'
    )
