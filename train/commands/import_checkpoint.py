"""`weaksvr-import-checkpoint`: a checkpoint of a published code in, a RUN out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...runtime.commands.entry import one_line, print_json, run
from ...runtime.commands.options import json_option, version_option
from ...runtime.errors import MissingExtraError

if TYPE_CHECKING:
    from ..import_checkpoint import Imported

__all__ = ["command", "main"]


@click.command(name="weaksvr-import-checkpoint")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="RUN folder to write.")
@click.option(
    "--clip",
    metavar="NAME",
    help="open_clip architecture of WeakSVR's towers, for networks that were trained with another than the published "
    "one.  [default: ViT-B-32-quickgelu]",
)
@json_option
@version_option
def command(file: Path, out: Path, *, clip: str | None, as_json: bool) -> int:
    """Make a RUN of FILE, a .tar of the published code of WeakSVR or SVIP, which computes what that code computes.

    Nothing in the file is run. Every tensor in it is used, or named as one that takes no part. The RUN has no data:
    weaksvr-export compares and calibrates it on --pairs FILE, or writes a bundle without a threshold.
    """
    try:
        from ..import_checkpoint import import_checkpoint
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train", "weaksvr-import-checkpoint") from error
    found = import_checkpoint(file, out, clip=clip)
    if as_json:
        print_json(_document(found, file))
    else:
        _print(found, file)
    return 0


def _document(found: Imported, file: Path) -> dict[str, Any]:
    return {
        "schema": "weaksvr.import-checkpoint/1",
        "out": str(found.out),
        "file": str(file),
        "sha256": found.sha256,
        "network": found.network,
        "clip": found.config.model.clip if found.network == "WeakSVR" else None,
        "num_frames": found.config.data.num_frames,
        "reported": dict(found.facts),
        "used": found.used,
        "unused": list(found.unused),
        "left_out": list(found.left_out),
    }


def _print(found: Imported, file: Path) -> None:
    config = found.config
    tower = config.model.vision or config.model.clip
    click.echo(f"{one_line(str(file))}: {found.network}, {tower}, {config.data.num_frames} frames a view")
    click.echo(f"  sha256     {found.sha256}")
    if found.facts:
        told = ", ".join(f"{name} {value:.6g}" for name, value in found.facts.items())
        click.echo(f"  it reports {told}")
    click.echo(f"  tensors    {found.used} used, {len(found.unused)} take no part: {', '.join(found.unused) or 'none'}")
    if found.left_out:
        click.echo(f"  left out   {one_line(', '.join(found.left_out))}")
    click.echo(f"weights: {found.out / 'checkpoint'}")
    click.echo("it has no data: export it with --pairs FILE, or the bundle has no threshold")


def main() -> None:
    """Console script."""
    run(command)


if __name__ == "__main__":
    main()
