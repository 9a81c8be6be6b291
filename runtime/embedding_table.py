"""The Parquet files of `weaksvr-embed`: one row a video, and in the metadata what the embeddings depend on.

PyArrow is imported when a table is first written or read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from .errors import MissingExtraError, OutputError
from .identity import ModelIdentity
from .pipeline import StreamedVideo
from .storage import replace_file

__all__ = ["EmbeddingTable", "RowGroup", "Signature", "TableLayout", "import_pyarrow", "path_text", "read_group"]

SCHEMA: Final = "weaksvr.embeddings/1"
METADATA_KEY: Final = b"weaksvr"

Signature = tuple[int, int]
"""Bytes and time of the last change (ns since 1970) of a video; of a folder the sum and the latest of its frames."""


@dataclasses.dataclass(frozen=True, slots=True)
class RowGroup:
    """A part of a Parquet file that is read as a whole."""

    path: Path
    number: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TableLayout:
    """What the rows of a table hold.

    Attributes:
        identity: of the model.
        dimensions: D.
        frames: whether there is a column for the frames' features.
        folder: what relative paths of videos are relative to.
    """

    identity: ModelIdentity
    dimensions: int
    frames: bool
    folder: str

    def arrow_schema(self) -> Any:
        """The `pyarrow.Schema`."""
        pa = importlib.import_module("pyarrow")
        vector = pa.list_(pa.float32(), self.dimensions)
        columns = {
            "video": pa.string(),
            "vector": vector,
            **({"frame_features": pa.list_(vector)} if self.frames else {}),
            "indices": pa.list_(pa.int64()),
            "times_seconds": pa.list_(pa.float64()),
            "num_frames": pa.int64(),
            "duration_seconds": pa.float64(),
            "notes": pa.list_(pa.string()),
            "error": pa.string(),
            "bundle": pa.string(),
            "model": pa.string(),
            "precision": pa.string(),
            "sampling": pa.string(),
            "bytes": pa.int64(),
            "modified_ns": pa.int64(),
        }
        about = {"schema": SCHEMA, "folder": self.folder, "model": self.identity.to_json()}
        return pa.schema(list(columns.items()), metadata={METADATA_KEY: json.dumps(about).encode()})

    def row(self, video: StreamedVideo, signature: Signature | None) -> dict[str, Any]:
        """The row of one video; a failed one has its error and nothing that comes from the networks."""
        found = video.embedding
        size, modified = signature or (None, None)
        row: dict[str, Any] = {
            "video": path_text(video.path),
            "vector": None if found is None else found.vector,
            "indices": None if found is None else found.indices,
            "times_seconds": None if found is None else found.times_seconds,
            "num_frames": video.num_frames,
            "duration_seconds": video.duration_seconds,
            "notes": [] if found is None else [path_text(note) for note in found.notes],
            "error": None if video.error is None else path_text(str(video.error)),
            "bundle": self.identity.bundle,
            "model": self.identity.digest,
            "precision": self.identity.precision,
            "sampling": self.identity.sampling,
            "bytes": size,
            "modified_ns": modified,
        }
        if self.frames:
            row["frame_features"] = None if found is None else list(found.frame_features)
        return row

    def rows_at_a_time(self, rows_of_frames: int) -> int:
        """Rows that take about 512 KiB, where a video has features of `rows_of_frames` frames."""
        each = 512 + 4 * self.dimensions * (1 + rows_of_frames * self.frames)
        return int(np.clip((1 << 19) // each, 16, 1024))

    def write(self, path: Path, tables: Iterable[Any]) -> None:
        """Write `pyarrow.Table`s to one file, each as a row group; the file is complete or as it was.

        Raises:
            OutputError: if it cannot be written.
        """
        pq = importlib.import_module("pyarrow.parquet")
        schema = self.arrow_schema()
        alike = ["bundle", "model", "precision", "sampling"]  # the others hardly ever repeat a value
        with (
            replace_file(path) as file,
            pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=alike) as writer,
        ):
            for table in tables:
                writer.write_table(table)

    def table(self, rows: Sequence[dict[str, Any]]) -> Any:
        """The rows as a `pyarrow.Table`."""
        return importlib.import_module("pyarrow").Table.from_pylist(list(rows), schema=self.arrow_schema())


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingTable:
    """A file that was written by `TableLayout.write`.

    Attributes:
        path: of the file.
        model: digest of the model's identity.
        folder: what relative paths of videos are relative to.
        frames: whether it holds the frames' features.
    """

    path: Path
    model: str
    folder: str
    frames: bool

    @classmethod
    def open(cls, path: Path) -> EmbeddingTable:
        """Read what a file says of itself.

        Raises:
            OutputError: if it is not such a file, or damaged.
        """
        pq = importlib.import_module("pyarrow.parquet")
        with _translated(path):
            schema = pq.read_schema(path)
            about = json.loads((schema.metadata or {})[METADATA_KEY])
            if about["schema"] != SCHEMA:
                raise OutputError(f"{path}: holds embeddings in another form ({about['schema']}); choose another name")
            model, frames = about["model"]["digest"], "frame_features" in schema.names
            return cls(path=path, model=model, folder=about["folder"], frames=frames)

    def videos(self) -> Iterator[tuple[Path, Signature, RowGroup, int]]:
        """Path, signature and place of every video that was embedded, those that failed left out.

        Raises:
            OutputError: if the file is damaged.
        """
        pq = importlib.import_module("pyarrow.parquet")
        with _translated(self.path), pq.ParquetFile(self.path) as file:
            for number in range(file.num_row_groups):
                group = file.read_row_group(number, ["video", "bytes", "modified_ns", "error"], use_threads=False)
                columns = (group.column(name).to_pylist() for name in group.column_names)
                for row, (video, size, modified, error) in enumerate(zip(*columns, strict=True)):
                    if error is None and size is not None:
                        yield Path(self.folder, video), (size, modified), RowGroup(self.path, number), row


def read_group(group: RowGroup, columns: Sequence[str]) -> Any:
    """The `pyarrow.Table` of a row group, these columns only. Raises `OutputError` if the file is damaged."""
    pq = importlib.import_module("pyarrow.parquet")
    with _translated(group.path), pq.ParquetFile(group.path) as file:
        return file.read_row_group(group.number, list(columns), use_threads=False)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """The border to PyArrow where it reads `path`."""
    pa = importlib.import_module("pyarrow")
    try:
        yield
    except OutputError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path}: is damaged, or not written by weaksvr-embed; choose another name") from error


def import_pyarrow(purpose: str = "writing embeddings") -> ModuleType:
    """PyArrow. Raises `MissingExtraError`, which names the purpose, if it is not installed."""
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise MissingExtraError("PyArrow", "embed", purpose) from error


def path_text(path: str) -> str:
    """A path as text; bytes that are no UTF-8 become backslash escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
