"""From the answer of a worker to what stands on the page: HTML and SVG, without a browser, a video or a model.

Every text that comes from outside is escaped. No meaning is carried by colour alone: each colour has a shape and a word
beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from ..runtime.clock import clock

__all__ = [
    "METHOD_WORDS",
    "busy_view",
    "details",
    "error_view",
    "note_view",
    "notes_list",
    "scale",
    "section",
    "share",
    "symbol",
    "table",
    "verify_view",
]

_HEADLINES: Final = {
    "same": ("Same procedure", "Both videos show the same steps, in the same order."),
    "different": ("Different procedures", "The videos do not show the same steps in the same order."),
    "undecided": ("Undecided", "The videos are too close to the limit, or too unusual, to say."),
}
METHOD_WORDS: Final = {
    "alignment": "moment by moment, in order of time",
    "vector": "each video as a whole",
}
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
_SCALE: Final = (680, 112)  # pixels
_MARGIN: Final = 16
_CLOSE: Final = 0.25  # of the threshold: a distance that near to it is a close call


def verify_view(answer: Mapping[str, Any]) -> str:
    """The verdict on two videos: in words first, then on a scale, then in pictures.

    Args:
        answer: of the task `verify`; see `answers.Answerer`.
    """
    result = answer["result"]
    return "".join(
        [
            '<article class="w-result">',
            _banner(result),
            section("How far apart they are", scale(result["distance"], result["threshold"])),
            _explanation(result.get("explanation")),
            _pictures(answer["columns"], answer["unlike_from"]),
            _numbers(result),
            "</article>",
        ]
    )


def busy_view(stage: str, *, ahead: int) -> str:
    """What is being done, or how many are served before."""
    if ahead:
        text = f"Waiting: {ahead} {'request is' if ahead == 1 else 'requests are'} served before yours"
    else:
        text = f"{stage[:1].upper()}{stage[1:]} …"
    return f'<div class="w-busy"><p>{escape(text)}</p><div class="w-bar" aria-hidden="true"><i></i></div></div>'


def error_view(message: str) -> str:
    """An error: its one line, as the library says it."""
    return _notice("error", "This did not work", message)


def note_view(title: str, message: str) -> str:
    """Something to know."""
    return _notice("note", title, message)


def symbol(name: str) -> str:
    """One of the shapes that go with a word; screen readers pass over it."""
    return f'<svg class="w-symbol" viewBox="0 0 48 48" width="48" height="48" aria-hidden="true">{_SYMBOLS[name]}</svg>'


def scale(distance: float, threshold: float) -> str:
    """A line from alike to unlike with the threshold and the distance on it, as SVG with a text for screen readers."""
    width, height = _SCALE
    end = max(2 * threshold, 1.25 * distance, 1e-6)
    left, right = _MARGIN, width - _MARGIN

    def place(value: float) -> float:
        return left + (right - left) * value / end

    at, limit = place(distance), place(threshold)
    text = f"Distance {distance:.3f} on a scale from 0, alike, upwards; up to {threshold:.3f} counts as the same."
    return f"""<svg class="w-scale" viewBox="0 0 {width} {height}" role="img" aria-label="{text}">
<rect class="w-near" x="{left}" y="50" width="{limit - left:.1f}" height="16" rx="3"/>
<path class="w-far" d="{_hatching(limit, right)}"/>
<rect class="w-far-frame" x="{limit:.1f}" y="50" width="{right - limit:.1f}" height="16" rx="3"/>
<path class="w-limit" d="M{limit:.1f} 42V74"/>
<text x="{limit:.1f}" y="92" text-anchor="{_anchor(limit)}">threshold {threshold:.3f}</text>
<text class="w-zone" x="{left}" y="92">same</text>
<text class="w-zone" x="{right}" y="92" text-anchor="end">different</text>
<path class="w-here" d="M{at:.1f} 58l-9-22h18z"/>
<text class="w-value" x="{at:.1f}" y="24" text-anchor="{_anchor(at)}">distance {distance:.3f}</text>
</svg>"""


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values, both escaped."""
    lines = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows)
    return f'<table class="w-table"><tbody>{lines}</tbody></table>'


def notes_list(notes: Sequence[str]) -> str:
    """What else a user should know, nothing if there is nothing."""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul class="w-notes">{items}</ul>' if items else ""


def details(rows: Iterable[tuple[str, str]]) -> str:
    """Numbers for those who want them, folded away."""
    return f'<details class="w-details"><summary>Numbers</summary>{table(rows)}</details>'


def _banner(result: Mapping[str, Any]) -> str:
    verdict = result["verdict"]
    word, sentence = _HEADLINES[verdict]
    return (
        f'<header class="w-verdict w-{verdict}">{symbol(verdict)}<div><h2>{word}</h2><p>{sentence}</p>'
        f'<p class="w-soft">{escape(_certainty(result))}</p></div></header>' + notes_list(result["notes"])
    )


def _certainty(result: Mapping[str, Any]) -> str:
    close = abs(result["margin"]) <= _CLOSE * result["threshold"]
    call = "A close call: look at the pictures yourself." if close else "A clear call."
    if result["verdict"] == "undecided":
        call = "Look at the pictures yourself."
    chance = result["probability"]
    if chance is None:
        return call
    return f"{call} For pairs like those of the calibration, the chance of the same procedure is {share(chance)}."


def share(chance: float) -> str:
    """A chance in per cent, never 0 or 100."""
    if chance < 0.01:
        return "below 1 %"
    return "above 99 %" if chance > 0.99 else f"{chance:.0%}".replace("%", " %")


def section(title: str, content: str) -> str:
    """A part of a result; the content is HTML."""
    return f'<section class="w-section"><h3>{escape(title)}</h3>{content}</section>'


def _explanation(explanation: Mapping[str, Any] | None) -> str:
    """Where the videos differ, in words, if it was asked for."""
    if explanation is None:
        return ""
    items = "".join(
        f'<li><b class="w-kind">{escape(each["kind"])}</b> {escape(each["text"])}</li>'
        for each in explanation["differences"]
    )
    summary = explanation["summary"]
    text = f"<p>{escape(summary[:1].upper() + summary[1:])}.</p>"
    return section("Where they differ", text + (f'<ul class="w-list">{items}</ul>' if items else ""))


def _pictures(columns: Sequence[Mapping[str, Any]], unlike_from: float | None) -> str:
    cells = "".join(_column(column, unlike_from) for column in columns)
    legend = "Each column shows two moments that belong together; B may be faster or slower than A."
    if unlike_from is not None:
        unlike = sum(column["apart"] > unlike_from for column in columns)
        legend += (
            f" {unlike} of {len(columns)} are marked ≠: there the videos are as unlike as different procedures."
            if unlike
            else " In none of them are the videos as unlike as different procedures."
        )
    return section(
        "Side by side",
        f'<p class="w-soft">{legend}</p><div class="w-film" role="region" aria-label="Moments side by side" '
        f'tabindex="0"><div class="w-film-names" aria-hidden="true"><span>A</span><span>B</span></div>'
        f'<ol class="w-columns">{cells}</ol></div>',
    )


def _column(column: Mapping[str, Any], unlike_from: float | None) -> str:
    unlike = unlike_from is not None and column["apart"] > unlike_from
    mark = '<b class="w-mark w-unlike">≠<span class="w-aloud"> unlike</span></b>'
    alike = '<b class="w-mark">=<span class="w-aloud"> alike</span></b>' if unlike_from is not None else ""
    a, b = clock(column["seconds_a"]), clock(column["seconds_b"])
    return (
        f'<li class="{"w-is-unlike" if unlike else ""}">'
        f'<figure><img src="{escape(column["picture_a"])}" alt="Video A at {a}"><figcaption>{a}</figcaption></figure>'
        f"{mark if unlike else alike}"
        f'<figure><img src="{escape(column["picture_b"])}" alt="Video B at {b}"><figcaption>{b}</figcaption></figure>'
        "</li>"
    )


def _numbers(result: Mapping[str, Any]) -> str:
    chance = result["probability"]
    rows = [
        ("Distance", f"{result['distance']:.4f}"),
        ("Threshold", f"{result['threshold']:.4f}"),
        ("Margin", f"{result['margin']:+.4f}"),
        *([] if chance is None else [("Chance of the same procedure", f"{chance:.3f}")]),
        ("Compared", METHOD_WORDS[result["method"]]),
        ("Frames looked at", result["sampling"]),
        ("Ran on", f"{result['device']}, {result['precision']}"),
        ("Model", result["bundle"]),
    ]
    return details(rows)


def _notice(kind: str, title: str, message: str) -> str:
    return (
        f'<div class="w-verdict w-{kind}" role="{"alert" if kind == "error" else "note"}">{symbol(kind)}'
        f"<div><h2>{escape(title)}</h2><p>{escape(message)}</p></div></div>"
    )


def _anchor(place: float) -> str:
    """Where a label is tied so that it stays in the picture and off the words at both ends."""
    width = _SCALE[0]
    if place < width * 0.15:
        return "start"
    return "end" if place > width * 0.85 else "middle"


def _hatching(start: float, end: float) -> str:
    steps = range(int(start) // 8 + 1, int(end) // 8)
    return "".join(f"M{8 * step} 66l8 -16" for step in steps)
