"""The first tab: do two videos show the same procedure?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import gradio as gr

from ..runtime.errors import WeakSVRError
from .desk import FIRST, SECOND, Desk, trouble_view
from .examples import example_cards
from .video_input import video_input
from .view import verify_view

__all__ = ["VerifyTab"]

_LEAD: Final = (
    '<p class="w-lead">Take a video of how it should be done, and one to check. Another person, place, camera or pace '
    "should change nothing; a step that is swapped, left out, repeated or replaced should.</p>"
)
_EXAMPLES: Final = (
    ("assembly_1", "assembly_2", "Try: the same steps, other things"),
    ("assembly_1", "assembly_swapped", "Try: two steps swapped"),
)


class VerifyTab:
    """Builds the tab inside the page that is being built.

    Args:
        desk: where it hands requests in.

    Attributes:
        first, second: the videos.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        gr.HTML(_LEAD)
        with gr.Row():
            self.first = video_input("Video A: as it should be", "video-a")
            self.second = video_input("Video B: to be checked", "video-b")
        with gr.Row(elem_classes="w-actions"):
            self._compare = gr.Button("Compare", variant="primary", elem_id="compare", scale=0, min_width=180)
            self._cancel = gr.Button("Cancel", elem_id="cancel-compare", scale=0, min_width=120)
        self._result = gr.HTML(elem_id="verdict", elem_classes="w-live")
        self._tries = example_cards(desk, _EXAMPLES)

    def connect(self, use_threshold: gr.Checkbox, threshold: gr.Slider) -> None:
        """Make it work, with the threshold that is set on another tab."""
        inputs: list[Any] = [self.first, self.second, use_threshold, threshold]
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "trigger_mode": "multiple"}
        self._compare.click(self._run, inputs, self._result, **quiet)
        self._cancel.click(self._stop, None, None, api_visibility="private")
        for button, (a, b, _) in zip(self._tries, _EXAMPLES, strict=True):
            chosen = button.click(self._chooser(a, b), None, [self.first, self.second], **quiet)
            chosen.then(self._run, inputs, self._result, api_visibility="private", show_progress="hidden")
        self._offer_api()

    def _offer_api(self) -> None:
        """The same for programs: paths in, the JSON document of `weaksvr-verify` out."""
        threshold = gr.Number(visible=False, value=None, label="threshold")
        document = gr.JSON(visible=False, label="verdict")

        async def verify(
            first: str | None, second: str | None, threshold: float | None, request: gr.Request
        ) -> dict[str, Any]:
            """Do two videos show the same procedure? Gives the JSON document of weaksvr-verify."""
            try:
                wanted = self._desk.request(
                    "verify", [(FIRST, first), (SECOND, second)], threshold=threshold, pictures=False
                )
                answer = await self._desk.answer(wanted, owner=request.session_hash or "")
            except WeakSVRError as error:
                raise gr.Error(str(error), print_exception=False) from error
            result: dict[str, Any] = answer["result"]
            return result

        gr.Button(visible=False).click(
            verify, [self.first, self.second, threshold], document, api_name="verify", concurrency_limit=None
        )

    def _chooser(self, a: str, b: str) -> Any:
        def choose() -> tuple[str, str]:
            return str(self._desk.example(a)), str(self._desk.example(b))

        return choose

    async def _run(
        self, first: str | None, second: str | None, use: bool, threshold: float, request: gr.Request
    ) -> AsyncIterator[str]:
        try:
            videos = [(FIRST, first), (SECOND, second)]
            wanted = self._desk.request("verify", videos, threshold=threshold if use else None, pictures=True)
            async for found in self._desk.views(wanted, owner=request.session_hash or ""):
                yield found if isinstance(found, str) else verify_view(found)
        except WeakSVRError as error:
            yield trouble_view(error)

    def _stop(self, request: gr.Request) -> None:
        self._desk.cancel(request.session_hash or "")
