"""The frame of a report: one HTML page that needs no network and runs no script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from .clock import clock
from .pictures import clean, patterns, symbol
from .report_facts import Facts, VideoFacts
from .report_style import STYLE
from .spec import Method
from .thresholds import Threshold

__all__ = ["METHOD_WORDS", "banner", "calibration", "made_at", "note_list", "page", "repeat", "rows_table", "section"]

METHOD_WORDS: Final[dict[Method, str]] = {
    "alignment": "moment by moment, in order of time",
    "vector": "each video as a whole",
}

Rows = Iterable[tuple[str, str]]


def page(*, title: str, body: str) -> str:
    """A whole page. The title is a text, the body is HTML.

    A policy in the head forbids scripts and every access to the network, whatever a text in the body may hold.
    """
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{clean(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{patterns()}\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def banner(*, kind: str, sign: str, word: str, tag: str, about: str, inside: str) -> str:
    """The verdict. `inside` is HTML; the other texts are texts.

    Args:
        kind: `same`, `different` or `undecided`: how it looks.
        sign: name of the symbol.
        word: the verdict in words, which is the page's heading.
        tag: the verdict as the command prints it.
        about: what was looked at.
        inside: what else stands in it.
    """
    return (
        f'<header class="w-verdict w-{kind}">{symbol(sign)}<div><p class="w-tag">{clean(tag)}</p>'
        f'<h1>{clean(word)}</h1>{inside}</div></header>\n<p class="w-about">{clean(about)}</p>'
    )


def section(title: str, content: str) -> str:
    """A part of the page; the title is a text, the content is HTML, and nothing is left of it without content."""
    return f"<section>\n<h2>{clean(title)}</h2>\n{content}\n</section>" if content else ""


def note_list(notes: Sequence[str]) -> str:
    """What else a reader should know; nothing if there is nothing."""
    return f'<ul class="w-notes">{"".join(f"<li>{clean(note)}</li>" for note in notes)}</ul>' if notes else ""


def rows_table(rows: Rows, *, caption: str) -> str:
    """Names and values, both texts."""
    lines = "".join(f'<tr><th scope="row">{clean(name)}</th><td>{clean(value)}</td></tr>' for name, value in rows)
    return f'<table class="w-rows"><caption>{clean(caption)}</caption><tbody>{lines}</tbody></table>'


def calibration(known: Threshold | None, picture: str) -> str:
    """What a threshold is founded on, as HTML."""
    if known is None:
        return "<p>The model was not calibrated for this way to compare, so nothing is known of its errors.</p>"
    told, evidence = known.calibrated, known.calibrated.evidence
    rows = [("Rule", told.rule), ("Pairs", f"{told.pairs}, of which {told.same} are the same")]
    rows.append(("Calibrated threshold", f"{known.threshold:.4f}"))
    if evidence is not None:
        low, high = evidence.intervals["threshold"]
        rows += [
            ("Where the threshold may lie", f"{low:.4f} to {high:.4f} (95 %)"),
            ("Different pairs that pass", _rate(evidence.false_accept, evidence.intervals["false_accept"])),
            ("Same pairs that do not pass", _rate(evidence.false_refuse, evidence.intervals["false_refuse"])),
            ("Source of the pairs", evidence.source),
        ]
    rows += [("Area under the ROC curve", f"{told.auc:.4f}"), ("Equal error rate", f"{told.eer:.4f}")]
    if known.abstention is not None:
        rows.append(("Left undecided", f"from {known.abstention.low:.4f} to {known.abstention.high:.4f}"))
    shown = ""
    if picture:
        shown = (
            "<details><summary>Distances of the calibration's pairs, and ROC curve</summary>"
            f'<img class="w-calibration" src="{escape(picture)}" alt="Histograms of the distances of same and of '
            'different pairs of the calibration, with the threshold, and ROC curves."></details>'
        )
    return rows_table(rows, caption="What the threshold is founded on") + shown


def repeat(videos: Sequence[tuple[str, VideoFacts]], facts: Facts, rows: Rows) -> str:
    """What it takes to get the same result again, as HTML.

    Args:
        videos: each with what it is called on the page.
        facts: of the model and the run.
        rows: further names and values.
    """
    command = f"<pre><code>{clean(facts.command)}</code></pre>" if facts.command else ""
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions)
    model: list[tuple[str, str]] = [
        *rows,
        ("Backend", facts.backend),
        ("Folder of the bundle", facts.bundle),
        ("SHA-256 of its manifest", facts.manifest_sha256),
        ("Versions", versions),
        ("Made", made_at(facts.created)),
    ]
    return command + _videos(videos) + rows_table(model, caption="How it was made")


def _videos(videos: Sequence[tuple[str, VideoFacts]]) -> str:
    lines = "".join(
        f'<tr><th scope="row" class="w-kind">{clean(name)}</th><td class="w-file">{clean(str(each.part))}</td>'
        f'<td class="w-time-cell">{clock(each.duration_seconds, tenths=True)}</td><td>{each.num_frames}</td>'
        f'<td class="w-time-cell">{each.width} × {each.height}</td><td class="w-hash">{each.sha256}</td></tr>'
        for name, each in videos
    )
    return (
        '<div class="w-wide" role="region" aria-label="Files" tabindex="0"><table><caption>Files</caption><thead><tr>'
        '<th scope="col"><span class="w-aloud">Video</span></th><th scope="col">File</th><th scope="col">Length</th>'
        '<th scope="col">Frames</th><th scope="col">Pixels</th><th scope="col">SHA-256</th></tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def made_at(created: str) -> str:
    """An ISO 8601 time in UTC, as people read it."""
    return f"{created[:10]}, {created[11:19]} UTC"


def _rate(rate: float, interval: tuple[float, float]) -> str:
    return f"{100 * rate:.1f} % (95 %: {100 * interval[0]:.1f} to {100 * interval[1]:.1f})"
