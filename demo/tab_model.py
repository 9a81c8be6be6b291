"""The tab about the model: what it is, how its threshold was found, and what another one would mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from .view_model import calibration_view, model_view, rates_view

__all__ = ["ModelTab"]


class ModelTab:
    """Builds the tab inside the page that is being built.

    Args:
        facts: of the model; see `answers.Answerer.facts`.

    Attributes:
        use: whether the threshold that is set here is used for verdicts.
        threshold: what is set.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        entry = facts["thresholds"].get(facts["method"])
        own = entry["threshold"] if entry else 0.5
        gr.HTML(model_view(facts))
        self.threshold = gr.Slider(
            minimum=0,
            maximum=round(max(3 * own, 0.01), 3),
            value=round(own, 4),
            step=0.001,
            label="Threshold: the largest distance that counts as the same",
            elem_id="threshold",
        )
        rates = gr.HTML(rates_view(facts, own), elem_id="rates", elem_classes="w-live")
        self.use = gr.Checkbox(label="Use this threshold when I compare videos", value=False, elem_id="use-threshold")
        gr.HTML(calibration_view(facts))

        def show(value: float) -> str:
            return rates_view(facts, value)

        self.threshold.change(show, self.threshold, rates, api_visibility="private", show_progress="hidden")
