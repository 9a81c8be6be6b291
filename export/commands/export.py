"""`weaksvr-export`: a RUN in, a bundle out."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...runtime.commands.entry import print_json, run
from ...runtime.commands.options import json_option, version_option
from ...runtime.errors import MissingExtraError

if TYPE_CHECKING:
    from ...runtime.bundle import Bundle
    from ..export import ExportOptions
    from ..gate import Progress
    from ..report import GateReport
    from ..to_int8 import Int8Mode

__all__ = ["command", "main"]

_OF_EXTRA_CPU = "onnxruntime"
_USED_LATE = (_OF_EXTRA_CPU, "onnxscript")  # looked for before the work, which only ends in them


@click.command(name="weaksvr-export")
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Bundle folder to write.")
@click.option(
    "--pairs",
    "pairs_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Pairs of videos to compare and calibrate on.  [default: the run's validation pairs]",
)
@click.option("--fp16", is_flag=True, help="Add half precision, for GPUs.")
@click.option("--int8", is_flag=True, help="Add 8 bit integers, for CPUs that have instructions for them.")
@click.option(
    "--int8-mode",
    type=click.Choice(["auto", "dynamic", "static"]),
    help="Find the range of activations at run time, or on training videos; implies --int8.  "
    "[default: what is closer to PyTorch]",
)
@click.option(
    "--gate-pairs",
    metavar="N",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Pairs whose verdicts are compared: those given, then others of the same videos.",
)
@click.option(
    "--limit",
    "limits",
    metavar="PRECISION.NAME=X",
    multiple=True,
    help="Change what the gate asks, e.g. int8.flips=0.002. Names: difference, cosine, flips, auc, tie. Repeatable.",
)
@click.option("--name", help="Name shown with every result.  [default: the RUN folder's name]")
@click.option("--description", help="What the model knows, in a sentence.  [default: the data it was trained on]")
@json_option
@version_option
def command(run_folder: Path, out: Path, *, as_json: bool, **options: Any) -> int:
    """Export the best weights of RUN to ONNX, compare every variant with PyTorch on real videos, calibrate the
    thresholds, and write a bundle. If a variant decides otherwise than its source, nothing is written.
    """
    try:
        for package in _USED_LATE:
            importlib.import_module(package)
        from ..export import export_run
    except ModuleNotFoundError as error:
        package = error.name or "a package"
        extra = "cpu" if package == _OF_EXTRA_CPU else "export"
        raise MissingExtraError(package, extra, "weaksvr-export") from error
    chosen = _options(**{name: options.pop(name) for name in ("fp16", "int8", "int8_mode", "gate_pairs", "limits")})
    with _shown_progress() as progress:
        bundle, report = export_run(run_folder, out, options=chosen, progress=progress, **options)
    if as_json:
        print_json(_document(bundle))
    else:
        _print(bundle, report)
    return 0


def _options(
    *, fp16: bool, int8: bool, int8_mode: Int8Mode | None, gate_pairs: int, limits: tuple[str, ...]
) -> ExportOptions:
    from ..export import ExportOptions
    from ..limits import overridden

    mode: Int8Mode | None = int8_mode or ("auto" if int8 else None)
    return ExportOptions(fp16=fp16, int8=mode, gate_pairs=gate_pairs, limits=overridden(limits))


@contextlib.contextmanager
def _shown_progress() -> Iterator[Progress]:
    """On stderr: a line for every stage, and a bar where it is a terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(file=sys.stderr)  # this one, also while the exporter's own lines are led elsewhere
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        stages: list[str] = []

        def show(what: str, done: int, total: int) -> None:
            if what not in stages:
                stages.append(what)
                console.print(what, markup=False, highlight=False, soft_wrap=True)
            bar.update(task, completed=done, total=total)

        yield show


def _size(bundle: Bundle) -> int:
    return sum({entry.path: entry.bytes for entry in bundle.manifest.entries}.values())  # a file may be there for two


def _document(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "schema": "weaksvr.export/1",
        "bundle": str(bundle.path),
        "name": manifest.name,
        "bytes": _size(bundle),
        "default_method": manifest.default_method,
        "thresholds": [threshold.to_json() for threshold in manifest.thresholds],
        "checks": dict(manifest.checks),
    }


def _print(bundle: Bundle, report: GateReport) -> None:
    counted = f"{len(report.pairs)} pairs of {report.videos} real videos"
    fewer = f" ({report.asked} were asked for, these videos make no more)" if len(report.pairs) < report.asked else ""
    click.echo(f"compared with PyTorch on {counted}{fewer}")
    for entry in report.precisions:
        cosine = min(difference.cosine for difference in (*entry.networks, *entry.videos))
        size, time = (
            f"{entry.num_bytes / 1e6:.1f} MB",
            f"{entry.milliseconds:.1f} ms a video" if entry.milliseconds else "ran",
        )
        click.echo(f"{entry.precision}  {size}  {time} on the {entry.device}  smallest cosine {cosine:.7f}")
        for method, found in entry.verdicts.items():
            click.echo(
                f"{method:>11}  AUC {found.auc:.4f} (PyTorch {found.source_auc:.4f})  threshold {found.threshold:.4f}  "
                f"equal error rate {found.eer:.4f}  verdicts that flipped {found.flips} (of all pairs at most "
                f"{found.flips_bound:.2%} with 95 % confidence)  ties {found.ties}"
            )
        for note in entry.notes:
            click.echo(f"{'':>11}  {note}")
    method = bundle.manifest.default_method
    click.echo(f"bundle: {bundle.path} ({_size(bundle) / 1e6:.1f} MB), compares by {method} unless told otherwise")
    click.echo(f"report: {bundle.path / bundle.manifest.reports[-1].path}")


def main() -> None:
    """Console script."""
    run(command)


if __name__ == "__main__":
    main()
