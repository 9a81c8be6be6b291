"""Which recordings are to be compared: named ones, and lists of them, with the part of each that counts.

    recordings.txt     one video, folder or pattern a line, relative to the current folder
    recordings.csv     header video, and start, end in seconds if they matter; paths are relative to the file
    recordings.jsonl   {"video": ...}, with "start", "end" in seconds if they matter; paths are relative to the file

The text file and what is named are expanded as `listing.find_videos` says. Further columns and keys are ignored.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import DataError, OptionError
from .listing import STDIN, find_videos, read_list_file
from .manifest_lines import located, read_lines, read_objects, required_field, seconds_field, video_path
from .video_part import VideoPart

__all__ = ["read_recordings"]

_HINT = 'give an object such as {"video": "a.mp4", "start": 1.5, "end": 30.0}'


def read_recordings(
    named: Iterable[str], lists: Iterable[str] = (), *, start: float | None = None, end: float | None = None
) -> list[VideoPart]:
    """The recordings that are named, then those of the lists, in their order, each part of each video once.

    Args:
        named: files, folders, patterns; `-` is a text list on standard input.
        lists: files of the kinds above, told by their suffix (any other is text); `-` is standard input.
        start, end: seconds, of every recording for which a list does not say it.

    Raises:
        OptionError: if a folder or pattern names no video, or `start` and `end` do not bound a part.
        DataError: if a list cannot be read, is damaged, or is empty.
    """
    found: dict[tuple[Path, float | None, float | None], VideoPart] = {}
    arguments: list[str] = []
    parts: list[VideoPart] = []
    for name in named:
        arguments += read_list_file(name) if name == STDIN else [name]
    parts += _whole(arguments)
    for file in lists:
        suffix = Path(file).suffix.lower()
        if suffix in (".jsonl", ".csv"):
            parts += list(_table(Path(file), _objects if suffix == ".jsonl" else _rows))
        else:
            parts += _whole(read_list_file(file))
    for part in parts:
        first = start if part.start is None else part.start
        last = end if part.end is None else part.end
        bounded = VideoPart(path=part.path, start=first, end=last)
        found.setdefault((Path(part.path).absolute(), first, last), bounded)
    return list(found.values())


def _whole(arguments: Iterable[str]) -> list[VideoPart]:
    return [VideoPart(path=video) for video in find_videos(arguments)]


def _table(path: Path, entries: Any) -> Iterator[VideoPart]:
    empty = True
    for number, entry in entries(path):
        with located(path, number):
            video = video_path(required_field(entry, "video", _HINT), path.parent, "video")
            start, end = (seconds_field(entry, key) for key in ("start", "end"))
            try:
                yield VideoPart(path=str(video), start=start, end=end)
            except OptionError as error:
                raise DataError(f"{error}; correct the times") from error
        empty = False
    if empty:
        raise DataError(f"{path}: lists no video; write one a line")


def _objects(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    return read_objects(path, _HINT)


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Number and cells of every line below the header; times as numbers, empty ones as None."""
    reader = csv.reader((text for _, text in read_lines(path)), strict=True)
    header: list[str] = []
    try:
        for cells in reader:
            row = [cell.strip() for cell in cells]
            if not any(row):
                continue
            with located(path, reader.line_num):
                if not header:
                    if "video" not in row or len(set(row)) < len(row):
                        raise DataError("the header must name the columns, each once; begin it with video,start,end")
                    header = row
                    continue
                if len(row) != len(header):
                    raise DataError(f"has {len(row)} columns, but the header has {len(header)}; correct the line")
                entry: dict[str, Any] = dict(zip(header, row, strict=True))
                entry |= {key: _number(entry[key], key) for key in ("start", "end") if key in entry}
            yield reader.line_num, entry
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: is not CSV: {error}; correct the line") from error


def _number(text: str, key: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise DataError(f"{key} is {text!r}; give seconds, 0 or more") from None
