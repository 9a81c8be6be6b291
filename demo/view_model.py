"""What stands on the page about the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .view import METHOD_WORDS, table

__all__ = ["model_view", "rates_view"]


def model_view(facts: Mapping[str, Any]) -> str:
    return table([("Model", facts["name"]), ("Compares", METHOD_WORDS[facts["method"]])])


def rates_view(facts: Mapping[str, Any], threshold: float) -> str:
    return f"<p>{threshold:.3f}</p>"
