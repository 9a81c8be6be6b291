"""Whether a bundle can be written to a folder."""

from __future__ import annotations

import os
from pathlib import Path

from ..runtime.bundle import refuse_foreign
from ..runtime.errors import OutputError

__all__ = ["refuse_unwritable"]


def refuse_unwritable(out: Path) -> None:
    """Refuse an `out` that cannot become a bundle before any work is done. Raises `OutputError`."""
    refuse_foreign(out)
    there = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise OutputError(f"{out}: cannot be made: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{out}: cannot be made: no permission to write in {there}")
