"""From the answer of a worker to what stands on the page: HTML and SVG, without a browser, a video or a model.

Every text that comes from outside is escaped. No meaning is carried by colour alone: each colour has a shape and a word
beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from ..runtime.clock import clock
from ..runtime.pictures import scale, share, symbol
from ..runtime.report_page import METHOD_WORDS

__all__ = [
    "METHOD_WORDS",
    "busy_view",
    "details",
    "error_view",
    "note_view",
    "notes_list",
    "section",
    "table",
    "verify_view",
]

_HEADLINES: Final = {
    "same": ("Same procedure", "Both videos show the same steps, in the same order."),
    "different": ("Different procedures", "The videos do not show the same steps in the same order."),
    "undecided": ("Undecided", "The videos are too close to the limit, or too unusual, to say."),
}
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
