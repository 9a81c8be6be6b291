"""`weaksvr-convert-data`: published annotation files in, a dataset folder out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from ...runtime.commands.entry import one_line, print_json, run
from ...runtime.commands.options import json_option, version_option
from .source_options import FORMAT_NAMES, source_options

if TYPE_CHECKING:
    from ..datasets.video_finder import VideoKind

__all__ = ["command", "main"]


@click.command(name="weaksvr-convert-data", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", type=click.Choice(FORMAT_NAMES))
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--videos", type=click.Path(path_type=Path), required=True, metavar="DIR", help="The videos, or their frames."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DATA", help="New dataset folder.")
@source_options
@json_option
@version_option
def command(
    name: str,
    source: Path,
    videos: Path,
    out: Path,
    kind: VideoKind,
    coin_json: Path | None,
    uncut: bool,
    as_json: bool,
) -> int:
    """Turn the published files of a dataset, in the folder SOURCE, into the dataset folder DATA.

    SOURCE holds label_bank.json and the lists of videos and pairs as they are distributed. DATA then goes to
    weaksvr-train --data, weaksvr-evaluate --data and so on. The videos stay where they are. What is skipped or left out
    is counted with its reason. DATA must be absent or empty, and is complete or absent.

    Exit code: 0 written; 1 written, but something that counts had to be left out; 2 trouble, nothing is written.
    """
    from ..datasets.convert import convert
    from ..datasets.formats import PublishedSource

    published = PublishedSource(name=name, folder=source, videos=videos, kind=kind, coin_json=coin_json, uncut=uncut)
    conversion = convert(published, out)
    if as_json:
        print_json({**conversion.to_dict(), "out": str(out)})
    else:
        click.echo(f"{one_line(str(out))}: {name}")
        for file, lines in conversion.lines.items():
            click.echo(f"  {file:<16} {lines}")
        for finding in conversion.findings:
            click.echo(f"{finding.severity}: {one_line(finding.text)}")
    return int(any(finding.severity == "problem" for finding in conversion.findings))


def main() -> NoReturn:
    """Entry point of the console script."""
    run(command)


if __name__ == "__main__":
    main()
