"""Which videos are meant: files, folders, patterns and lists, each video once."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import DataError, OptionError

__all__ = ["STDIN", "SUFFIXES", "find_videos", "read_list", "read_list_file"]

STDIN = "-"
"""The name of a list on standard input."""

SUFFIXES = frozenset(
    {
        *(".3g2", ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mj2", ".mkv"),
        *(".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"),
    }
)
"""What a file in a folder is called that is taken for a video; a file that is named itself may be called anything."""

_FRAME = re.compile(r"0*[01]\.(jpe?g|png)", re.IGNORECASE | re.ASCII)  # the first frame of a folder of frames
_PATTERN = re.compile(r"[*?\[]")


def find_videos(arguments: Iterable[str]) -> list[str]:
    """The videos that `arguments` name, in their order, each once.

    A folder with numbered frames (1.jpg, 2.jpg, ...) is one video. Any other folder stands for the videos in it and in
    all folders below, by name in ascending order, a folder's own files first: files with one of the `SUFFIXES`, and
    folders of frames. Names that begin with a dot are left out, links to folders are not followed. An argument that is
    no file or folder and has one of `*?[` in it is a pattern; `**` stands for any folders.

    Whether a file is a video is not looked at; neither is whether an argument without a pattern exists.

    Returns:
        Paths as they were given; those in a folder begin with the folder as it was given. Of two ways to write the same
        path (`a.mp4` and `./a.mp4`) the first one stays.

    Raises:
        OptionError: for a folder or a pattern that names no video, or an empty argument.
    """
    found: dict[Path, str] = {}
    for argument in arguments:
        if not argument:
            raise OptionError("a video's name is empty; give files, folders or patterns")
        for path in _expand(argument):
            found.setdefault(Path(path).absolute(), path)
    return list(found.values())


def read_list(text: str, *, name: str) -> list[str]:
    """The lines of a list of paths; blank ones do not count.

    Raises:
        DataError: if there is no path.
    """
    lines = [line.removesuffix("\r") for line in text.split("\n") if line.strip()]
    if not lines:
        raise DataError(f"{name}: lists no video; write one path a line")
    return lines


def read_list_file(file: str) -> list[str]:
    """`read_list` of a text file; `-` is standard input.

    Raises:
        DataError: if it cannot be read, is no list of paths, or is empty.
    """
    try:
        data = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise DataError(f"{file}: the list cannot be read: {why}") from error
    name = "standard input" if file == STDIN else file
    lines = read_list(os.fsdecode(data.removeprefix(b"\xef\xbb\xbf")), name=name)
    if any("\0" in line for line in lines):
        raise DataError(f"{name}: is not a list of paths (it holds bytes 0); write one path a line")
    return lines


def _expand(argument: str) -> Iterator[str]:
    if Path(argument).is_dir():
        yield from _not_empty(_in_folder(argument), f"{argument}: holds no video, no folder of numbered frames either")
    elif _PATTERN.search(argument) and not Path(argument).exists():
        matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - keeps paths as they were given
        videos = (video for match in matches for video in (_in_folder(match) if Path(match).is_dir() else [match]))
        yield from _not_empty(videos, f"{argument}: nothing matches this pattern; check the path")
    else:
        yield argument


def _not_empty(videos: Iterator[str], otherwise: str) -> Iterator[str]:
    first = next(videos, None)
    if first is None:
        raise OptionError(otherwise)
    yield first
    yield from videos


def _in_folder(folder: str) -> Iterator[str]:
    """The folder itself if it holds frames, else the videos in it and below."""
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        if any(_FRAME.fullmatch(name) for name in files):
            folders.clear()
            yield parent
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (
            str(Path(parent, name))
            for name in sorted(files)
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        )


def _refuse(error: OSError) -> None:
    raise OptionError(f"{error.filename}: the folder cannot be read: {error.strerror}") from error
