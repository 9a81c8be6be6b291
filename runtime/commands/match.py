"""weaksvr-match: which videos follow a script?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import click

from .entry import TROUBLE, one_line, print_json, run
from .options import (
    cache_option,
    json_option,
    model_options,
    threads_option,
    version_option,
)
from .videos import list_option, video_arguments

if TYPE_CHECKING:
    from ..match import MatchResult
    from ..pipeline import StreamedVideo

__all__ = ["main", "match"]


@click.command(name="weaksvr-match", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("script")
@click.argument("videos", nargs=-1, metavar="VIDEO...")
@click.option("--script", "more", multiple=True, metavar="SCRIPT", help="Also rank the videos for this one.")
@list_option
@click.option("--top", type=int, metavar="N", help="Show the best N videos of each script.  [default: all]")
@click.option(
    "--method",
    type=click.Choice(["vector", "alignment"]),
    help="The whole text at once, or step by step in order.  [default: alignment]",
)
@threads_option
@model_options
@cache_option
@json_option
@version_option
def match(
    script: str,
    videos: tuple[str, ...],
    *,
    more: tuple[str, ...],
    lists: tuple[str, ...],
    top: int | None,
    method: Any,
    num_threads: int | None,
    as_json: bool,
    **model_options: Any,
) -> int:
    """Rank videos by how well they follow SCRIPT, best first.

    SCRIPT is a text file with one step a line, or a folder of such files (*.txt), each of which gets its ranking.

    A VIDEO is a file, a folder of numbered frames (1.jpg, 2.jpg, ...), any other folder (all videos in it and below),
    a pattern ('clips/**/*.mp4'), a file of embeddings that weaksvr-embed wrote (embeddings.parquet), or - for a list on
    stdin, one a line.

    A video that cannot be used is one line on stderr; the others are ranked.

    Exit code: 0 if all videos were ranked, 2 on any trouble.
    """
    from ..listing import find_videos
    from ..match import match_videos, read_scripts
    from ..pipeline import plan_threads
    from ..verify import load

    scripts = [read for path in (script, *more) for read in read_scripts(path)]
    found = find_videos(video_arguments(videos, lists))
    plan = plan_threads(len(found), total=num_threads)
    model = load(**model_options, num_threads=plan.num_threads)
    result = match_videos(model, scripts, found, method=method, top=top, workers=plan.workers, report=_report)
    if as_json:
        print_json(result.to_dict())
    else:
        _print(result)
    return TROUBLE if result.failures else 0


def _report(video: StreamedVideo) -> None:
    if video.error is not None:
        click.echo(f"failed: {one_line(str(video.error))}", err=True)


def _print(result: MatchResult) -> None:
    for ranking in result.scripts:
        click.echo(f"{one_line(ranking.script)}: {len(ranking.steps)} steps, {result.num_videos} videos")
        for video in ranking.videos:
            click.echo(f"  {video.rank:>4}  {video.score:7.4f}  {one_line(video.video)}")
            for note in video.notes:
                click.echo(f"{'':>15}  note: {one_line(note)}")
    rows = {
        "method": result.method,
        "sampling": result.sampling,
        "device": f"{result.device} ({result.provider}), {result.precision}",
        "bundle": one_line(result.bundle),
    }
    for name, text in rows.items():
        click.echo(f"  {name:<10} {text}")
    for note in result.notes:
        click.echo(f"  {'note':<10} {one_line(note)}")


def main() -> NoReturn:
    """Entry point of the console script."""
    run(match)


if __name__ == "__main__":
    main()
