"""`weaksvr-check-data`: a dataset in, what it holds and what would be lost out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ...runtime.commands.entry import one_line, print_json, run
from ...runtime.commands.options import json_option, version_option
from ...runtime.errors import OptionError
from .source_options import FORMAT_NAMES, source_options

if TYPE_CHECKING:
    from ..datasets.check import DataReport, Extent
    from ..datasets.formats import PublishedSource
    from ..datasets.video_finder import VideoKind

__all__ = ["command", "main"]

_COLUMNS = ("split", "videos", "present", "with steps", "tasks", "procedures", "steps", "opened", "seconds", "pairs")


def _number_to_open(_context: click.Context, _option: click.Parameter, value: str) -> int | None:
    """A number of videos; `all` as None."""
    if value == "all":
        return None
    if not (value.isascii() and value.isdecimal()):
        raise click.BadParameter(f"{value!r} is neither a number of videos nor 'all'")
    return int(value)


@click.command(name="weaksvr-check-data", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--format", "name", type=click.Choice(FORMAT_NAMES), help="DIR holds the published files of a dataset.")
@click.option(
    "--videos",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="With --format: the videos, or their frames; not looked for without it.",
)
@source_options
@click.option(
    "--open",
    "num_opened",
    callback=_number_to_open,
    default="20",
    show_default=True,
    metavar="N|all",
    help="Videos to open in every split.",
)
@click.option(
    "--frames", type=click.IntRange(min=2), default=16, show_default=True, help="Frames a clip that training will take."
)
@json_option
@version_option
def command(
    folder: Path,
    name: str | None,
    videos: Path | None,
    kind: VideoKind,
    num_opened: int | None,
    frames: int,
    as_json: bool,
    **coin: Any,
) -> int:
    """Say what the dataset in DIR holds, what it lacks, and what would be skipped or lost.

    A problem loses data or makes a result worthless; a note does not. Nothing is written.

    Exit code: 0 no problem, 1 problems, 2 trouble.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from ..datasets.check import check_data

    source = _source(folder, name, videos, kind, **coin)
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("videos opened"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        report = check_data(
            source,
            num_opened=num_opened,
            num_frames=frames,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report)
    return int(report.loses_data)


def _source(
    folder: Path, name: str | None, videos: Path | None, kind: VideoKind, *, coin_json: Path | None, uncut: bool
) -> Path | PublishedSource:
    from ..datasets.formats import PublishedSource

    if name is not None:
        return PublishedSource(name=name, folder=folder, videos=videos, kind=kind, coin_json=coin_json, uncut=uncut)
    if videos is not None or coin_json is not None or uncut or kind != "any":
        raise OptionError("--videos, --kind, --coin-json and --uncut are of published files; add --format NAME")
    return folder


def _print(report: DataReport) -> None:
    click.echo(f"{one_line(str(report.source))}: {report.name}, {', '.join(report.files)}")
    rows = [_COLUMNS]
    for split, found in report.splits.items():
        pairs = f"{found.pairs} ({found.same} same, {found.videos_in_pairs} videos)" if found.pairs else "-"
        rows.append(
            (
                split,
                str(found.videos),
                "-" if found.present is None else str(found.present),
                str(found.with_steps),
                str(found.tasks),
                str(found.procedures),
                _shown(found.steps, "g"),
                str(found.opened),
                _shown(found.seconds, ".1f"),
                pairs,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if report.questions:
        click.echo(f"matching questions: {report.questions}")
    for finding in report.findings:
        click.echo(f"{finding.severity}: {one_line(finding.text)}")
    problems = sum(finding.severity == "problem" for finding in report.findings)
    click.echo(f"{problems} kinds of problems" if problems else "no problems")


def _shown(extent: Extent | None, form: str) -> str:
    if extent is None:
        return "-"
    return f"{extent.least:{form}} to {extent.most:{form}}, median {extent.median:{form}}"


def main() -> NoReturn:
    """Entry point of the console script."""
    run(command)


if __name__ == "__main__":
    main()
