"""weaksvr-gallery: videos that were embedded once, and are searched often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .entry import TROUBLE, one_line, print_json, run
from .options import (
    json_option,
    model_options,
    threads_option,
    version_option,
)
from .videos import list_option, video_arguments

if TYPE_CHECKING:
    from ..pipeline import StreamedVideo

__all__ = ["gallery", "main"]

LIST_SCHEMA = "weaksvr.gallery-list/1"
REMOVE_SCHEMA = "weaksvr.gallery-remove/1"

where_option = click.option(
    "--where", multiple=True, metavar="KEY=VALUE", help="Only videos with this metadata; all, if given several times."
)


@click.group(name="weaksvr-gallery", context_settings={"help_option_names": ["-h", "--help"]})
@version_option
def gallery() -> None:
    """Keep embeddings of videos in a GALLERY, and search it by a video or by a script.

    GALLERY is a folder, or an address on object storage (s3://bucket/gallery). Several processes may use it at a time.

    Exit code: 0 if all went well, 2 on any trouble.
    """


@gallery.command(name="add")
@click.argument("uri", metavar="GALLERY")
@click.argument("videos", nargs=-1, metavar="VIDEO...")
@list_option
@click.option("--set", "metadata", multiple=True, metavar="KEY=VALUE", help="Metadata of all these videos.")
@click.option("--frames", is_flag=True, help="Also keep features of frames, for search with --method alignment.")
@threads_option
@model_options
@json_option
def _add(
    uri: str,
    videos: tuple[str, ...],
    *,
    lists: tuple[str, ...],
    metadata: tuple[str, ...],
    frames: bool,
    num_threads: int | None,
    as_json: bool,
    **model_options: Any,
) -> int:
    """Embed videos and add them; GALLERY is made if there is none.

    Videos are told apart by their content: what is there already is not added again, whatever it is called.
    """
    from ..errors import OptionError
    from ..gallery import Gallery
    from ..gallery_search import add_videos, gallery_key
    from ..listing import find_videos
    from ..pipeline import plan_threads
    from ..verify import load

    about = _pairs(metadata)
    found = find_videos(video_arguments(videos, lists))
    if not found:
        raise OptionError("there are no videos to add; give at least one")
    plan = plan_threads(len(found), total=num_threads)
    model = load(**model_options, num_threads=plan.num_threads)
    opened = Gallery.create(uri, gallery_key(model))
    result = add_videos(opened, model, found, metadata=about, frames=frames, workers=plan.workers, report=_report)
    if as_json:
        print_json(result.to_dict())
    else:
        click.echo(
            f"{one_line(uri)}: {result.added} added, {len(result.duplicates)} already there, "
            f"{len(result.failures)} failed; {result.size} videos"
        )
    return TROUBLE if result.failures else 0


@gallery.command(name="search")
@click.argument("uri", metavar="GALLERY")
@click.option("--video", metavar="VIDEO", help="Search for videos like this one.")
@click.option("--script", metavar="SCRIPT", help="Search for videos that follow this script.")
@click.option("--top", type=int, default=10, show_default=True, metavar="N", help="Show the best N.")
@where_option
@click.option(
    "--method",
    type=click.Choice(["vector", "alignment"]),
    default="vector",
    show_default=True,
    help="Nearest vectors, or a closer look at the nearest ones, frame by frame.",
)
@click.option(
    "--candidates", type=int, metavar="N", help="Nearest vectors that alignment has a closer look at.  [default: 100]"
)
@click.option("--exact", is_flag=True, help="Compare all vectors, also where there is an index.")
@model_options
@json_option
def _search(
    uri: str,
    *,
    video: str | None,
    script: str | None,
    top: int,
    where: tuple[str, ...],
    method: Any,
    candidates: int | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Find the videos that are most like a video, or follow a script best."""
    from ..errors import OptionError
    from ..gallery import Gallery
    from ..gallery_search import CANDIDATES, gallery_key, search_gallery
    from ..script import read_script
    from ..verify import load

    if (video is None) == (script is None):
        raise OptionError("say what to search for: give either --video or --script")
    conditions = _pairs(where)
    query = str(video) if script is None else read_script(script)
    exact = options.pop("exact")
    model = load(**options)
    opened = Gallery.open(uri, key=gallery_key(model))
    most = CANDIDATES if candidates is None else candidates
    result = search_gallery(
        opened, model, query, method=method, top=top, candidates=most, where=conditions, exact=exact
    )
    if as_json:
        print_json(result.to_dict())
        return 0
    for hit in result.hits:
        value = hit.score if hit.distance is None else hit.distance
        click.echo(f"  {hit.rank:>4}  {value:7.4f}  {one_line(hit.entry.video)}{_shown(hit.entry.metadata)}")
    looked = "all vectors" if result.exact else "an index; --exact compares all vectors"
    measure = "score, larger is better" if script is not None else "distance, smaller is nearer"
    click.echo(f"  {measure}; method {result.method}; {result.size} videos, by {looked}")
    for note in result.notes:
        click.echo(f"  note: {one_line(note)}")
    return 0


@gallery.command(name="list")
@click.argument("uri", metavar="GALLERY")
@where_option
@click.option("--limit", type=int, metavar="N", help="Show N at most.  [default: all]")
@json_option
def _list(uri: str, *, where: tuple[str, ...], limit: int | None, as_json: bool) -> int:
    """List the videos with their metadata."""
    from ..errors import OptionError
    from ..gallery import Gallery
    from ..gallery_search import entry_to_dict

    if limit is not None and limit < 1:
        raise OptionError(f"{limit = } must be at least 1")
    conditions = _pairs(where)
    opened = Gallery.open(uri)
    entries = opened.entries(where=conditions, limit=limit)
    size = len(opened)
    if as_json:
        videos = [entry_to_dict(entry) for entry in entries]
        print_json({"schema": LIST_SCHEMA, "gallery": uri, "size": size, "videos": videos})
        return 0
    for entry in entries:
        click.echo(f"{one_line(entry.video)}{_shown(entry.metadata)}")
    click.echo(f"{len(entries)} of {size} videos", err=True)
    return 0


@gallery.command(name="remove")
@click.argument("uri", metavar="GALLERY")
@click.argument("videos", nargs=-1, metavar="VIDEO...")
@where_option
@json_option
def _remove(uri: str, videos: tuple[str, ...], *, where: tuple[str, ...], as_json: bool) -> int:
    """Remove videos by the paths under which they were added, by the hashes of their content, or by their metadata.

    With both VIDEO and --where, a video must be named and have the metadata.
    """
    from ..gallery import Gallery

    conditions = _pairs(where)
    opened = Gallery.open(uri)
    removed = opened.remove(videos=videos, where=conditions)
    size = len(opened)
    if as_json:
        print_json({"schema": REMOVE_SCHEMA, "gallery": uri, "removed": removed, "size": size})
    else:
        click.echo(f"{one_line(uri)}: {removed} removed; {size} videos")
    return 0


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    """Raises `OptionError` if a text is not KEY=VALUE, or a key stands twice."""
    from ..errors import OptionError

    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise OptionError(f"{text!r} is no metadata; write KEY=VALUE")
        if key in pairs:
            raise OptionError(f"metadata {key!r} is given twice; give it once")
        pairs[key] = value
    return pairs


def _shown(metadata: Any) -> str:
    return "".join(f"  {one_line(f'{key}={value}')}" for key, value in metadata.items())


def _report(video: StreamedVideo) -> None:
    if video.error is not None:
        click.echo(f"failed: {one_line(str(video.error))}", err=True)


def main() -> NoReturn:
    """Entry point of the console script."""
    run(gallery)


if __name__ == "__main__":
    main()
