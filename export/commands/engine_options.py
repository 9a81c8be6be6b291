"""The options of the commands that build TensorRT engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..engine_options import EngineOptions

__all__ = ["chosen_engines", "engine_options"]

Function = TypeVar("Function", bound=Callable[..., Any])


def engine_options(function: Function) -> Function:
    """`--engine-portability`, `--engine-version-compatible` and `--strip-engines`, for `chosen_engines`."""
    for option in (
        click.option(
            "--strip-engines", is_flag=True, help="Engines without weights, which are taken from the networks at load."
        ),
        click.option(
            "--engine-version-compatible", is_flag=True, help="Engines that TensorRT's lean runtime can run, too."
        ),
        click.option(
            "--engine-portability",
            type=click.Choice(["none", "same-compute-capability", "ampere-plus"]),
            default="none",
            show_default=True,
            help="The GPUs that engines are for: this model, this compute capability, or all since Ampere.",
        ),
    ):
        function = option(function)
    return function


def chosen_engines(options: dict[str, Any], *, wanted: bool) -> EngineOptions | None:
    """Take the options out of `options`; None if no engines are wanted.

    Raises:
        UsageError: if there are options for engines, but none are wanted.
        WeakSVRError: if engines cannot be built here.
    """
    portability = options.pop("engine_portability")
    compatible, stripped = options.pop("engine_version_compatible"), options.pop("strip_engines")
    if not wanted:
        if portability != "none" or compatible or stripped:
            raise click.UsageError("Options for engines belong to --tensorrt.")
        return None
    from ..engine_options import EngineOptions
    from ..engines import find_machine

    chosen = EngineOptions(portability=portability, version_compatible=compatible, stripped=stripped)
    find_machine()
    return chosen
