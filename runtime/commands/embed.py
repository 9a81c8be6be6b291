"""weaksvr-embed: many videos to one Parquet file of embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import click

from .entry import one_line, print_json, run
from .options import (
    cache_option,
    json_option,
    model_options,
    threads_option,
    version_option,
)
from .progress import Reporter
from .videos import list_option, video_arguments

if TYPE_CHECKING:
    from ..corpus import CorpusResult

__all__ = ["embed", "main"]


@click.command(name="weaksvr-embed", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("videos", nargs=-1, metavar="VIDEO...")
@click.option("--out", required=True, metavar="FILE", help="Parquet file to write.")
@list_option
@click.option("--frames", is_flag=True, help="Also write the features of the sampled frames.")
@click.option("--fresh", is_flag=True, help="Embed everything anew; reuse nothing of earlier runs.")
@threads_option
@model_options
@cache_option
@json_option
@version_option
def embed(
    videos: tuple[str, ...],
    *,
    out: str,
    lists: tuple[str, ...],
    num_threads: int | None,
    frames: bool,
    fresh: bool,
    cache: bool,
    as_json: bool,
    **model_options: Any,
) -> int:
    """Embed videos into a Parquet file with one row a video, in the order in which they are given.

    A VIDEO is a file, a folder of numbered frames (1.jpg, 2.jpg, ...), any other folder (all videos in it and below),
    a pattern ('clips/**/*.mp4'), or - for a list on stdin, one a line. Each video is taken once.

    A video that cannot be embedded is one line on stderr and a row with its error; the rest goes on. A run that was
    stopped goes on where it was when it is started again.

    Exit code: 0 if all videos were embedded; 1 if FILE was written, but some videos failed; 2 on any other trouble,
    and FILE is as it was.
    """
    from ..corpus import embed_corpus
    from ..embedding_table import import_pyarrow
    from ..listing import find_videos
    from ..pipeline import plan_threads
    from ..verify import load

    found = find_videos(video_arguments(videos, lists))
    pyarrow = import_pyarrow()  # if it is not there, that is said before anything else takes time
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())  # its own one keeps tens of MB more
    plan = plan_threads(len(found), total=num_threads)
    model = load(**model_options, num_threads=plan.num_threads, cache=cache and not fresh)
    with Reporter() as reporter:
        result = embed_corpus(
            model, found, out, workers=plan.workers, frames=frames, fresh=fresh, report=reporter.update
        )
    if as_json:
        print_json(result.to_json())
    else:
        _print(result)
    return 1 if result.failures else 0


def _print(result: CorpusResult) -> None:
    done = result.embedded + len(result.failures)
    rate = f" in {result.seconds:.1f} s ({done / result.seconds:.1f} a second)" if done else ""
    failed = f", {len(result.failures)} failed" if result.failures else ""
    reused = f", {result.reused} reused" if result.reused else ""
    click.echo(f"{one_line(result.out)}: {result.videos} videos: {result.embedded} embedded{rate}{reused}{failed}")
    threads = f"{result.workers} at a time, threads each: {result.num_threads}"
    rows = {
        "bundle": one_line(result.model.bundle),
        "sampling": result.model.sampling,
        "device": f"{result.device} ({result.provider}), {result.model.precision}",
        "videos": threads,
    }
    for name, text in rows.items():
        click.echo(f"  {name:<10} {text}")


def main() -> NoReturn:
    """Entry point of the console script."""
    run(embed)


if __name__ == "__main__":
    main()
