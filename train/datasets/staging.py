"""New folders that are complete or absent."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ...runtime.errors import OutputError

__all__ = ["check_new_folder", "staged_folder"]


def check_new_folder(out: Path) -> None:
    """Raise `OutputError` unless `out` is absent or an empty folder."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise OutputError(f"{out}: is not a folder; name a new one")
    if out.is_dir() and any(out.iterdir()):
        raise OutputError(f"{out}: is not empty, and nothing is overwritten; name a new folder")


@contextlib.contextmanager
def staged_folder(out: Path) -> Iterator[Path]:
    """A temporary sibling of `out` that takes its place on success and vanishes on any failure."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".tmp"))
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from error
    try:
        yield folder
        folder.chmod(0o755)
        folder.replace(out)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
