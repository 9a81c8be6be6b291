"""The third tab: which videos are like this one, or follow these steps?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from html import escape
from typing import Any, Final

import gradio as gr

from ..runtime.errors import WeakSVRError
from .desk import Desk, trouble_view
from .examples import example_cards
from .uploads import EXAMPLES
from .video_input import video_input
from .view_find import find_view

__all__ = ["FindTab"]

_VIDEO: Final = "Video"
_EXAMPLE: Final = "assembly_swapped"


class FindTab:
    """Builds the tab inside the page that is being built.

    Args:
        desk: where it hands requests in.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        shelf = escape(desk.pool.facts["shelf"])
        gr.HTML(f'<p class="w-lead">Search {shelf}: by a video that shows the work, or by its steps in words.</p>')
        with gr.Row():
            with gr.Column(min_width=280):
                video = video_input(_VIDEO, "find-video")
                by_video = gr.Button("Find videos like this", variant="primary", elem_id="find-by-video")
            with gr.Column(min_width=280):
                steps = gr.Textbox(label="Steps, one a line", lines=10, max_lines=30, elem_id="find-steps")
                by_steps = gr.Button("Find videos of these steps", variant="primary", elem_id="find-by-steps")
        cancel = gr.Button("Cancel", elem_id="cancel-search", scale=0, min_width=120)
        result = gr.HTML(elem_id="hits", elem_classes="w-live")
        like, of = example_cards(desk, ((_EXAMPLE, "Try: videos like this"), (_EXAMPLE, "Try: videos of its steps")))

        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        by_video.click(self._by_video, video, result, trigger_mode="multiple", **quiet)
        by_steps.click(self._by_steps, steps, result, trigger_mode="multiple", **quiet)
        cancel.click(self._stop, None, None, api_visibility="private")
        chosen = like.click(lambda: str(desk.example(_EXAMPLE)), None, video, **quiet)
        chosen.then(self._by_video, video, result, **quiet)
        chosen = of.click(
            lambda: (EXAMPLES / f"{_EXAMPLE}.txt").read_text(encoding="utf-8").strip(), None, steps, **quiet
        )
        chosen.then(self._by_steps, steps, result, **quiet)
        self._offer_api(steps, video)

    def _offer_api(self, steps: gr.Textbox, video: gr.Video) -> None:
        """The same for programs: names of videos, best first."""

        async def find(script: str, video: str | None, request: gr.Request) -> dict[str, Any]:
            """Which videos are like a video, or, if none is given, follow a script? Gives names, best first."""
            try:
                videos = [(_VIDEO, video)] if video else []
                wanted = self._desk.request("find", videos, script=script, pictures=False)
                return await self._desk.answer(wanted, owner=request.session_hash or "")
            except WeakSVRError as error:
                raise gr.Error(str(error), print_exception=False) from error

        gr.Button(visible=False).click(
            find, [steps, video], gr.JSON(visible=False), api_name="find", concurrency_limit=None
        )

    async def _by_video(self, video: str | None, request: gr.Request) -> AsyncIterator[str]:
        async for view in self._run([(_VIDEO, video)], "", request):
            yield view

    async def _by_steps(self, steps: str, request: gr.Request) -> AsyncIterator[str]:
        async for view in self._run([], steps, request):
            yield view

    async def _run(self, videos: list[tuple[str, str | None]], steps: str, request: gr.Request) -> AsyncIterator[str]:
        try:
            wanted = self._desk.request("find", videos, script=steps, pictures=True)
            async for found in self._desk.views(wanted, owner=request.session_hash or ""):
                yield found if isinstance(found, str) else find_view(found)
        except WeakSVRError as error:
            yield trouble_view(error)

    def _stop(self, request: gr.Request) -> None:
        self._desk.cancel(request.session_hash or "")
