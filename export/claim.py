"""One export at a time into a folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..runtime.errors import OutputError
from .out_folder import refuse_unwritable

__all__ = ["claimed"]


@contextlib.contextmanager
def claimed(out: Path) -> Iterator[str]:
    """Keep other processes from exporting into `out` for a while; however this one ends, the claim ends with it.

    The folder is made if it is not there, and removed again if nothing came into it. It is the folder itself that is
    locked, so nothing is left over.

    Yields:
        Why others cannot be kept off here; empty if they are.

    Raises:
        OutputError: if `out` cannot become a bundle, or another process is exporting into it.
    """
    refuse_unwritable(out)
    made = [path for path in (out, *out.parents) if not path.exists()]
    handle = None
    try:
        handle, trouble = _lock(out)
        yield trouble
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # fails, as it should, where something was written
                path.rmdir()
        if handle is not None:
            os.close(handle)


def _lock(out: Path) -> tuple[int | None, str]:
    """An open handle that holds the lock, or why there can be none. Raises `OutputError`."""
    try:
        import fcntl
    except ImportError:
        return None, "this system cannot lock a folder"
    while True:
        try:
            out.mkdir(parents=True, exist_ok=True)
            handle = os.open(out, os.O_RDONLY)
        except FileNotFoundError:  # removed by another export, which had made it and gave up
            continue
        except OSError as error:
            raise OutputError(f"{out}: cannot be made: {error.strerror or error}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(out, handle):
                return handle, ""
        except BlockingIOError as error:
            os.close(handle)
            raise OutputError(
                f"{out}: another process is exporting into it; wait until that has ended, or choose another folder"
            ) from error
        except OSError as error:
            os.close(handle)
            return None, f"its file system cannot lock a folder ({error.strerror or error})"
        os.close(handle)


def _is_still(out: Path, handle: int) -> bool:
    """Whether the folder of this name is the one that was opened."""
    try:
        return os.path.samestat(out.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
