"""`weaksvr-make-videos`: numbers of videos in, a rendered dataset folder out."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NoReturn

import click

from ...runtime.commands.entry import print_json, run
from ...runtime.commands.options import json_option, version_option

__all__ = ["command", "main"]


def _available_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@click.command(name="weaksvr-make-videos", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--train", type=int, default=0, show_default=True, metavar="N", help="Number of training videos.")
@click.option("--val", type=int, default=0, show_default=True, metavar="N", help="Number of validation videos.")
@click.option("--test", type=int, default=0, show_default=True, metavar="N", help="Number of test videos.")
@click.option("--takes", type=int, default=1, show_default=True, metavar="N", help="Training videos of each procedure.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="The same seed, the same videos.")
@click.option("--size", type=int, default=160, show_default=True, metavar="PIXELS", help="Side of the square frames.")
@click.option("--workers", type=int, metavar="N", help="Processes that render.  [default: one a core]")
@json_option
@version_option
def command(out: Path, *, workers: int | None, as_json: bool, **numbers: int) -> None:
    """Render videos of procedures on a workbench, with scripts, pairs and matching tests, into the new folder OUT.

    Val and test show tasks and procedures that train never shows; 15 videos make a full task there, and 5 in train,
    or 5 times --takes, which training on pairs of one procedure needs. The folder is complete or absent. OUT must be
    absent or empty: nothing is overwritten.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from ..datasets.workbench.writer import make_dataset

    started = time.monotonic()
    workers = _available_cores() if workers is None else workers
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("videos"), TimeElapsedColumn(), TextColumn("left"))
    progress = Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    )
    bar = progress.add_task("", total=numbers["train"] + numbers["val"] + numbers["test"])

    def advance() -> None:
        progress.start()  # not before the first video: a refusal is one line on stderr and nothing else
        progress.advance(bar)

    try:
        facts = make_dataset(out, **numbers, workers=workers, on_video=advance)
    finally:
        progress.stop()
    seconds = time.monotonic() - started
    if as_json:
        print_json({"schema": "weaksvr.make-videos/1", "out": str(out), "seconds": round(seconds, 1), **facts})
        return
    num_videos = facts["lines"]["boundaries.jsonl"]
    click.echo(f"{out}: {num_videos} videos in {seconds:.0f} s ({num_videos / seconds:.1f} a second)")
    for name, lines in facts["lines"].items():
        click.echo(f"  {name:<16} {lines}")


def main() -> NoReturn:
    """Entry point of the console script."""
    run(command)


if __name__ == "__main__":
    main()
