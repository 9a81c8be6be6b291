"""The report on a video and a script, as one page: a pure function of the result and of its key frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from .clock import clock, clock_span
from .key_frames import KeyFrame
from .pictures import Fill, clean, swatch, time_axis
from .report_facts import Facts, VideoFacts
from .report_page import banner, made_at, note_list, page, repeat, section
from .timeline import FoundStep, StepStatus, Timeline

__all__ = ["timeline_page"]

Place = Callable[[float], float]

_STATUS: Final[dict[StepStatus, tuple[str, Fill]]] = {
    "found": ("✓", "plain"),
    "missing": ("∅", "empty"),
    "out of order": ("⇅", "slanted"),
    "repeated": ("↻", "upright"),
    "too short": ("⇥", "crossed"),
    "too long": ("⇤", "crossed"),
}
_AGAIN: Final = ("↻", "again")
_CHART: Final = 960  # pixels
_LEFT, _RIGHT, _ROW = 250, 834, 30
_LETTERS: Final = 30  # of a step's text beside the picture


def timeline_page(result: Timeline, *, video: VideoFacts, pictures: Sequence[KeyFrame | None], facts: Facts) -> str:
    """The page as HTML.

    Args:
        result: the steps found.
        video: that was looked at.
        pictures: (K,), one for each step; None where there is none.
        facts: of the model and the run.
    """
    word = "Follows the script" if result.passed else "Does not follow the script"
    reasons = [reason[:1].upper() + reason[1:] for reason in result.reasons]
    told = note_list(reasons) or "<p>Every step was found, once, in order, and in its time.</p>"
    script = result.script or f"{len(result.steps)} steps given to the library"
    about = f"Video {video.name}, script {script}. Looked at on {made_at(facts.created)}."
    notes = f'<p class="w-soft">To know:</p>{note_list(result.notes)}' if result.notes else ""
    body = [
        banner(
            kind="same" if result.passed else "different",
            sign="pass" if result.passed else "fail",
            word=word,
            tag=result.verdict,
            about=about,
            inside=told + notes,
        ),
        section("The video in time", _chart(result)),
        section("Step by step", _table(result)),
        section("Pictures of the steps", _film(result, pictures)),
        section("Where no step was seen", _unexplained(result)),
        section("How to repeat this", repeat([("Video", video)], facts, _how(result, facts))),
    ]
    return page(title=f"{word}: {video.name}", body="\n".join(part for part in body if part))


def _chart(result: Timeline) -> str:
    start, end = result.start, result.end

    def place(seconds: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (seconds - start) / max(end - start, 1e-9)

    rows = [_row(number, step, result, place) for number, step in enumerate(result.steps, start=1)]
    bottom = _ROW * len(rows)
    if result.unexplained:
        bars = "".join(_bar(place(each.start), place(each.end), bottom, "dotted") for each in result.unexplained)
        rows.append(f'{_track(bottom)}<text x="4" y="{bottom + 20}">no step of the script</text>{bars}')
        bottom += _ROW
    fills: dict[Fill, list[str]] = {}
    for status, (_, fill) in _STATUS.items():
        if any(step.status == status for step in result.steps):
            fills.setdefault(fill, []).append(status)
    if result.repeats and "upright" not in fills:
        fills["upright"] = ["again"]
    if result.unexplained:
        fills["dotted"] = ["no step of the script"]
    legend = "".join(swatch(fill, " or ".join(words)) for fill, words in fills.items())
    said = f"{len(result.steps)} rows, one a step in the order of the script, with a bar where the step is shown."
    axis = time_axis(end, left=_LEFT, right=_RIGHT, y=bottom + 4, start=start)
    return (
        '<div class="w-wide" role="region" aria-label="The video in time" tabindex="0"><svg class="w-chart" '
        f'viewBox="0 0 {_CHART} {bottom + 30}" role="img" aria-label="{said}">{"".join(rows)}{axis}</svg></div>'
        f'<p class="w-legend">{legend}</p>'
    )


def _row(number: int, step: FoundStep, result: Timeline, place: Place) -> str:
    top = _ROW * (number - 1)
    sign, fill = _STATUS[step.status]
    text = step.text if len(step.text) <= _LETTERS else step.text[: _LETTERS - 1] + "…"
    drawn = f'{_track(top)}<text class="w-row" x="4" y="{top + 20}">{number}</text>'
    drawn += f'<text x="32" y="{top + 20}">{clean(text)}</text>'
    if step.start is not None and step.end is not None:
        drawn += _bar(place(step.start), place(step.end), top, fill)
    else:
        drawn += _bar(_LEFT, _RIGHT, top, "empty")
    for again in result.repeats:
        if again.step == number - 1:
            drawn += _bar(place(again.start), place(again.end), top, "upright")
    return drawn + f'<text class="w-word" x="{_RIGHT + 10}" y="{top + 20}">{sign} {step.status}</text>'


def _track(top: float) -> str:
    return f'<rect class="w-track" x="{_LEFT}" y="{top + 4}" width="{_RIGHT - _LEFT}" height="{_ROW - 8}" rx="3"/>'


def _bar(left: float, right: float, top: float, fill: Fill) -> str:
    return (
        f'<rect class="w-fill-{fill}" x="{left:.1f}" y="{top + 4}" width="{max(right - left, 2.0):.1f}" '
        f'height="{_ROW - 8}" rx="3"/>'
    )


def _table(result: Timeline) -> str:
    rows = []
    for number, step in enumerate(result.steps, start=1):
        sign = _STATUS[step.status][0]
        times = _times(step.start, step.end)
        rows.append(_line(number, step.text, times, _allowed(step), step.confidence, f"{sign} {step.status}"))
        rows += [
            _line(number, each.text, _times(each.start, each.end), "", each.confidence, " ".join(_AGAIN))
            for each in result.repeats
            if each.step == number - 1
        ]
    heads = ("#", "Step", "From", "To", "Takes", "Allowed", "Confidence", "Status")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        '<div class="w-wide" role="region" aria-label="Steps" tabindex="0"><table><caption>In the order of the script'
        f"</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="w-soft">Confidence is the chance that the step happens there; of a missing step, that nothing '
        "else in the video is it.</p>"
    )


def _line(number: int, text: str, times: tuple[str, str, str], allowed: str, confidence: float, status: str) -> str:
    cells = "".join(f'<td class="w-time-cell">{cell}</td>' for cell in (*times, allowed))
    meter = (
        '<svg class="w-meter" viewBox="0 0 60 10" width="60" height="10" aria-hidden="true"><rect class="w-full" '
        f'width="{60 * confidence:.1f}" height="10"/><rect x=".5" y=".5" width="59" height="9"/></svg>'
    )
    return (
        f'<tr><td>{number}</td><th scope="row" class="w-step">{clean(text)}</th>{cells}'
        f'<td class="w-time-cell">{meter}{confidence:.2f}</td><td class="w-kind">{status}</td></tr>'
    )


def _times(start: float | None, end: float | None) -> tuple[str, str, str]:
    if start is None or end is None:
        return "–", "–", "–"
    return clock(start, tenths=True), clock(end, tenths=True), f"{end - start:.1f} s"


def _allowed(step: FoundStep) -> str:
    low, high = step.min_seconds, step.max_seconds
    if low is not None and high is not None:
        return f"{low:g} to {high:g} s"
    if low is not None:
        return f"at least {low:g} s"
    return "any time" if high is None else f"at most {high:g} s"


def _film(result: Timeline, pictures: Sequence[KeyFrame | None]) -> str:
    if not any(picture is not None for picture in pictures):
        return ""
    items, left_out = [], 0
    for number, (step, picture) in enumerate(zip(result.steps, pictures, strict=True), start=1):
        if picture is None and step.start is not None:
            left_out += 1
        else:
            items.append(_figure(number, step, picture))
    note = f'<p class="w-soft">{left_out} of {len(result.steps)} steps are left out here.</p>' if left_out else ""
    return f'<p class="w-soft">The middle of each step.</p>{note}<ol class="w-film">{"".join(items)}</ol>'


def _figure(number: int, step: FoundStep, picture: KeyFrame | None) -> str:
    sign = _STATUS[step.status][0]
    look = "" if step.status == "found" else f' class="w-apart w-{step.status.replace(" ", "-")}"'
    mark = f'<p class="w-mark"><span aria-hidden="true">{sign}</span> {number}, {step.status}</p>'
    if picture is None or picture.picture is None:
        why = "not seen in the video" if picture is None else "cannot be decoded"
        shown = f'<div class="w-none">{why}</div>'
    else:
        at = clock(picture.seconds, tenths=True)
        shown = f'<img src="{escape(picture.picture)}" alt="The video at {at}, in step {number}">'
    when = "" if step.start is None or step.end is None else f"{clock_span(step.start, step.end)} "
    return f"<li{look}>{mark}<figure>{shown}<figcaption>{when}{clean(step.text)}</figcaption></figure></li>"


def _unexplained(result: Timeline) -> str:
    if not result.unexplained:
        return ""
    limit = result.settings.max_unexplained_seconds
    rule = "Any length was allowed." if limit is None else f"Up to {limit:g} s were allowed."
    items = "".join(
        f"<li>{clock_span(each.start, each.end)}, {each.end - each.start:.1f} s</li>" for each in result.unexplained
    )
    return f'<p class="w-soft">Pauses, or work that the script does not name. {rule}</p><ul>{items}</ul>'


def _how(result: Timeline, facts: Facts) -> list[tuple[str, str]]:
    settings = ", ".join(f"{name} {value}" for name, value in result.settings.to_dict().items())
    windows = result.windows[0]
    seen = "one window" if len(result.windows) == 1 else f"{len(result.windows)} windows"
    return [
        ("Script", result.script or "given to the library"),
        ("Steps", "; ".join(_step_line(step) for step in result.steps)),
        (
            "Looked at",
            f"{clock_span(result.start, result.end)}, {len(result.times_seconds)} frames, one every "
            f"{result.interval_seconds:.3g} s, in {seen} of {windows.end - windows.start:.1f} s",
        ),
        ("Sampling", facts.sampling),
        ("Settings", settings),
        ("Model", result.bundle),
        ("Ran on", f"{result.device} ({result.provider}), {result.precision}"),
    ]


def _step_line(step: FoundStep) -> str:
    low = "" if step.min_seconds is None else f" | min {step.min_seconds:g}s"
    high = "" if step.max_seconds is None else f" | max {step.max_seconds:g}s"
    return f"{step.text}{low}{high}"
