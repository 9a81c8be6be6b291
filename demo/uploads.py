"""The one folder where files of visitors and the example clips lie: bounded in size and age, gone when the page is."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..runtime.errors import VideoError
from .limits import Limits

__all__ = ["EXAMPLES", "UploadFolder"]

EXAMPLES: Final = Path(__file__).resolve().parent.parent / "examples"
"""The clips that come with the package, and their steps."""

_SWEEP_SECONDS: Final = 30.0


class UploadFolder:
    """A temporary folder. A context manager: files that are too old are deleted meanwhile, and all of them at the end.

    Every file in it counts, those of uploads that broke off among them, whatever put it there.

    Args:
        limits: `kept_bytes` and `kept_seconds`.

    Attributes:
        path: of the folder.
        examples: of the clips in it, which stay; by name without suffix.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._done = threading.Event()
        self.path = Path(tempfile.mkdtemp(prefix="weaksvr-demo-")).resolve()
        self._kept = self.path / "examples"
        self._kept.mkdir()
        self.examples = {
            clip.stem: Path(shutil.copyfile(clip, self._kept / clip.name)) for clip in sorted(EXAMPLES.glob("*.mp4"))
        }
        self._sweeper = threading.Thread(target=self._sweep_on, name="weaksvr-demo-sweeper", daemon=True)

    def __enter__(self) -> UploadFolder:
        self._sweeper.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._sweeper.join()
        shutil.rmtree(self.path, ignore_errors=True)

    def holds(self, path: str | os.PathLike[str]) -> bool:
        """Whether a path, links followed, leads to what is in the folder."""
        with contextlib.suppress(OSError, ValueError):
            return Path(path).resolve().is_relative_to(self.path)
        return False

    def take(self, path: str, label: str) -> str:
        """The path of a video that is still there.

        Raises:
            VideoError: if it is not; the text calls it by its label.
        """
        if not self.holds(path) or not Path(path).is_file():
            minutes = self._limits.kept_seconds / 60
            raise VideoError(
                f"{label}: is no longer kept (uploads are deleted after {minutes:g} minutes); upload it again"
            )
        return str(Path(path).resolve())

    def used_bytes(self) -> int:
        """How much the visitors' files take."""
        return sum(info.st_size for _, info in self._files())

    def sweep(self, *, now: float | None = None) -> None:
        """Delete what is too old, counted from when it was written last."""
        oldest = (time.time() if now is None else now) - self._limits.kept_seconds
        for path, info in self._files():
            if info.st_mtime < oldest:
                with contextlib.suppress(OSError):
                    path.unlink()
                    path.parent.rmdir()  # gradio makes a folder for each file; fails, as it shall, where more is in it

    def _sweep_on(self) -> None:
        while not self._done.wait(_SWEEP_SECONDS):
            self.sweep()

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for folder, _, names in os.walk(self.path):
            if Path(folder) == self._kept:
                continue
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(OSError):
                    info = path.lstat()
                    if not stat.S_ISDIR(info.st_mode):
                        yield path, info
