"""Where a video is uploaded or recorded."""

from __future__ import annotations

import gradio as gr

__all__ = ["video_input"]


def video_input(label: str, name: str) -> gr.Video:
    """A field for a video. The file is passed on as it is: nothing on the server converts it or looks into it."""
    return gr.Video(
        label=label, elem_id=name, height=300, sources=["upload", "webcam"], include_audio=True, elem_classes="w-video"
    )
