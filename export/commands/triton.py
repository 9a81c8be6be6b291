"""`weaksvr-triton`: a bundle in, a Triton model repository out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from ...runtime.commands.entry import print_json, run
from ...runtime.commands.options import json_option, version_option

if TYPE_CHECKING:
    from ..triton import TritonDevice

__all__ = ["command", "main"]


@click.command(name="weaksvr-triton")
@click.argument("bundle_folder", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), required=True, help="Model repository to write.")
@click.option(
    "--precision",
    metavar="fp32|fp16|...",
    default="fp32",
    show_default=True,
    help="Precision of the networks, one that the bundle holds; fp16 is for the GPU, int8 for the CPU.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "gpu"]),
    default="gpu",
    show_default=True,
    help="Where Triton runs the networks.",
)
@json_option
@version_option
def command(bundle_folder: Path, out: Path, *, precision: str, device: TritonDevice, as_json: bool) -> int:
    """Write the networks of BUNDLE as a model repository for NVIDIA's Triton Inference Server: one model a network,
    byte by byte the bundle's, and an ensemble that takes the frames of a video's view and gives its embedding. What a
    client needs to prepare frames and to come to a verdict is in the ensemble's parameters.
    """
    from ...runtime.bundle import Bundle
    from ..triton import write_triton

    repository = write_triton(Bundle.open(bundle_folder, verify=False), out, precision=precision, device=device)
    if as_json:
        print_json({"schema": "weaksvr.triton/1", **repository.to_json()})
    else:
        click.echo(f"model repository: {repository.path} ({repository.precision}, on the {repository.device})")
        for model in repository.models:
            click.echo(f"  {model}")
    for note in repository.notes:
        click.echo(f"note: {note}", err=True)
    return 0


def main() -> NoReturn:
    """Console script."""
    run(command)


if __name__ == "__main__":
    main()
