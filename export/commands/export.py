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
    from ..export import Progress
    from ..gate import GateReport

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
@click.option("--name", help="Name shown with every result.  [default: the RUN folder's name]")
@click.option("--description", help="What the model knows, in a sentence.  [default: the data it was trained on]")
@json_option
@version_option
def command(run_folder: Path, out: Path, *, as_json: bool, **options: Any) -> int:
    """Export the best weights of RUN to ONNX, compare them with PyTorch on real videos, calibrate the thresholds, and
    write a bundle. If the export differs from its source, nothing is written.
    """
    try:
        for package in _USED_LATE:
            importlib.import_module(package)
        from ..export import export_run
    except ModuleNotFoundError as error:
        package = error.name or "a package"
        extra = "cpu" if package == _OF_EXTRA_CPU else "export"
        raise MissingExtraError(package, extra, "weaksvr-export") from error
    with _shown_progress() as progress:
        bundle, report = export_run(run_folder, out, progress=progress, **options)
    if as_json:
        print_json(_document(bundle))
    else:
        _print(bundle, report)
    return 0


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
    return sum(entry.bytes for entry in bundle.manifest.entries)


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
    differences = ", ".join(f"{name} {value:.1e}" for name, value in report.max_difference.items())
    click.echo(f"largest difference from PyTorch on {report.num_videos} real videos: {differences}")
    for method, result in report.methods.items():
        click.echo(
            f"{method:>9}  AUC {result.auc:.4f} (PyTorch {result.source_auc:.4f})  threshold {result.threshold:.4f}  "
            f"equal error rate {result.eer:.4f}  verdicts that changed {result.flips}"
        )
    method = bundle.manifest.default_method
    click.echo(f"bundle: {bundle.path} ({_size(bundle) / 1e6:.1f} MB), compares by {method} unless told otherwise")


def main() -> None:
    """Console script."""
    run(command)


if __name__ == "__main__":
    main()
