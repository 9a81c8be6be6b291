"""How far a run over many videos is, for people who wait for it."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from .entry import one_line

if TYPE_CHECKING:
    from rich.progress import Progress

    from ..corpus import CorpusProgress

__all__ = ["Reporter"]

SECONDS_BETWEEN_LINES = 30.0  # of progress, where stderr is no terminal


class Reporter:
    """Failures as they come, and how far the run is: a bar on a terminal, else a line now and then; all on stderr.

    Args:
        done: what is done with a video, e.g. `embedded`.
    """

    def __init__(self, *, done: str = "embedded") -> None:
        self._done = done
        self._bar: Progress | None = None
        self._began = self._spoke = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, progress: CorpusProgress) -> None:
        """Say what is new."""
        if not self._began:
            self._begin(progress)
        if progress.failure:
            self._say(f"failed: {one_line(progress.failure)}")
        done = progress.embedded + progress.failed
        if self._bar is not None:
            rate = f"{done / max(time.monotonic() - self._began, 1e-9):.1f} a second"
            self._bar.update(self._task, completed=done, description=rate)
        elif time.monotonic() - self._spoke > SECONDS_BETWEEN_LINES:
            self._spoke = time.monotonic()
            self._say(_state(progress, self._spoke - self._began))

    def _begin(self, progress: CorpusProgress) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        for note in progress.notes:
            self._say(f"note: {one_line(note)}")
        if progress.reused:
            self._say(f"{progress.reused} of {progress.total} videos were {self._done} before")
        console = Console(stderr=True)
        if console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("videos  {task.description}"), TimeElapsedColumn())
            self._bar = Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console, transient=True)
            self._task = self._bar.add_task("", total=progress.total - progress.reused)
            self._bar.start()
        self._began = self._spoke = time.monotonic()

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(line, err=True)


def _state(progress: CorpusProgress, seconds: float) -> str:
    done, todo = progress.embedded + progress.failed, progress.total - progress.reused
    left = (todo - done) * seconds / done
    return f"{done}/{todo} videos, {done / seconds:.1f} a second, {_clock(left)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
