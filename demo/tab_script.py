"""The second tab: does a video follow a script, and when does it show each step?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import gradio as gr

from ..runtime.errors import WeakSVRError
from .desk import Desk, trouble_view
from .examples import example_cards
from .uploads import EXAMPLES
from .video_input import video_input
from .view_timeline import timeline_view

__all__ = ["ScriptTab"]

_LEAD: Final = (
    '<p class="w-lead">Write down the steps, one a line, and take a video. For each step you are told when it happens, '
    "and which are missing, out of order, or done again. A step may say how long it takes: "
    "<code>tighten the bolt | min 2s | max 30s</code></p>"
)
_SCRIPT: Final = "assembly_1"
_EXAMPLES: Final = (
    ("assembly_1", "Try: the steps as written"),
    ("assembly_swapped", "Try: two steps swapped"),
)
_VIDEO: Final = "Video"


class ScriptTab:
    """Builds the tab inside the page that is being built.

    Args:
        desk: where it hands requests in.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        gr.HTML(_LEAD)
        with gr.Row():
            steps = gr.Textbox(label="Steps, one a line", lines=10, max_lines=30, elem_id="steps", min_width=280)
            video = video_input(_VIDEO, "script-video")
        with gr.Row(elem_classes="w-actions"):
            find = gr.Button("Find the steps", variant="primary", elem_id="find", scale=0, min_width=180)
            cancel = gr.Button("Cancel", elem_id="cancel-find", scale=0, min_width=120)
        result = gr.HTML(elem_id="timeline", elem_classes="w-live")
        tries = example_cards(desk, _EXAMPLES)

        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        find.click(self._run, [steps, video], result, trigger_mode="multiple", **quiet)
        cancel.click(self._stop, None, None, api_visibility="private")
        for button, (clip, _) in zip(tries, _EXAMPLES, strict=True):
            chosen = button.click(self._chooser(clip), None, [steps, video], trigger_mode="multiple", **quiet)
            chosen.then(self._run, [steps, video], result, **quiet)
        self._offer_api(steps, video)

    def _offer_api(self, steps: gr.Textbox, video: gr.Video) -> None:
        """The same for programs: the JSON document of `weaksvr-timeline`."""

        async def timeline(script: str, video: str | None, request: gr.Request) -> dict[str, Any]:
            """When does a video show the steps of a script? Gives the JSON document of weaksvr-timeline."""
            try:
                wanted = self._desk.request("timeline", [(_VIDEO, video)], script=script, pictures=False)
                answer = await self._desk.answer(wanted, owner=request.session_hash or "")
            except WeakSVRError as error:
                raise gr.Error(str(error), print_exception=False) from error
            result: dict[str, Any] = answer["result"]
            return result

        gr.Button(visible=False).click(
            timeline, [steps, video], gr.JSON(visible=False), api_name="timeline", concurrency_limit=None
        )

    def _chooser(self, clip: str) -> Any:
        def choose() -> tuple[str, str]:
            script = (EXAMPLES / f"{_SCRIPT}.txt").read_text(encoding="utf-8")
            return script.strip(), str(self._desk.example(clip))

        return choose

    async def _run(self, steps: str, video: str | None, request: gr.Request) -> AsyncIterator[str]:
        try:
            wanted = self._desk.request("timeline", [(_VIDEO, video)], script=steps, pictures=True)
            async for found in self._desk.views(wanted, owner=request.session_hash or ""):
                yield found if isinstance(found, str) else timeline_view(found)
        except WeakSVRError as error:
            yield trouble_view(error)

    def _stop(self, request: gr.Request) -> None:
        self._desk.cancel(request.session_hash or "")
