"""Which videos a command is about: its arguments, and lists in files or on stdin."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["list_option", "video_arguments"]

STDIN = "-"

Function = TypeVar("Function", bound=Callable[..., Any])


def list_option(function: Function) -> Function:
    """`--list FILE`, any number of them, as `lists: tuple[str, ...]`."""
    return click.option(
        "--list", "lists", multiple=True, metavar="FILE", help="Also take what FILE lists, one a line; - is stdin."
    )(function)


def video_arguments(videos: Sequence[str], lists: Sequence[str]) -> list[str]:
    """What is named on the command line and in lists, for `listing.find_videos`; `-` stands for a list on stdin.

    Raises:
        DataError: if a list cannot be read, or is empty.
    """
    named = [line for video in videos for line in (_lines(video) if video == STDIN else (video,))]
    return [*named, *(line for file in lists for line in _lines(file))]


def _lines(file: str) -> list[str]:
    """Raises `DataError` if the list cannot be read, or is empty."""
    from ..errors import DataError
    from ..listing import read_list

    try:
        data = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
    except OSError as error:
        raise DataError(f"{file}: the list cannot be read: {error.strerror or error}") from error
    return read_list(os.fsdecode(data), name="standard input" if file == STDIN else file)
