"""`weaksvr-build-engines`: TensorRT engines of a bundle, for the GPU of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ...runtime.bundle import Bundle
from ...runtime.bundle_update import refuse_read_only
from ...runtime.commands.entry import print_json, run
from ...runtime.commands.options import json_option, version_option
from .engine_options import chosen_engines, engine_options
from .export import print_variants, shown_progress
from .gate_options import gate_options

__all__ = ["command", "main"]


@click.command(name="weaksvr-build-engines")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Bundle folder to write.  [default: BUNDLE itself]")
@click.option(
    "--pairs",
    "pairs_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Pairs of videos on which verdicts are compared.  [default: none, networks are compared on noise alone]",
)
@engine_options
@gate_options
@json_option
@version_option
def command(
    bundle: Path, out: Path | None, pairs_file: Path | None, *, gate_pairs: int, as_json: bool, **options: Any
) -> int:
    """Build TensorRT engines of BUNDLE's fp32 and fp16 networks on this machine, compare them with its fp32 networks
    on the CPU, and write the bundle with them. Engines that it had are replaced. If an engine decides otherwise,
    nothing is written. Needs no PyTorch.
    """
    from ..limits import overridden

    limits = overridden(options.pop("limits"))
    opened = Bundle.open(bundle)
    refuse_read_only(out or bundle)
    chosen = chosen_engines(options, wanted=True)
    from ..rebuild import rebuild_engines

    with shown_progress() as progress:
        written, report = rebuild_engines(
            opened,
            out or bundle,
            options=chosen,
            pairs_file=pairs_file,
            gate_pairs=gate_pairs,
            limits=limits,
            progress=progress,
        )
    if as_json:
        engines = [engine.to_json() for engine in written.manifest.engines]
        checks = written.manifest.checks["engines"]
        print_json(
            {"schema": "weaksvr.build-engines/1", "bundle": str(written.path), "engines": engines, "checks": checks}
        )
        return 0
    if report.pairs:
        click.echo(f"compared with {report.source} on {len(report.pairs)} pairs of {report.videos} real videos")
    else:
        click.echo(
            f"compared with {report.source} on noise, network by network; whether verdicts stay is not known: "
            "compare them on real videos with --pairs FILE"
        )
    print_variants(written.manifest.checks["engines"]["gate"], source=report.source)
    click.echo(f"bundle: {written.path}, engines for {report.name.rpartition(' for ')[2]}")
    click.echo(f"report: {written.path / written.manifest.reports[-1].path}")
    return 0


def main() -> None:
    """Console script."""
    run(command)


if __name__ == "__main__":
    main()
