"""The tab that tells programs how to use the page."""

from __future__ import annotations

import gradio as gr

__all__ = ["api_tab"]


def api_tab() -> None:
    """Build the tab inside the page that is being built."""
    gr.HTML("<p>API</p>")
