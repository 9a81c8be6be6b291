"""A gallery of videos that was embedded once and is searched often: LanceDB in a folder, or on object storage.

A row a video: its content's hash, path, vector, key=value metadata, and the features of its frames where they were
asked for. LanceDB is imported when a gallery is opened.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .embedding_table import path_text
from .errors import DataError, MissingExtraError, OptionError, WeakSVRError

__all__ = ["EXACT_UP_TO", "PROBES", "Entry", "Found", "Gallery", "GalleryKey"]

SCHEMA: Final = "weaksvr.gallery/1"
METADATA_KEY: Final = b"weaksvr"
TABLE: Final = "videos"
EXACT_UP_TO: Final = 1_000_000
"""With more videos than these, there is an index, and search is approximate unless exact search is asked for."""

PROBES: Final = 128
"""Partitions of the index that a search looks into."""

ATTEMPTS: Final = 20  # at a change that other writers get in the way of
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_CONFLICT = re.compile("conflict|concurrent|retry", re.IGNORECASE)
_Answer = TypeVar("_Answer")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GalleryKey:
    """What all vectors of a gallery have in common.

    Attributes:
        embedding_id: of the model's manifest, precision and sampling, see `Manifest.embedding_id`.
        dimensions: D.
        bundle, precision, sampling: in words, for errors.
    """

    embedding_id: str
    dimensions: int
    bundle: str
    precision: str
    sampling: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Entry:
    """One video of a gallery.

    Attributes:
        content: hash of the video's content, by which videos are told apart.
        video: path, as it was given.
        vector: float32 (D,), of length 1.
        frame_features: float32 (T, D); None where they are not stored.
        metadata: key -> value.
        duration_seconds: of the whole video.
    """

    content: str
    video: str
    vector: NDArray[np.float32]
    frame_features: NDArray[np.float32] | None = None
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    duration_seconds: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The nearest entries, nearest first; `exact` tells whether none nearer can have been missed."""

    entries: tuple[Entry, ...]
    exact: bool


class Gallery:
    """An open gallery; `open` and `create` make one. Several processes may use one gallery at the same time."""

    def __init__(self, uri: str, table: Any, key: GalleryKey, *, exact_up_to: int) -> None:
        self.uri = uri
        self.key = key
        self._table = table
        self._exact_up_to = exact_up_to

    @classmethod
    def open(cls, uri: str, *, key: GalleryKey | None = None, exact_up_to: int = EXACT_UP_TO) -> Gallery:
        """Open a gallery.

        Args:
            uri: a folder, or object storage (`s3://bucket/gallery`).
            key: of the model in use; a gallery of another model is refused. None takes any.
            exact_up_to: videos up to which search is exact.

        Raises:
            MissingExtraError: if LanceDB is not installed.
            DataError: if there is no gallery, it is damaged, or comes from another model.
        """
        lancedb = _lancedb()
        if _is_folder(uri) and not Path(uri, f"{TABLE}.lance").is_dir():
            raise DataError(f"{uri}: is no gallery; make one with weaksvr-gallery add")
        with _translated(uri):
            table = lancedb.connect(uri).open_table(TABLE)
            return cls._checked(uri, table, key, exact_up_to)

    @classmethod
    def create(cls, uri: str, key: GalleryKey, *, exact_up_to: int = EXACT_UP_TO) -> Gallery:
        """Open a gallery, or make an empty one where there is none.

        Raises:
            MissingExtraError: if LanceDB is not installed.
            DataError: if something else is there, the gallery comes from another model, or none can be written.
        """
        lancedb = _lancedb()
        if _is_folder(uri):
            folder = Path(uri)
            if folder.is_file() or (
                folder.is_dir() and any(folder.iterdir()) and not (folder / f"{TABLE}.lance").is_dir()
            ):
                raise DataError(f"{uri}: is there, but no gallery; choose a new or an empty folder")
        with _translated(uri):
            base = lancedb.connect(uri)
            try:
                table = base.create_table(TABLE, schema=_arrow_schema(key))
            except ValueError as error:
                if "already exists" not in str(error):
                    raise
                table = base.open_table(TABLE)
            return cls._checked(uri, table, key, exact_up_to)

    @classmethod
    def _checked(cls, uri: str, table: Any, key: GalleryKey | None, exact_up_to: int) -> Gallery:
        about = json.loads((table.schema.metadata or {})[METADATA_KEY])
        if about.pop("schema") != SCHEMA:
            raise DataError(f"{uri}: is a gallery in another form than {SCHEMA}")
        own = GalleryKey(**about)
        if key is not None and key.embedding_id != own.embedding_id:
            raise DataError(
                f"{uri}: holds embeddings of {own.bundle}, {own.precision}, {own.sampling}, and those in effect "
                f"({key.bundle}, {key.precision}, {key.sampling}) cannot be compared with them; use the same, or "
                "another gallery"
            )
        return cls(uri, table, own, exact_up_to=exact_up_to)

    def __len__(self) -> int:
        with _translated(self.uri):
            self._table.checkout_latest()
            return int(self._table.count_rows())

    def known(self, contents: Sequence[str]) -> set[str]:
        """Which of these contents are in the gallery."""
        if not contents:
            return set()
        listed = ", ".join(map(_quoted, contents))
        with _translated(self.uri):
            self._table.checkout_latest()
            rows = self._table.search().where(f"content IN ({listed})").select(["content"]).limit(len(contents))
            return set(rows.to_arrow()["content"].to_pylist())

    def add(self, entries: Sequence[Entry]) -> int:
        """Add entries whose content is not there yet, in one step; of equal ones the first.

        Returns:
            How many were added.

        Raises:
            OptionError: if a vector has not D numbers or no direction, or metadata cannot be meant.
            DataError: if the gallery cannot be written.
        """
        unique: dict[str, Entry] = {}
        for entry in entries:
            unique.setdefault(entry.content, entry)
        if not unique:
            return 0
        rows = _rows(list(unique.values()), self.key)

        def insert() -> int:
            merge = self._table.merge_insert("content").when_not_matched_insert_all()
            return int(merge.execute(rows).num_inserted_rows)

        return self._changed(insert)

    def remove(self, *, videos: Sequence[str] = (), where: Mapping[str, str] = NOTHING) -> int:
        """Remove the entries with one of these paths or contents, or, without any, those with this metadata.

        Returns:
            How many were removed.

        Raises:
            OptionError: if neither is given, or metadata cannot be meant.
            DataError: if the gallery cannot be written.
        """
        if not videos and not where:
            raise OptionError("nothing says which videos are to be removed; give their paths, or metadata")
        listed = ", ".join(_quoted(path_text(video)) for video in videos)
        conditions = [f"(video IN ({listed}) OR content IN ({listed}))"] if videos else []
        condition = " AND ".join([*conditions, *_conditions(where)])
        return self._changed(lambda: int(self._table.delete(condition).num_deleted_rows))

    def entries(self, *, where: Mapping[str, str] = NOTHING, limit: int | None = None) -> tuple[Entry, ...]:
        """The entries with this metadata, in no promised order, without their features of frames."""
        count = len(self) if limit is None else limit
        with _translated(self.uri):
            query = self._table.search().select([name for name in self._table.schema.names if name != "frame_features"])
            if where:
                query = query.where(" AND ".join(_conditions(where)))
            return _entries(query.limit(max(count, 1)).to_arrow())

    def nearest(
        self,
        vector: ArrayLike,
        *,
        top: int,
        where: Mapping[str, str] = NOTHING,
        exact: bool = False,
        frames: bool = False,
        probes: int = PROBES,
    ) -> Found:
        """The entries whose vectors are nearest to a vector, by the angle between them.

        Args:
            vector: float (D,), of any length but 0.
            top: how many.
            where: metadata that they must have.
            exact: search all, also where there is an index.
            frames: with the features of frames, where they are stored.
            probes: partitions of the index to look into, where there is one; more find more, and take longer.

        Raises:
            OptionError: if an option cannot be meant.
            DataError: if the gallery cannot be read.
        """
        if top < 1 or probes < 1:
            raise OptionError(f"{top = } and {probes = } must be at least 1")
        (query,) = _unit(np.asarray(vector)[None], self.key.dimensions)
        count = len(self)
        with _translated(self.uri):
            approximate = not exact and count > self._exact_up_to and bool(self._table.list_indices())
            found = self._table.search(query, vector_column_name="vector").distance_type("l2").limit(top)
            if where:
                found = found.where(" AND ".join(_conditions(where)), prefilter=True)
            found = found.nprobes(probes) if approximate else found.bypass_vector_index()
            columns = [name for name in self._table.schema.names if frames or name != "frame_features"]
            table = found.select([*columns, "_distance"]).to_arrow()
        return Found(entries=_entries(table), exact=not approximate)

    def optimize(self) -> None:
        """Put the parts that additions left together, and build or extend the index where there are enough videos.

        Raises:
            DataError: if the gallery cannot be written.
        """

        def tidy() -> None:
            if int(self._table.count_rows()) > self._exact_up_to and not self._table.list_indices():
                flat = importlib.import_module("lancedb.index").IvfFlat(distance_type="l2")
                self._table.create_index("vector", config=flat)
            self._table.optimize()

        self._changed(tidy)

    def _changed(self, change: Callable[[], _Answer]) -> _Answer:
        """`change` the newest state of the table; where another writer was faster, once more."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with _translated(self.uri):
                    self._table.checkout_latest()
                    return change()
            except DataError as error:
                if attempt == ATTEMPTS or not _CONFLICT.search(str(error)):
                    raise
                time.sleep(random.uniform(0.02, 0.1) * attempt)
        raise AssertionError("the last attempt returns or raises")


def _lancedb() -> Any:
    try:
        return importlib.import_module("lancedb")
    except ImportError as error:
        raise MissingExtraError("LanceDB", "gallery", "a gallery") from error


def _is_folder(uri: str) -> bool:
    return "://" not in uri


def _arrow_schema(key: GalleryKey) -> Any:
    pa = importlib.import_module("pyarrow")
    vector = pa.list_(pa.float32(), key.dimensions)
    # The primary key is what makes two writers that add one content at the same time see each other.
    primary = {"lance-schema:unenforced-primary-key": "true"}
    columns = [
        pa.field("content", pa.string(), nullable=False, metadata=primary),
        pa.field("video", pa.string()),
        pa.field("vector", vector),
        pa.field("frame_features", pa.list_(pa.float32())),
        pa.field("metadata", pa.list_(pa.string())),
        pa.field("duration_seconds", pa.float64()),
    ]
    about = json.dumps({"schema": SCHEMA, **dataclasses.asdict(key)}).encode()
    return pa.schema(columns, metadata={METADATA_KEY: about})


def _rows(entries: Sequence[Entry], key: GalleryKey) -> Any:
    pa = importlib.import_module("pyarrow")
    units = _unit(np.array([entry.vector for entry in entries]), key.dimensions)
    columns = [
        pa.array([entry.content for entry in entries]),
        pa.array([path_text(entry.video) for entry in entries]),
        pa.FixedSizeListArray.from_arrays(pa.array(units.reshape(-1)), key.dimensions),
        pa.array(
            [None if e.frame_features is None else np.float32(e.frame_features).reshape(-1) for e in entries],
            pa.list_(pa.float32()),
        ),
        pa.array([_pairs(entry.metadata) for entry in entries], pa.list_(pa.string())),
        pa.array([entry.duration_seconds for entry in entries], pa.float64()),
    ]
    return pa.Table.from_arrays(columns, schema=_arrow_schema(key))


def _entries(table: Any) -> tuple[Entry, ...]:
    if not table.num_rows:
        return ()
    width = table.schema.field("vector").type.list_size
    vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, width)
    columns = table.select([n for n in table.column_names if n not in ("vector", "frame_features")]).to_pylist()
    frames = table["frame_features"] if "frame_features" in table.column_names else None
    found = []
    for row, (vector, column) in enumerate(zip(vectors, columns, strict=True)):
        flat = frames[row].values.to_numpy() if frames is not None and frames[row].is_valid else None
        found.append(
            Entry(
                content=column["content"],
                video=column["video"],
                vector=vector,
                frame_features=None if flat is None else flat.reshape(-1, width),
                metadata=dict(pair.split("=", 1) for pair in column["metadata"]),
                duration_seconds=column["duration_seconds"],
            )
        )
    return tuple(found)


def _unit(vectors: NDArray[Any], dimensions: int) -> NDArray[np.float32]:
    values = np.asarray(vectors, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != dimensions:
        raise OptionError(f"vectors of shape {values.shape[1:]} do not fit a gallery of {dimensions} dimensions")
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise OptionError("a vector is zero or not finite, so that it has no direction")
    units: NDArray[np.float32] = (values / lengths).astype(np.float32)
    return units


def _pairs(metadata: Mapping[str, str]) -> list[str]:
    for key, value in metadata.items():
        if not _KEY.fullmatch(key):
            raise OptionError(f"metadata key {key!r} must be letters, digits, - _ and .")
        if not value.isprintable():
            raise OptionError(f"metadata {key}={value!r} holds characters that cannot be printed")
    return [f"{key}={value}" for key, value in metadata.items()]


def _conditions(where: Mapping[str, str]) -> list[str]:
    return [f"array_has(metadata, {_quoted(pair)})" for pair in _pairs(where)]


def _quoted(text: str) -> str:
    """A string literal of SQL, in which nothing but the quotation mark has a meaning."""
    return "'" + text.replace("'", "''") + "'"


@contextlib.contextmanager
def _translated(uri: str) -> Iterator[None]:
    """The border to LanceDB."""
    try:
        yield
    except WeakSVRError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = " ".join((str(error) or type(error).__name__).split())[:300]
        raise DataError(f"{uri}: the gallery cannot be used: {reason}") from error
