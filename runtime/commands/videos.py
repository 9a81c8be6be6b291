"""Which videos a command is about: its arguments, and lists in files or on stdin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

__all__ = ["list_option", "video_arguments"]

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
    from ..listing import STDIN, read_list_file

    named = [line for video in videos for line in (read_list_file(video) if video == STDIN else (video,))]
    return [*named, *(line for file in lists for line in read_list_file(file))]
