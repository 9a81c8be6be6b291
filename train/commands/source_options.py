"""Options of the commands that read published files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["FORMAT_NAMES", "source_options"]

FORMAT_NAMES = ("csv-sv", "coin-sv", "diving48-sv")

Function = TypeVar("Function", bound=Callable[..., Any])


def source_options(function: Function) -> Function:
    """`--kind`, `--coin-json` and `--uncut` as `kind: str`, `coin_json: Path | None`, `uncut: bool`."""
    function = click.option(
        "--uncut", is_flag=True, help="COIN-SV: the videos are whole originals; take start and end from COIN.json."
    )(function)
    function = click.option(
        "--coin-json",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="COIN-SV: COIN's annotations, for the training texts that the label bank lacks.",
    )(function)
    return click.option(
        "--kind",
        type=click.Choice(["any", "frames", "files"]),
        default="any",
        show_default=True,
        help="What the videos are: folders of frames, or files.",
    )(function)
