"""What a person sees of a run: a progress bar and one line an epoch on stderr, and TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..runtime.errors import MissingExtraError

__all__ = ["Reporter"]


class Reporter:
    """Progress of a run.

    Args:
        console: where to print; None for silence.
        tensorboard: folder for TensorBoard's files, made when the first epoch is kept; None for none.
        quiet_unless: asked once the run begins; one process out of several speaks.

    Raises:
        MissingExtraError: if TensorBoard is asked for and not installed.
    """

    def __init__(
        self,
        console: Console | None,
        *,
        tensorboard: Path | None = None,
        quiet_unless: Callable[[], bool] | None = None,
    ) -> None:
        self._console = console
        self._speaks = quiet_unless or (lambda: True)
        self._folder = tensorboard
        self._writer: Any = None
        self._progress: Progress | None = None
        if tensorboard is not None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise MissingExtraError("tensorboard", "train", "weaksvr-train") from error
            self._open_writer = SummaryWriter

    @classmethod
    def silent(cls) -> Reporter:
        return cls(None)

    def note(self, text: str) -> None:
        """Print a line, if there is one."""
        if self._console is not None and text:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def begin(self, *, total: int, done: int, batches: int) -> None:
        """The run starts: `done` of `total` epochs are behind it."""
        self._batches, self._done, self._total = batches, done, total
        if not self._speaks():
            self._console = self._folder = None
        if self._console is not None:
            self._progress = Progress(
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("batches"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                console=self._console,
                transient=True,
            )
            self._task = self._progress.add_task("", total=total * batches, completed=done * batches)
            self._progress.start()

    def batch(self, sums: Mapping[str, float], count: int) -> None:
        """A batch of the current epoch is done; `sums` are the losses added up over `count` batches."""
        if self._progress is not None:
            loss = f"loss {sums['loss'] / count:.3f}"
            self._progress.update(self._task, completed=self._done * self._batches + count, description=loss)

    def epoch(self, line: Mapping[str, Any]) -> None:
        """An epoch is done and kept."""
        self._done = line["epoch"]
        if self._folder is not None:
            if self._writer is None:
                self._writer = self._open_writer(str(self._folder), purge_step=line["epoch"])
            for name in ("loss", "coarse", "fine", "lr", "scale"):
                if name in line:
                    self._writer.add_scalar(f"train/{name}", line[name], line["epoch"])
            for split in ("val", "test"):
                for name, value in (line.get(split) or {}).items():
                    self._writer.add_scalar(f"{split}/{name}", value, line["epoch"])
            self._writer.flush()
        result = "".join(
            f"  {prefix}AUC vector {value['auc_vector']:.4f}  alignment {value['auc_alignment']:.4f}"
            for prefix, value in (("", line["val"]), ("test ", line.get("test")))
            if value is not None
        )
        best = ("  best on the test set" if line["selected_on"] == "test" else "  best") if line["best"] else ""
        losses = "  ".join(f"{name} {line[name]:.4f}" for name in ("coarse", "fine") if name in line)
        self.note(f"epoch {line['epoch']}/{self._total}  {losses}{result}{best}  {line['seconds']:.0f} s")

    def close(self) -> None:
        """Stop the progress bar and close TensorBoard's files."""
        if self._progress is not None:
            self._progress.stop()
        if self._writer is not None:
            self._writer.close()
