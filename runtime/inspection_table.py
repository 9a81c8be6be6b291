"""Inspections on their way to one CSV file: on disk as they come, put in order at the end.

While a run goes on, its rows are appended to OUT.part, each synced to disk as a whole line; OUT is replaced in one step
at the end, and OUT.part removed. The next run takes over from both the rows that the same references, model and options
made of the same recordings, as size and time of the last change tell; a row that somebody changed is made again.

Every text is in quotation marks, and one that a spreadsheet would take for a formula has an apostrophe in front.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib
import io
import json
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from .embedding_store import signature_of
from .embedding_table import Signature
from .errors import OutputError
from .inspection import Inspection
from .storage import output_exists, replace_file
from .video_part import VideoPart

__all__ = ["COLUMNS", "InspectionTable"]

COLUMNS: Final = (
    *("recording", "start", "end", "verdict", "reference", "distance", "threshold", "margin", "probability"),
    *("error", "notes", "run", "check"),
)
_NUMBERS: Final = ("start", "end", "distance", "threshold", "margin", "probability")
_MARKED: Final = ("'", "=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NOTE_END: Final = " | "
_HEADER: Final = (",".join(f'"{name}"' for name in COLUMNS) + "\n").encode()

_CHECK: Final = 16  # hex digits of a digest

Row = dict[str, str]


class InspectionTable:
    """The rows of one output file. A context manager: whatever ends the block, the rows that were added are on disk.

    Args:
        out: the file that `finish` writes.
        run: digest of all that a row depends on besides its recording.
        fresh: take nothing over from earlier runs.

    Raises:
        OutputError: if `out` cannot be written, is another program's file, is being written by another process, or
            comes from a run with other references, another model or other options.
    """

    def __init__(self, out: Path, *, run: str, fresh: bool = False) -> None:
        self.out = out
        self._part = out.with_name(f"{out.name}.part")
        self._run = run[:_CHECK]
        self._fresh = fresh
        self._earlier: dict[str, Row] = {}
        self._done: dict[VideoPart, Row] = {}
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        earlier = _rows(self.out, _content(self.out)) if output_exists(self.out) else []
        self._file = _opened(self._part, self.out)
        try:
            begun = _whole_lines(_content(self._part))
            earlier += _rows(self._part, begun)
            if self._fresh:
                earlier, begun = [], b""
            if any(row["run"] != self._run for row in earlier):
                raise OutputError(
                    f"{self.out}: was begun with other references, another bundle, method, threshold or sampling; give "
                    "--fresh to compare everything anew, or another --out"
                )
            self._earlier = {row["check"][:_CHECK]: row for row in earlier if not row["error"]}
            with _writing(self.out):
                self._file.truncate(len(begun))
                if not begun:
                    self._append(_HEADER)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def reuse(self, recording: VideoPart) -> Inspection | None:
        """What an earlier run found, if the recording is the same."""
        signature = signature_of(Path(recording.path))
        if signature is None or not self._earlier:
            return None
        key = self._check(recording, signature)
        row = self._earlier.get(key)
        if row is None or row["check"] != key + _digest(_cells(row)):
            return None
        self._done[recording] = row
        return _inspection(row, recording)

    def add(self, recording: VideoPart, found: Inspection, signature: Signature | None) -> None:
        """Keep a row. `signature` is that of the recording before it was read. Raises `OutputError`."""
        row = _row(found)
        row["run"] = self._run
        row["check"] = self._check(recording, signature) + _digest(_cells(row))
        self._done[recording] = row
        with _writing(self.out):
            self._append(_line(row))

    def finish(self, recordings: Sequence[VideoPart]) -> None:
        """Write the rows of `recordings`, each of which was added or reused, in this order. Raises `OutputError`."""
        with replace_file(self.out) as file:
            file.write(_HEADER)
            for recording in recordings:
                file.write(_line(self._done[recording]))
        self._part.unlink(missing_ok=True)

    def _check(self, recording: VideoPart, signature: Signature | None) -> str:
        """Which recording a row is of, in hex."""
        path = os.fsencode(Path(recording.path).absolute()).hex()
        return _digest([self._run, path, recording.start, recording.end, signature])

    def _append(self, line: bytes) -> None:
        if self._file is not None:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())

    def _close(self) -> None:
        if self._file is not None:
            if os.fstat(self._file.fileno()).st_size <= len(_HEADER):  # nothing was kept, so nothing is left behind
                self._part.unlink(missing_ok=True)
            self._file.close()
            self._file = None


def _row(found: Inspection) -> Row:
    values = {name: getattr(found, name) for name in COLUMNS if hasattr(found, name)}
    values["notes"] = _NOTE_END.join(found.notes)
    numbers = {name: "" if values[name] is None else repr(float(values[name])) for name in _NUMBERS}
    texts = {name: _text(value or "") for name, value in values.items() if name not in _NUMBERS}
    return {**texts, **numbers}


def _inspection(row: Row, recording: VideoPart) -> Inspection:
    """What a row of ours says; its check was right, so every value can be read."""
    numbers: dict[str, Any] = {name: float(row[name]) if row[name] else None for name in _NUMBERS}
    verdict: Any = row["verdict"]
    return Inspection(
        recording=recording.path,
        verdict=verdict,
        reference=row["reference"].removeprefix("'"),
        notes=tuple(note for note in row["notes"].removeprefix("'").split(_NOTE_END) if note),
        **{**numbers, "start": recording.start, "end": recording.end},
    )


def _text(value: str) -> str:
    """A text that stays one on one line, in UTF-8, and in a spreadsheet."""
    plain = os.fsencode(value).decode("utf-8", "backslashreplace")
    line = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in plain)
    return f"'{line}" if line.lstrip().startswith(_MARKED) else line


def _line(row: Row) -> bytes:
    quoted = (row[name] if name in _NUMBERS else '"' + row[name].replace('"', '""') + '"' for name in COLUMNS)
    return (",".join(quoted) + "\n").encode()


def _cells(row: Row) -> list[str]:
    return [row[name] for name in COLUMNS if name != "check"]


def _digest(values: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:_CHECK]


def _rows(path: Path, data: bytes) -> list[Row]:
    """The rows of a file of ours. Raises `OutputError` if it is another program's."""
    if not data:
        return []
    try:
        cells = list(csv.reader(io.StringIO(data.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error):
        cells = []
    if not cells or tuple(cells[0]) != COLUMNS:
        raise OutputError(f"{path}: is not a file of weaksvr-verify and is not replaced; choose another name")
    return [dict(zip(COLUMNS, row, strict=True)) for row in cells[1:] if len(row) == len(COLUMNS)]


def _whole_lines(data: bytes) -> bytes:
    """Without a last line that a run did not live to end."""
    return data[: data.rfind(b"\n") + 1]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _opened(part: Path, out: Path) -> IO[bytes]:
    """`part`, open for appending, and locked for this process until it is closed, where there are such locks."""
    with _writing(out):
        file = part.open("ab")
    with contextlib.suppress(ImportError):
        fcntl = importlib.import_module("fcntl")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            message = f"{out}: is being written by another process; wait for it, or choose another name"
            raise OutputError(message) from error
    return file


@contextlib.contextmanager
def _writing(out: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from error
