"""Embeddings on their way to one Parquet file: on disk as they come, put together at the end.

While a run goes on, its rows are in the folder OUT.part, in files that are complete or absent; OUT is replaced in one
step at the end, and the folder removed. The next run takes over from both what was made by the same model from the same
files, as size and time of the last change tell.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import shutil
import stat
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from .embedding_table import EmbeddingTable, RowGroup, Signature, TableLayout, import_pyarrow, read_group
from .errors import OutputError
from .pipeline import StreamedVideo
from .storage import output_exists

__all__ = ["EmbeddingStore", "signature_of"]

SECONDS_AT_A_TIME: Final = 15.0  # of work that is lost, at most, when a run is killed
FRAME_SUFFIXES: Final = (".jpg", ".jpeg", ".png")

Place = tuple[RowGroup, int]


class EmbeddingStore:
    """Rows of one output file. A context manager: whatever ends the block, the rows that were added stay on disk.

    Args:
        out: the file that `finish` writes.
        layout: of its rows.
        rows_at_a_time: that are kept in memory, see `TableLayout.rows_at_a_time`.
        fresh: take nothing over from earlier runs.

    Attributes:
        notes: what a user should know about what was found there.

    Raises:
        OutputError: if `out` cannot be written, is another program's file, or is being written by another process.
    """

    def __init__(self, out: Path, layout: TableLayout, *, rows_at_a_time: int, fresh: bool = False) -> None:
        self.out = out
        self.notes: tuple[str, ...] = ()
        self._layout = layout
        self._rows_at_a_time = rows_at_a_time
        self._fresh = fresh
        self._part = out.with_name(f"{out.name}.part")
        self._run = uuid.uuid4().hex[:12]
        self._numbers = itertools.count()
        self._pending: list[tuple[Path, dict[str, Any]]] = []
        self._written = time.monotonic()
        self._earlier: dict[Path, tuple[Signature, Place]] = {}
        self._places: dict[Path, Place] = {}
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Self:
        tables = [EmbeddingTable.open(self.out)] if output_exists(self.out) else []
        try:
            self._part.mkdir(exist_ok=True)
            self._lock = _locked(self._part / "lock", self.out)
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"{self.out}: cannot be written there: {error.strerror or error}") from error
        for path in sorted(self._part.glob("*.parquet")):
            with contextlib.suppress(OutputError):  # what cannot be read is embedded again
                tables.append(EmbeddingTable.open(path))
        if not self._fresh:
            self._take_over(tables)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                with contextlib.suppress(OutputError):  # the first error is the one to tell
                    self._flush()
        finally:
            if self._lock is not None:
                self._lock.close()
            if self._part.is_dir() and [path.name for path in self._part.iterdir()] == ["lock"]:
                shutil.rmtree(self._part, ignore_errors=True)

    def reuse(self, video: str) -> bool:
        """Whether the video was embedded before and is the same; its row is then taken over."""
        path = Path(video).absolute()
        found = self._earlier.get(path)
        if found is None or found[0] != signature_of(path):
            return False
        self._places[path] = found[1]
        return True

    def add(self, video: StreamedVideo, signature: Signature | None) -> None:
        """Keep a row. `signature` is that of the video before it was read. Raises `OutputError`."""
        self._pending.append((Path(video.path).absolute(), self._layout.row(video, signature)))
        if len(self._pending) >= self._rows_at_a_time or time.monotonic() - self._written > SECONDS_AT_A_TIME:
            self._flush()

    def finish(self, videos: Sequence[str]) -> None:
        """Write the rows of `videos`, each of which was added or reused, in this order. Raises `OutputError`."""
        self._flush()
        size = self._rows_at_a_time
        self._layout.write(self.out, (self._gather(videos[i : i + size]) for i in range(0, len(videos), size)))
        shutil.rmtree(self._part, ignore_errors=True)

    def _take_over(self, tables: Sequence[EmbeddingTable]) -> None:
        """List what earlier tables hold that this run would compute again."""
        others = 0
        for table in tables:
            if table.model != self._layout.identity.digest or (self._layout.frames and not table.frames):
                others += 1
                continue
            with contextlib.suppress(OutputError):
                self._earlier.update(
                    (path, (signature, (group, row))) for path, signature, group, row in table.videos()
                )
        if others:
            self.notes = (f"{self.out}: what is there comes from another model or other options and is not reused",)

    def _flush(self) -> None:
        if self._pending:
            path = self._part / f"{self._run}-{next(self._numbers):06}.parquet"
            self._layout.write(path, [self._layout.table([row for _, row in self._pending])])
            group = RowGroup(path, 0)
            self._places.update((video, (group, row)) for row, (video, _) in enumerate(self._pending))
            self._pending.clear()
        self._written = time.monotonic()

    def _gather(self, videos: Sequence[str]) -> Any:
        """The rows of `videos` as one `pyarrow.Table`; one row group at a time is in memory."""
        pa = import_pyarrow()
        wanted: dict[RowGroup, list[tuple[int, int]]] = {}
        for position, video in enumerate(videos):
            group, row = self._places[Path(video).absolute()]
            wanted.setdefault(group, []).append((row, position))
        names = self._layout.arrow_schema().names
        parts = [read_group(group, names).take([row for row, _ in rows]) for group, rows in wanted.items()]
        positions = [position for rows in wanted.values() for _, position in rows]
        order = sorted(range(len(positions)), key=positions.__getitem__)
        return pa.concat_tables(parts).take(order).combine_chunks()


def signature_of(path: Path) -> Signature | None:
    """Size and time of the last change; None if the video is not there."""
    try:
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            return status.st_size, status.st_mtime_ns
        with os.scandir(path) as entries:
            frames = [entry.stat() for entry in entries if entry.name.lower().endswith(FRAME_SUFFIXES)]
    except OSError:
        return None
    return sum(frame.st_size for frame in frames), max((frame.st_mtime_ns for frame in frames), default=0)


def _locked(path: Path, out: Path) -> IO[bytes]:
    """The file `path`, locked for this process until it is closed; where there are no such locks, just open."""
    file = path.open("ab")
    try:
        fcntl = importlib.import_module("fcntl")
    except ImportError:
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise OutputError(f"{out}: is being written by another process; wait for it, or choose another name") from error
    return file
