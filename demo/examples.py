"""Cards that show an example in pictures, with a button that takes it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import gradio as gr

from .desk import Desk
from .key_frames import strip

__all__ = ["example_cards"]

_PICTURES = 4


def example_cards(desk: Desk, examples: Sequence[tuple[str, ...]]) -> list[gr.Button]:
    """A card for each example: the names of its clips, and at the end the text of its button.

    Returns:
        The buttons, in order.
    """
    buttons = []
    with gr.Row(elem_classes="w-examples"):
        for number, (*clips, text) in enumerate(examples):
            with gr.Column(elem_classes="w-example", min_width=260):
                gr.HTML("".join(_strip(desk, clip) for clip in clips))
                buttons.append(gr.Button(text, elem_id=f"example-{'-'.join(clips)}-{number}"))
    return buttons


def _strip(desk: Desk, clip: str) -> str:
    pictures = "".join(
        f'<img src="{escape(picture)}" alt="">' for picture in strip(desk.example(clip), pictures=_PICTURES)
    )
    return f'<div class="w-thumbs" aria-hidden="true">{pictures}</div>'
