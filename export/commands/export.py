"""`weaksvr-export`: a RUN in, a bundle out."""

from __future__ import annotations

from pathlib import Path

import click

from ...runtime.commands.entry import print_json, run
from ...runtime.commands.options import json_option, version_option
from ...runtime.errors import MissingExtraError

__all__ = ["command", "main"]


@click.command(name="weaksvr-export")
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Bundle folder to write.")
@click.option(
    "--pairs",
    "pairs_file",
    type=click.Path(path_type=Path),
    help="Pairs to compare and calibrate on.  [default: the run's validation pairs]",
)
@click.option("--name", help="Name shown with every result.  [default: the RUN folder's name]")
@click.option("--description", help="What the model knows, in a sentence.")
@json_option
@version_option
def command(
    run_folder: Path, out: Path, pairs_file: Path | None, name: str | None, description: str | None, as_json: bool
) -> int:
    """Export the best weights of RUN to ONNX, compare them with PyTorch on real videos, calibrate the thresholds, and
    write a bundle. If the export differs from its source, nothing is written.
    """
    try:
        import onnxruntime  # noqa: F401 - asked for here, so that its absence is named before the work

        from ..export import export_run
    except ImportError as error:
        extra = "cpu" if error.name == "onnxruntime" else "export"
        raise MissingExtraError(error.name or "onnx", extra, "weaksvr-export") from error
    bundle, report = export_run(
        run_folder,
        out,
        pairs_file=pairs_file,
        name=name,
        description=description,
        progress=lambda text: click.echo(text, err=True),
    )
    manifest = bundle.manifest
    size = sum(entry.bytes for entry in manifest.entries)
    if as_json:
        document = {
            "schema": "weaksvr.export/1",
            "bundle": str(out),
            "bytes": size,
            "default_method": manifest.default_method,
            "thresholds": [threshold.to_json() for threshold in manifest.thresholds],
            "checks": dict(manifest.checks),
        }
        print_json(document)
        return 0
    worst = max(report.max_difference.values())
    click.echo(f"largest difference from PyTorch on real frames: {worst:.2e}; verdicts that changed: {report.flips}")
    for method, result in report.methods.items():
        click.echo(
            f"{method:>9}  AUC {result.auc:.4f} (PyTorch {result.source_auc:.4f})  threshold {result.threshold:.4f}  "
            f"equal error rate {result.eer:.4f}"
        )
    click.echo(f"bundle: {out} ({size / 1e6:.1f} MB), compares by {manifest.default_method} unless told otherwise")
    return 0


def main() -> None:
    """Console script."""
    run(command)


if __name__ == "__main__":
    main()
