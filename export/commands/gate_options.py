"""The options of the commands that compare variants with their source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["gate_options"]

Function = TypeVar("Function", bound=Callable[..., Any])


def gate_options(function: Function) -> Function:
    """`--gate-pairs` as `gate_pairs: int` and `--limit` as `limits: tuple[str, ...]`, for `limits.overridden`."""
    for option in (
        click.option(
            "--limit",
            "limits",
            metavar="PRECISION.NAME=X",
            multiple=True,
            help="Change what the gate asks, e.g. fp16.flips=0.001. Names: difference, cosine, flips, auc, tie. "
            "Repeatable.",
        ),
        click.option(
            "--gate-pairs",
            metavar="N",
            type=click.IntRange(min=1),
            default=10_000,
            show_default=True,
            help="Pairs whose verdicts are compared: those given, then others of the same videos.",
        ),
    ):
        function = option(function)
    return function
