"""What stands on the page about a video and a script: the verdict, and a line of time for every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from ..runtime.clock import clock, clock_span
from ..runtime.pictures import share, symbol
from .view import details, notes_list, section

__all__ = ["timeline_view"]

_STATUS: Final = {
    "found": ("✓", "in its place"),
    "missing": ("∅", "missing"),
    "out of order": ("⇅", "out of order"),
    "repeated": ("↻", "done again"),
    "too short": ("⇥", "too short"),
    "too long": ("⇤", "too long"),
}
_TICKS: Final = 5


def timeline_view(answer: Mapping[str, Any]) -> str:
    """The verdict on a video and a script, and when each step happens. Buttons with `data-seek` carry seconds.

    Args:
        answer: of the task `timeline`; see `answers.Answerer`.
    """
    result = answer["result"]
    return "".join(
        [
            '<article class="w-result">',
            _banner(result),
            section(
                "Step by step",
                '<p class="w-soft">Choose a step, and the player jumps there.</p>' + _steps(result, answer["pictures"]),
            ),
            _gaps(result["unexplained"]),
            details(
                [
                    ("Length of the video", clock(result["duration_seconds"])),
                    ("A frame was looked at every", f"{result['interval_seconds']:.2f} s"),
                    ("Ran on", f"{result['device']}, {result['precision']}"),
                    ("Model", result["bundle"]),
                ]
            ),
            "</article>",
        ]
    )


def _banner(result: Mapping[str, Any]) -> str:
    kind = "same" if result["passed"] else "different"
    word = "Follows the script" if result["passed"] else "Does not follow the script"
    reasons = "".join(f"<li>{escape(reason[:1].upper() + reason[1:])}</li>" for reason in result["reasons"])
    told = f'<ul class="w-notes">{reasons}</ul>' if reasons else "<p>Every step was found, in the script's order.</p>"
    return (
        f'<header class="w-verdict w-{kind}">{symbol("pass" if result["passed"] else "fail")}'
        f"<div><h2>{word}</h2>{told}</div></header>{notes_list(result['notes'])}"
    )


def _steps(result: Mapping[str, Any], pictures: Sequence[str | None]) -> str:
    seconds = result["duration_seconds"]
    rows = []
    for number, (step, picture) in enumerate(zip(result["steps"], pictures, strict=True), start=1):
        spans = [] if step["start"] is None else [(step["start"], step["end"], "")]
        spans += [(each["start"], each["end"], "again") for each in result["repeats"] if each["step"] == number - 1]
        rows.append(_row(number, step, picture, spans, seconds))
    return f'<ol class="w-steps">{"".join(rows)}</ol>{_axis(seconds)}'


def _row(
    number: int,
    step: Mapping[str, Any],
    picture: str | None,
    spans: Sequence[tuple[float, float, str]],
    seconds: float,
) -> str:
    sign, word = _STATUS[step["status"]]
    state = f'<span class="w-state"><b aria-hidden="true">{sign}</b> {word}</span>'
    label = f'<span class="w-number">{number}</span><span class="w-step-text">{escape(step["text"])}</span>'
    sure = f"{share(step['confidence'])} sure"
    if step["start"] is None:
        image = '<span class="w-no-picture" aria-hidden="true">∅</span>'
        head = f'<div class="w-step-head">{image}{label}{state}<span class="w-when">{sure}</span></div>'
    else:
        span = clock_span(step["start"], step["end"])
        image = f'<img src="{escape(picture or "")}" alt="">'
        head = (
            f'<button type="button" class="w-step-head" data-seek="{step["start"]:.2f}">{image}{label}{state}'
            f'<span class="w-when">{span}, {sure}</span></button>'
        )
    bars = "".join(_bar(start, end, seconds, again) for start, end, again in spans)
    kind = "w-step-ok" if step["status"] == "found" else "w-step-wrong"
    return f'<li class="{kind}">{head}<div class="w-track">{bars}</div></li>'


def _bar(start: float, end: float, seconds: float, again: str) -> str:
    """A stretch of time on the line; where it is no repetition, the row's button is the way to it by keyboard."""
    left, width = 100 * start / seconds, 100 * (end - start) / seconds
    place = f'style="left:{left:.2f}%;width:{width:.2f}%"'
    if not again:
        return f'<i {place} data-seek="{start:.2f}"></i>'
    span = clock_span(start, end)
    return (
        f'<button type="button" class="w-again" {place} data-seek="{start:.2f}" title="again, {span}" '
        f'aria-label="done again, {span}">↻</button>'
    )


def _axis(seconds: float) -> str:
    ticks = "".join(f"<span>{clock(seconds * i / (_TICKS - 1))}</span>" for i in range(_TICKS))
    return f'<div class="w-axis" aria-hidden="true">{ticks}</div>'


def _gaps(stretches: Sequence[Mapping[str, float]]) -> str:
    if not stretches:
        return ""
    buttons = "".join(
        f'<li><button type="button" class="w-chip" data-seek="{each["start"]:.2f}">'
        f"{clock_span(each['start'], each['end'])}</button></li>"
        for each in stretches
    )
    return section(
        "Where no step was seen",
        '<p class="w-soft">Pauses, handling, or work that the script does not name.</p>'
        f'<ul class="w-chips">{buttons}</ul>',
    )
