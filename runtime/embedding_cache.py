"""Embeddings of videos by the content of the video and everything else that they depend on.

The content of a file is its SHA-256. It is kept under device, inode, size and the times of the last change (mtime and
ctime), so that a file that was not touched is not read again. Every write moves the ctime, and no program can set it;
but clocks tick, so a file that was changed a moment ago is hashed each time, and its embedding is not kept.

Folders of frames are not kept: to hash all pictures costs more than to decode the few that are looked at.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import stat
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .cache import Cache
from .storage import sha256_of

__all__ = ["EmbeddingCache", "Lookup", "StoredEmbedding"]

SETTLED_SECONDS: Final = 2.0
"""Coarsest tick of a file system's clock: of a file changed within it, another change might leave the same times."""

_HEX_DIGITS: Final = frozenset("0123456789abcdef")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StoredEmbedding:
    """What is kept of an embedding; R = V * T sampled frames.

    Attributes:
        vector: float32 (D,).
        frame_features: float32 (R, D).
        indices: int64 (R,), ascending.
        times_seconds: float64 (R,).
        num_frames: displayed frames of the whole video.
        duration_seconds: of the whole video.
        notes: what is wrong with the video.
    """

    vector: NDArray[np.float32]
    frame_features: NDArray[np.float32]
    indices: NDArray[np.int64]
    times_seconds: NDArray[np.float64]
    num_frames: int
    duration_seconds: float
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Lookup:
    """What the cache knows of a video.

    Attributes:
        found: its embedding, None if there is none.
    """

    found: StoredEmbedding | None = None
    _cache: Cache | None = None
    _path: Path | None = None
    _stamp: tuple[int, ...] | None = None
    _key: str = ""

    def keep(self, embedding: StoredEmbedding) -> None:
        """Keep the embedding, unless the file was changed since it was looked up, or just before."""
        if self._cache is None or self._path is None or self._stamp is None or _stamp(self._path) != self._stamp:
            return
        payload = _packed(embedding)
        if payload is not None:
            self._cache.put(self._key, payload)


class EmbeddingCache:
    """The embeddings of one model.

    Args:
        cache: where they are kept.
        model: digest of everything but the video that an embedding depends on.
        rows: sampled frames of a video, R.
    """

    def __init__(self, cache: Cache, *, model: str, rows: int) -> None:
        self._cache = cache
        self._model = model
        self._rows = rows

    def look(self, path: str | os.PathLike[str], *, part: tuple[float, float] | None = None) -> Lookup:
        """What is known of a video, or of what it shows in `part`, seconds. Never fails: it finds nothing instead."""
        file = Path(os.fsdecode(path)).absolute()
        stamp = _stamp(file)
        if stamp is None:
            return Lookup()
        began = time.time_ns()
        settled = began - stamp[-1] > SETTLED_SECONDS * 1e9
        content = self._content(file, stamp, settled=settled)
        if content is None:
            return Lookup()
        # The suffix counts: it is a hint for what a file is taken for.
        parts = {"content": content, "suffix": file.suffix.lower(), "part": part and [*map(repr, part)]}
        key = json.dumps({"kind": "embedding", "model": self._model, **parts}, sort_keys=True)
        payload = self._cache.get(key)
        found = None if payload is None else _unpacked(payload, rows=self._rows)
        return Lookup(found=found, _cache=self._cache if settled else None, _path=file, _stamp=stamp, _key=key)

    def _content(self, file: Path, stamp: tuple[int, ...], *, settled: bool) -> str | None:
        """The SHA-256 of the file, from what is kept if it is certain that nothing changed; None if it cannot be."""
        key = json.dumps({"kind": "content", "stamp": stamp})
        remember = settled and os.name == "posix"  # elsewhere no time stamp moves with every write
        known = self._cache.get(key) if remember else None
        if known is not None and len(known) == 64 and _HEX_DIGITS.issuperset(known.decode("ascii", "replace")):
            return known.decode("ascii")
        try:
            digest = sha256_of(file)
        except OSError:
            return None
        if _stamp(file) != stamp:
            return None
        if remember:
            self._cache.put(key, digest.encode())
        return digest


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Device, inode, size and times of the last change, in ns, the surest one last; None if it is not a file."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return status.st_dev, status.st_ino, status.st_size, *(times if os.name == "posix" else times[::-1])


def _packed(embedding: StoredEmbedding) -> bytes | None:
    """The length of a JSON header, the header, the arrays in little endian; None for what cannot be given back."""
    arrays = _layout(len(embedding.indices), len(embedding.vector))
    values = [np.ascontiguousarray(getattr(embedding, name)) for name in arrays]
    if any((value.dtype, value.shape) != wanted for value, wanted in zip(values, arrays.values(), strict=True)):
        return None
    if not math.isfinite(embedding.duration_seconds):
        return None
    header = {
        "rows": len(embedding.indices),
        "dimensions": len(embedding.vector),
        "num_frames": embedding.num_frames,
        "duration_seconds": embedding.duration_seconds,
        "notes": list(embedding.notes),
    }
    text = json.dumps(header).encode()
    return b"".join([len(text).to_bytes(4, "little"), text, *(value.tobytes() for value in values)])


def _unpacked(payload: bytes, *, rows: int) -> StoredEmbedding | None:
    """What `_packed` made bytes of, None if it is anything else or cannot be right."""
    end = 4 + int.from_bytes(payload[:4], "little")
    try:
        header = json.loads(payload[4:end])
        dimensions, num_frames = header["dimensions"], header["num_frames"]
        duration, notes = header["duration_seconds"], header["notes"]
        right = header["rows"] == rows and all(type(count) is int and count > 0 for count in (dimensions, num_frames))
        right = right and type(duration) is float and math.isfinite(duration)
        right = right and isinstance(notes, list) and all(isinstance(note, str) for note in notes)
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    arrays = _arrays(payload[end:], rows, dimensions) if right else None
    if arrays is None or not all(np.isfinite(values).all() for values in arrays.values()):
        return None
    indices = arrays["indices"]
    if indices[0] < 0 or indices[-1] >= num_frames or (np.diff(indices) < 0).any():
        return None
    return StoredEmbedding(**arrays, num_frames=num_frames, duration_seconds=duration, notes=tuple(notes))


def _layout(rows: int, dimensions: int) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Type and shape of every array, in the order in which they are written."""
    return {
        "vector": (np.dtype("<f4"), (dimensions,)),
        "frame_features": (np.dtype("<f4"), (rows, dimensions)),
        "indices": (np.dtype("<i8"), (rows,)),
        "times_seconds": (np.dtype("<f8"), (rows,)),
    }


def _arrays(data: bytes, rows: int, dimensions: int) -> dict[str, NDArray[Any]] | None:
    """The arrays of `_layout`, writable, None if `data` is not exactly as long as they are."""
    layout = _layout(rows, dimensions)
    sizes = [dtype.itemsize * math.prod(shape) for dtype, shape in layout.values()]
    if len(data) != sum(sizes):
        return None
    arrays, start = {}, 0
    for (name, (dtype, shape)), size in zip(layout.items(), sizes, strict=True):
        arrays[name] = np.frombuffer(data[start : start + size], dtype).reshape(shape).copy()
        start += size
    return arrays
