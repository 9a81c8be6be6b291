"""What stands on the page about a search: the videos that were found, best first."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from ..runtime.clock import clock
from .view import METHOD_WORDS, note_view, section

__all__ = ["find_view"]


def find_view(answer: Mapping[str, Any]) -> str:
    """The hits in order.

    Args:
        answer: of the task `find`; see `answers.Answerer`.
    """
    hits, threshold = answer["hits"], answer["threshold"]
    if not hits:
        return note_view("Nothing to find", f"There are no videos in {answer['shelf']}.")
    items = "".join(_item(rank, hit, threshold) for rank, hit in enumerate(hits, start=1))
    words = f"{len(hits)} of {answer['size']} videos in {answer['shelf']}, compared {METHOD_WORDS[answer['method']]}."
    body = f'<p class="w-soft">{escape(words)}</p><ol class="w-hits">{items}</ol>'
    return f'<article class="w-result">{section("Best first", body)}</article>'


def _item(rank: int, hit: Mapping[str, Any], threshold: float | None) -> str:
    pictures = "".join(f'<img src="{escape(picture)}" alt="">' for picture in hit["pictures"])
    strip = f'<div class="w-thumbs" aria-hidden="true">{pictures}</div>' if pictures else "<div></div>"
    length = [] if hit["seconds"] is None else [clock(hit["seconds"])]
    about = ", ".join([*length, *(f"{key}={value}" for key, value in hit["metadata"].items())])
    known = f'<p class="w-soft">{escape(about)}</p>' if about else ""
    return (
        f'<li><span class="w-number">{rank}</span>{strip}<div><b>{escape(hit["name"])}</b>'
        f"{known}<p>{_closeness(hit, threshold)}</p></div></li>"
    )


def _closeness(hit: Mapping[str, Any], threshold: float | None) -> str:
    if hit["distance"] is None:
        return f"fits the steps: {hit['score']:.2f} (1 is best)"
    if threshold is None:
        return f"distance {hit['distance']:.3f}"
    same = hit["distance"] <= threshold
    sign, word = ("=", "same procedure") if same else ("≠", "different")
    return f'<b class="w-mark{"" if same else " w-unlike"}">{sign}</b> {word}, distance {hit["distance"]:.3f}'
