"""The RUN folder: where its parts lie, and what is left in it by a process that was killed.

A RUN holds `checkpoint/` (the best weights, see `selection`), `last/` (the state from which an interrupted run goes
on), `metrics.jsonl` (one line an epoch) and `tensorboard/`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ..runtime.errors import CheckpointError, OutputError
from ..runtime.storage import write_text

__all__ = ["CONFIG_NAME", "WEIGHTS_NAME", "RunFolder", "find_checkpoint"]

WEIGHTS_NAME: Final = "model.safetensors"
CONFIG_NAME: Final = "config.json"


def find_checkpoint(path: Path) -> Path:
    """The checkpoint folder of a RUN, or the folder itself.

    Raises:
        CheckpointError: if there is none; says what was looked for.
    """
    for folder in (path / "checkpoint", path):
        if (folder / WEIGHTS_NAME).is_file():
            return folder
    raise CheckpointError(
        f"{path}: holds no checkpoint (looked for checkpoint/{WEIGHTS_NAME} and {WEIGHTS_NAME}); give the --out folder "
        "of weaksvr-train or weaksvr-import-checkpoint"
    )


def _is_leftover(path: Path) -> bool:
    """Whether this is a half-written file of a process that was killed (see `runtime.storage.replace_file`)."""
    return path.name.startswith(".") and path.suffix == ".tmp"


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Names and state of a RUN's files.

    Attributes:
        path: the folder; need not exist.
    """

    path: Path

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint"

    @property
    def state(self) -> Path:
        return self.path / "last" / "state.safetensors"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    def is_free(self) -> bool:
        """Whether a run may begin here: nothing is there, or only what a run leaves that was killed before it began."""
        if not self.path.exists():
            return True
        return self.path.is_dir() and all(
            path == self.state.parent and path.is_dir() and all(map(_is_leftover, path.iterdir()))
            for path in self.path.iterdir()
        )

    def create(self) -> None:
        """Make the folder. Raises `OutputError`."""
        try:
            self.state.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be created: {error.strerror}") from error

    def sweep(self) -> None:
        """Remove the half-written files of a process that was killed."""
        for folder in (self.path, self.checkpoint, self.state.parent):
            for path in folder.glob(".*.tmp"):
                path.unlink(missing_ok=True)

    def give_up(self) -> None:
        """Remove a run of which no epoch was kept, so that its folder is free again."""
        if not self.metrics.exists():
            self.state.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty: something else is in there
                self.state.parent.rmdir()
                self.path.rmdir()

    def metrics_lines(self) -> Iterator[dict[str, Any]]:
        """The whole lines of the metrics; a torn last line is left out."""
        with contextlib.suppress(FileNotFoundError):
            for line in self.metrics.read_text().splitlines():
                with contextlib.suppress(json.JSONDecodeError):
                    yield json.loads(line)

    def cut_metrics(self, epoch: int) -> None:
        """Drop the lines after `epoch`. Raises `OutputError`."""
        kept = [line for line in self.metrics_lines() if line["epoch"] <= epoch]
        write_text(self.metrics, "".join(json.dumps(line) + "\n" for line in kept))
