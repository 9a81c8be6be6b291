"""The lines of a dataset's text files, and the values in them, checked as they are read.

What is wrong is said as "what, why, what to do"; `located` puts the file and the line in front.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import DataError

__all__ = [
    "list_field",
    "located",
    "name_field",
    "parse_object",
    "read_lines",
    "read_objects",
    "read_rows",
    "required_field",
    "seconds_field",
    "shown",
    "steps_field",
    "video_path",
]

_LATEST_SECONDS = 1e9


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of every line, with its end; a byte order mark is dropped."""
    try:
        if not path.is_file():
            reason = "is not a file" if path.exists() else "no such file"
            raise DataError(f"{path}: {reason}; give a text file")
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise DataError(f"{path}:{number}: is not UTF-8 text; save the file as UTF-8") from error
                yield number, text
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_objects(path: Path, hint: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and JSON object of every line that is not blank."""
    for number, text in read_lines(path):
        if not text.strip():
            continue
        with located(path, number):
            entry = parse_object(text, hint)
        yield number, entry


def parse_object(text: str, hint: str) -> dict[str, Any]:
    """The JSON object of one line; `hint` shows a good one. Raises `DataError`."""
    try:
        entry = json.loads(text, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        raise DataError(f"is not JSON: {error.msg} at column {error.colno}; {hint}") from error
    except (ValueError, RecursionError) as error:  # a number or a nesting beyond what Python reads
        raise DataError(f"is not JSON that can be read: {error}; {hint}") from error
    if not isinstance(entry, dict):
        raise DataError(f"is not a JSON object; {hint}")
    return entry


def _unique_keys(items: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(items)
    if len(entry) < len(items):
        keys = [key for key, _ in items]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DataError(f"key {twice!r} stands twice; keep one")
    return entry


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Number and cells by column of every line below the header that is not blank."""
    reader = csv.reader((text for _, text in read_lines(path)), strict=True)
    header: list[str] = []
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: is not CSV: {error}; correct the line") from error
        if row is None:
            return
        cells = [cell.strip() for cell in row]
        if cells in ([], [""]):
            continue
        with located(path, reader.line_num):
            if not header:
                header = _checked_header(cells)
                continue
            if len(cells) != len(header):
                raise DataError(f"has {len(cells)} columns, but the header has {len(header)}; correct the line")
        yield reader.line_num, dict(zip(header, cells, strict=True))


def _checked_header(columns: list[str]) -> list[str]:
    missing = [name for name in ("video_a", "video_b", "same") if name not in columns]
    if missing:
        raise DataError(f"the header lacks {', '.join(missing)}; begin the file with video_a,video_b,same")
    if len(set(columns)) < len(columns):
        raise DataError("the header names one column twice; rename one of the two")
    return columns


@contextlib.contextmanager
def located(path: Path, number: int) -> Iterator[None]:
    """Put file and line in front of what is wrong."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}:{number}: {error}") from error.__cause__


def required_field(entry: Mapping[str, Any], key: str, hint: str) -> Any:
    """The value of a key that must be there; `hint` shows a good line."""
    if key not in entry:
        raise DataError(f"lacks {key!r}; {hint}")
    return entry[key]


def list_field(entry: Mapping[str, Any], key: str, hint: str) -> list[Any]:
    """The list under a key that must be there; it has at least one element."""
    values = required_field(entry, key, hint)
    if not isinstance(values, list) or not values:
        raise DataError(f"{key} is {shown(values)}; give a list of at least one text")
    return values


def steps_field(entry: Mapping[str, Any], hint: str) -> tuple[str, ...]:
    """The step texts, without the white space around them."""
    return tuple(_text(step, "steps").strip() for step in list_field(entry, "steps", hint))


def name_field(entry: Mapping[str, Any], key: str) -> str | None:
    """The text of a key that may be missing or null."""
    value = entry.get(key)
    return None if value is None else _text(value, key).strip()


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{key} holds {shown(value)}; give text that is not blank")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise DataError(f"{key} holds {shown(value)}, with a character that no text has; remove it")
    return value


def video_path(value: object, folder: Path, key: str) -> Path:
    """The absolute path of a video. Links to folders are followed, one to the video itself keeps its own name."""
    path = folder / _text(value, key)
    if path.name == "..":
        return Path(os.path.realpath(path))
    return Path(os.path.realpath(path.parent), path.name)


def seconds_field(entry: Mapping[str, Any], key: str) -> float | None:
    """The seconds of a key that may be missing or null."""
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST_SECONDS:
        raise DataError(f"{key} is {shown(value)}; give seconds, 0 or more")
    return float(value)


def shown(value: object) -> str:
    """A value as JSON on one line, cut where it is long; lists and objects by their kind."""
    if isinstance(value, list | dict) and value:
        return "a list" if isinstance(value, list) else "an object"
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
