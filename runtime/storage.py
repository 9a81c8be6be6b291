"""Files that are either the old ones or the new ones, never half of each."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import OutputError, WeakSVRError

__all__ = [
    "check_writable",
    "output_exists",
    "replace_file",
    "sha256_of",
    "sync_directory",
    "write_bytes",
    "write_text",
]


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary neighbour of `path` for writing; on success sync it and rename it to `path`.

    On any failure the temporary file is removed and `path` is as it was.

    Raises:
        OutputError: if the file cannot be written (no such folder, no permission, disk full).
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
        sync_directory(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        if isinstance(error, OSError) and not isinstance(error, WeakSVRError):
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
        raise


def check_writable(path: Path) -> None:
    """Check that `path` could be written by `replace_file`, without touching it. Raises `OutputError`."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    os.close(handle)
    Path(name).unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one step. Raises `OutputError`."""
    with replace_file(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path` in one step. Raises `OutputError`."""
    write_bytes(path, text.encode())


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_directory(path: Path) -> None:
    """Make renames inside `path` durable, where the platform can."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def output_exists(out: Path) -> bool:
    """Whether `out` exists. Raises `OutputError` if it is no file, or its folder is not there."""
    if not out.parent.is_dir():
        raise OutputError(f"{out}: cannot be written: there is no folder {out.parent}; make it first")
    if out.exists() and not out.is_file():
        raise OutputError(f"{out}: is not a file; choose another name")
    return out.exists()
