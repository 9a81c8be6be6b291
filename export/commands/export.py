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
@click.argument("run_folder", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--pretrained",
    metavar="NAME/TAG",
    help="Export an open_clip model as it is instead of a RUN: ViT-B-32/openai, ViT-B-32/FILE, hf-hub:NAME.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Bundle folder to write.")
@click.option(
    "--pairs",
    "pairs_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Pairs of videos to compare and calibrate on.  [default: the run's validation pairs; with --pretrained "
    "none, and the bundle has no threshold]",
)
@click.option("--name", help="Name shown with every result.  [default: the RUN folder's or the model's]")
@click.option("--description", help="What the model knows, in a sentence.  [default: the data it was trained on]")
@click.option(
    "--tokenizer",
    "tokenizer_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="tokenizer.json of a text tower that does not use CLIP's.  [default: from the Hugging Face hub]",
)
@click.option("--num-frames", metavar="T", type=int, help="With --pretrained: frames a view.  [default: 16]")
@click.option(
    "--sampling",
    "policy",
    type=click.Choice(["three-view", "uniform"]),
    help="With --pretrained: three views of a video, or one.  [default: three-view]",
)
@json_option
@version_option
def command(
    run_folder: Path | None, pretrained: str | None, out: Path, *, as_json: bool, policy: Any, **options: Any
) -> int:
    """Export the best weights of RUN to ONNX, compare them with PyTorch on real videos, calibrate the thresholds, and
    write a bundle. If the export differs from its source, nothing is written.

    With --pretrained, export an open_clip model without any training. It compares what changes from frame to frame.
    """
    _check_source(run_folder, pretrained, policy, options["num_frames"])
    try:
        for package in _USED_LATE:
            importlib.import_module(package)
        from ..export import export_run
        from ..pretrained import export_pretrained
    except ModuleNotFoundError as error:
        package = error.name or "a package"
        extra = "cpu" if package == _OF_EXTRA_CPU else "export"
        raise MissingExtraError(package, extra, "weaksvr-export") from error
    with _shown_progress() as progress:
        report: GateReport | None
        if pretrained is not None:
            bundle, report = export_pretrained(pretrained, out, progress=progress, policy=policy, **options)
        else:
            del options["num_frames"]
            bundle, report = export_run(run_folder, out, progress=progress, **options)
    if as_json:
        print_json(_document(bundle))
    elif report is None:
        _print_uncalibrated(bundle)
    else:
        _print(bundle, report)
    return 0


def _check_source(run_folder: Path | None, pretrained: str | None, policy: Any, num_frames: int | None) -> None:
    """Exactly one thing to export, and options that belong to it."""
    if (run_folder is None) == (pretrained is None):
        raise click.UsageError("Give either a RUN folder or --pretrained NAME/TAG.")
    if pretrained is None and (policy is not None or num_frames is not None):
        raise click.UsageError("--num-frames and --sampling belong to --pretrained; a RUN has its own.")


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
    _print_bundle(bundle)


def _print_uncalibrated(bundle: Bundle) -> None:
    checks = bundle.manifest.checks
    differences = ", ".join(f"{role} {value:.1e}" for role, value in checks["relative_difference_by_role"].items())
    click.echo(f"largest relative difference from PyTorch on {checks['frames_from']}: {differences}")
    _print_bundle(bundle)
    click.echo("uncalibrated: it has no threshold; verify with --threshold X, or export it with --pairs FILE")


def _print_bundle(bundle: Bundle) -> None:
    method = bundle.manifest.default_method
    click.echo(f"bundle: {bundle.path} ({_size(bundle) / 1e6:.1f} MB), compares by {method} unless told otherwise")


def main() -> None:
    """Console script."""
    run(command)


if __name__ == "__main__":
    main()
