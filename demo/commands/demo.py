"""weaksvr-demo: a page in the browser."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

import click

from ...runtime.commands.entry import run
from ...runtime.commands.options import (
    model_options,
    version_option,
)

__all__ = ["demo", "main"]

_MB = 2**20


@click.command(name="weaksvr-demo", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Interface to serve on; by default this machine alone."
)
@click.option("--port", type=click.IntRange(1, 65535), help="Port to serve on.  [default: a free one from 7860 on]")
@click.option("--auth", metavar="FILE", help="Let in only the users of FILE, one name:password a line.")
@click.option("--root-path", default="", metavar="PATH", help="Path under which a reverse proxy offers the page.")
@click.option(
    "--workers", type=click.IntRange(1, 64), help="Requests worked on at a time.  [default: one for two CPUs]"
)
@click.option("--max-mb", type=float, default=200, show_default=True, help="Size of an uploaded video.")
@click.option("--max-seconds", type=float, default=600, show_default=True, help="Duration of a video.")
@click.option("--time-limit", type=float, default=60, show_default=True, help="Seconds of work on one request.")
@click.option("--gallery", metavar="DIR", help="Gallery that visitors may search.  [default: the example clips]")
@model_options
@version_option
def demo(
    *,
    host: str,
    port: int | None,
    auth: str | None,
    root_path: str,
    workers: int | None,
    max_mb: float,
    max_seconds: float,
    time_limit: float,
    **model_options: Any,
) -> int:
    """Serve a page on which people compare videos and check them against a script, until it is interrupted.

    Uploads are read in processes of their own, under limits, and deleted after half an hour. Only this machine can open
    the page unless --host says otherwise; then give --auth, too.

    Exit code: 0 when it is ended by an interrupt; 2 on any trouble.
    """
    from ..child import ModelOptions
    from ..limits import Limits
    from ..uploads import UploadFolder
    from ..worker import WorkerPool
    from .users import read_users

    _check_installed()
    users = () if auth is None else read_users(auth)
    limits = Limits(video_bytes=round(max_mb * _MB), video_seconds=max_seconds, seconds=time_limit)
    count, threads = _share_cpus(workers)
    options = ModelOptions(**model_options, num_threads=threads)
    with (
        _ended_by_signals() as ended,
        UploadFolder(limits) as folder,
        WorkerPool(options, limits, workers=count) as pool,
    ):
        from ..app import Address, serve

        with serve(pool, folder, Address(host=host, port=port, root_path=root_path, users=users)) as url:
            click.echo(f"{url} (interrupt with Ctrl+C to end it)")
            ended.wait()
    return 0


def _check_installed() -> None:
    """Raises `MissingExtraError` if the page cannot be built, before anything else takes time."""
    from ...runtime.errors import MissingExtraError

    try:
        found = importlib.util.find_spec("gradio") is not None
    except ValueError:
        found = False
    if not found:
        raise MissingExtraError("gradio", "demo", "the page")


def _share_cpus(workers: int | None) -> tuple[int, int]:
    """How many workers, and threads in each."""
    from ...runtime.cpus import available_cpus

    cpus = available_cpus()
    count = max(1, cpus // 2) if workers is None else workers
    return count, max(1, cpus // count)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[threading.Event]:
    """An event that an interrupt or a request to terminate sets."""
    ended = threading.Event()
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, lambda *_: ended.set()) for kind in kinds]
    try:
        yield ended
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


def main() -> NoReturn:
    """Entry point of the console script."""
    run(demo)


if __name__ == "__main__":
    main()
