"""The report on two videos, as one page: a pure function of the result and of what the pictures were taken from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from html import escape
from typing import Final

from .clock import clock, clock_span
from .errors import OptionError
from .explain import Difference, Explanation, Shown
from .explain_words import Span
from .pictures import Fill, clean, scale, share, swatch, time_axis
from .report_facts import Facts, VideoFacts
from .report_moments import Mark, Moment
from .report_page import METHOD_WORDS, banner, calibration, made_at, note_list, page, repeat, rows_table, section
from .step_changes import ChangeKind
from .verify import VerifyResult

__all__ = ["Column", "verify_page"]

_VERDICTS: Final = {
    "same": ("Same procedure", "Both videos show the same steps, in the same order."),
    "different": ("Different procedures", "The videos do not show the same steps in the same order."),
    "undecided": ("Undecided", "The videos are too close to the threshold, or too unusual, to say."),
}
_MARKS: Final[dict[Mark, tuple[str, str]]] = {
    "counterpart": ("=", "counterparts"),
    "swapped": ("⇄", "swapped"),
    "missing": ("−", "only in A"),
    "extra": ("+", "only in B"),
    "repeated": ("↻", "once more"),
    "replaced": ("≠", "replaced"),
    "least alike": ("≠", "least alike"),
}
_FILLS: Final[dict[ChangeKind, Fill]] = {
    "swapped": "slanted",
    "missing": "dotted",
    "extra": "dotted",
    "repeated": "upright",
    "replaced": "crossed",
}
_FILL_WORDS: Final[dict[Fill, str]] = {
    "plain": "in both, in the same place of the order",
    "slanted": "swapped",
    "dotted": "only in this video",
    "upright": "once more than in the other video",
    "crossed": "replaced by something else",
}
_LETTERS: Final = "CDEFGHIJKLMNOPQRSTUVWXYZ"  # A and B are the videos
_CHART: Final = 960  # pixels
_LEFT, _RIGHT = 34, 944
_ROWS: Final = {"a": 8, "b": 104}
_TALL: Final = 44


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A moment and its pictures, as data addresses; None where there is nothing, or nothing that can be decoded."""

    moment: Moment
    picture_a: str | None = None
    picture_b: str | None = None


def verify_page(
    result: VerifyResult, *, videos: tuple[VideoFacts, VideoFacts], columns: Sequence[Column], facts: Facts
) -> str:
    """The page as HTML.

    Args:
        result: with an explanation.
        videos: A and B.
        columns: moments side by side, in order.
        facts: of the model and the run.

    Raises:
        OptionError: if the result has no explanation.
    """
    explanation = result.explanation
    if explanation is None:
        raise OptionError("a report needs an explanation: verify with explain=True")
    names = tuple(video.name for video in videos)
    word, sentence = _VERDICTS[result.verdict]
    summary = explanation.summary[:1].upper() + explanation.summary[1:]
    chance = ""
    if result.probability is not None and result.verdict != "undecided":
        chance = f" The chance of the same procedure is {share(result.probability)}."
    inside = (
        f"<p>{escape(sentence)}{escape(chance)}</p><p><strong>{clean(summary)}.</strong></p>{note_list(result.notes)}"
    )
    head = banner(
        kind=result.verdict,
        sign=result.verdict,
        word=word,
        tag=result.verdict.upper(),
        about=f"A is {names[0]}, B is {names[1]}. Compared on {made_at(facts.created)}.",
        inside=inside,
    )
    body = [
        head,
        section("Where they differ", _differences(explanation)),
        section("Side by side", _film(columns)),
        section("Both videos in time", _bands(explanation)),
        section("How far apart they are", _distance(result, facts)),
        section("How to repeat this", repeat(list(zip("AB", videos, strict=True)), facts, _how(result))),
    ]
    return page(title=f"{word}: {names[0]} and {names[1]}", body="\n".join(part for part in body if part))


def _differences(explanation: Explanation) -> str:
    if not explanation.differences:
        a, b = explanation.most_unlike
        return (
            f"<p>No single place stands out. The two videos are least alike at A {clock_span(*a)} and "
            f"B {clock_span(*b)}.</p>"
        )
    rows = "".join(
        f'<tr><th scope="row">{number}</th><td class="w-kind">{_MARKS[each.kind][0]} {each.kind}</td>'
        f'<td class="w-time-cell">{_times(each.a, each.other_a)}</td>'
        f'<td class="w-time-cell">{_times(each.b, each.other_b)}</td>'
        f'<td class="w-what">{clean(_sentence(each))}</td></tr>'
        for number, each in enumerate(explanation.differences, start=1)
    )
    return (
        '<div class="w-wide" role="region" aria-label="Differences" tabindex="0"><table class="w-stack"><caption>'
        f"{len(explanation.differences)} in the order of time</caption><thead><tr>"
        '<th scope="col"><span class="w-aloud">Number</span>#</th><th scope="col">Kind</th><th scope="col">In A</th>'
        f'<th scope="col">In B</th><th scope="col">What</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _sentence(each: Difference) -> str:
    return each.text[:1].upper() + each.text[1:]


def _times(own: Span | None, other: Span | None) -> str:
    spans = [clock_span(*span) for span in (own, other) if span is not None]
    return "<br>".join(spans) if spans else "nowhere"


def _film(columns: Sequence[Column]) -> str:
    if not columns:
        return ""
    items = "".join(_column(column) for column in columns)
    return (
        '<p class="w-soft">Each box shows a moment of A above the moment of B that belongs to it. Boxes with a thick '
        "border are where the videos part; their number is that of the difference above.</p>"
        f'<ol class="w-film">{items}</ol>'
    )


def _column(column: Column) -> str:
    moment = column.moment
    sign, word = _MARKS[moment.mark]
    number = "" if moment.number is None else f" ({moment.number})"
    look = "" if moment.mark == "counterpart" else f' class="w-apart w-{moment.mark.replace(" ", "-")}"'
    pictures = "".join(
        _picture(name, seconds, picture)
        for name, seconds, picture in (("A", moment.a, column.picture_a), ("B", moment.b, column.picture_b))
    )
    return f'<li{look}><p class="w-mark"><span aria-hidden="true">{sign}</span> {word}{number}</p>{pictures}</li>'


def _picture(name: str, seconds: float | None, picture: str | None) -> str:
    if seconds is None:
        return f'<figure><div class="w-none">nothing of it in {name}</div></figure>'
    at = clock(seconds, tenths=True)
    if picture is None:
        return f'<figure><div class="w-none">cannot be decoded</div><figcaption>{name} {at}</figcaption></figure>'
    return (
        f'<figure><img src="{escape(picture)}" alt="What video {name} shows at {at}">'
        f"<figcaption>{name} {at}</figcaption></figure>"
    )


def _bands(explanation: Explanation) -> str:
    end = max(shown[-1].end for shown in (explanation.shown_a, explanation.shown_b))
    first = min(shown[0].start for shown in (explanation.shown_a, explanation.shown_b))
    start = 0.0 if first < (end - first) / 10 else first
    fills = {name: _fills(explanation, name) for name in "ab"}
    letters = _letters(explanation)

    def place(seconds: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (seconds - start) / max(end - start, 1e-9)

    drawn = []
    for name, shown in (("a", explanation.shown_a), ("b", explanation.shown_b)):
        top = _ROWS[name]
        drawn.append(f'<text class="w-row" x="4" y="{top + 28}">{name.upper()}</text>')
        for each, fill in zip(shown, fills[name], strict=True):
            drawn.append(_stretch(place(each.start), place(each.end), top, fill, letters[each.label, each.step]))
    links = "".join(
        f'<path class="w-link{" w-moved" if each.moved else ""}" '
        f'd="M{place(sum(each.a) / 2):.1f} {_ROWS["a"] + _TALL + 3}L{place(sum(each.b) / 2):.1f} {_ROWS["b"] - 3}"/>'
        for each in explanation.aligned
    )
    axis = time_axis(end, left=_LEFT, right=_RIGHT, y=_ROWS["b"] + _TALL + 10, start=start)
    used = [fill for fill in _FILL_WORDS if fill in fills["a"] or fill in fills["b"]]
    legend = "".join(swatch(fill, _FILL_WORDS[fill]) for fill in used)
    said = f"Both videos on one line of time, cut into {len(fills['a'])} stretches of A and {len(fills['b'])} of B."
    return (
        f'<div class="w-wide" role="region" aria-label="Both videos in time" tabindex="0"><svg class="w-chart" '
        f'viewBox="0 0 {_CHART} 188" role="img" aria-label="{said}">{links}{"".join(drawn)}{axis}</svg></div>'
        f'<p class="w-legend">{legend}</p>{_key(explanation)}'
    )


def _stretch(left: float, right: float, top: float, fill: Fill, letter: str) -> str:
    width = max(right - left - 2, 1.0)
    label = ""
    if width >= 9 * len(letter) + 4:
        label = (
            f'<text class="w-letter" x="{(left + right) / 2:.1f}" y="{top + 28}" text-anchor="middle">{letter}</text>'
        )
    return (
        f'<rect class="w-fill-{fill}" x="{left + 1:.1f}" y="{top}" width="{width:.1f}" height="{_TALL}" rx="3"/>{label}'
    )


def _letters(explanation: Explanation) -> dict[tuple[int, int | None], str]:
    """What stands in the stretches: the step's number, or a letter for each thing, in the order in which they come."""
    found: dict[tuple[int, int | None], str] = {}
    unnamed: dict[int, str] = {}
    for each in (*explanation.shown_a, *explanation.shown_b):
        if each.step is None:
            count = len(unnamed)
            letter = _LETTERS[count % len(_LETTERS)] + (str(count // len(_LETTERS)) if count >= len(_LETTERS) else "")
            found[each.label, None] = unnamed.setdefault(each.label, letter)
        else:
            found[each.label, each.step] = str(each.step)
    return found


def _key(explanation: Explanation) -> str:
    same = "The same letter or number stands for the same thing in both videos; lines join counterparts."
    if not explanation.steps:
        return f'<p class="w-soft">{same}</p>'
    rows = [(str(number), text) for number, text in enumerate(explanation.steps, start=1)]
    return f'<p class="w-soft">{same} Numbers are steps of the script, letters what is none of them.</p>' + rows_table(
        rows, caption="Steps of the script"
    )


def _fills(explanation: Explanation, name: str) -> list[Fill]:
    """The pattern of each stretch of a video: that of the difference that it lies in."""
    shown: tuple[Shown, ...] = getattr(explanation, f"shown_{name}")
    spans: list[tuple[Span, Fill]] = []
    for each in explanation.differences:
        own, other = getattr(each, name), getattr(each, f"other_{name}")
        marked = [own, other] if each.kind == "swapped" else [own]
        spans += [(span, _FILLS[each.kind]) for span in marked if span is not None]
    return [_fill((part.start + part.end) / 2, spans) for part in shown]


def _fill(middle: float, spans: Sequence[tuple[Span, Fill]]) -> Fill:
    return next((fill for (start, end), fill in spans if start <= middle <= end), "plain")


def _distance(result: VerifyResult, facts: Facts) -> str:
    known = facts.calibrated
    own = known is not None and known.threshold == result.threshold
    evidence = known.calibrated.evidence if known is not None and own else None
    interval = None if evidence is None else evidence.intervals["threshold"]
    drawn = scale(
        result.distance,
        result.threshold,
        interval=interval,
        probability=None if known is None or result.probability is None else known.probability,
    )
    dashed = "" if interval is None else " The broken frame is where the threshold may lie."
    rows = [
        ("Distance", f"{result.distance:.4f}"),
        ("Threshold", f"{result.threshold:.4f}, {'as calibrated' if own else 'given by the caller'}"),
        ("Margin", f"{result.margin:+.4f}"),
    ]
    if result.probability is not None:
        rows.append(("Chance of the same procedure", f"{result.probability:.3f}, for pairs like the calibration's"))
    return (
        f'<p class="w-soft">Small is alike. Up to the threshold the videos count as the same.{dashed}</p>{drawn}'
        + rows_table(rows, caption="In numbers")
        + calibration(known, facts.calibration_picture)
    )


def _how(result: VerifyResult) -> list[tuple[str, str]]:
    return [
        ("Compared", f"{result.method}: {METHOD_WORDS[result.method]}"),
        ("Threshold", f"{result.threshold!r}"),
        ("Distance, in full", f"{result.distance!r}"),
        ("Sampling", result.sampling),
        ("Model", result.bundle),
        ("Ran on", f"{result.device} ({result.provider}), {result.precision}"),
    ]
