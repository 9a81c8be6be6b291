"""`weaksvr-export`: a RUN in, a bundle out."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from ...runtime.commands.entry import print_json, run
from ...runtime.commands.options import json_option, version_option
from ...runtime.errors import MissingExtraError
from ...train.selection import OPTIMISTIC, selected_on
from .engine_options import chosen_engines, engine_options
from .gate_options import gate_options

if TYPE_CHECKING:
    from ...runtime.bundle import Bundle
    from ..engine_options import EngineOptions
    from ..export import ExportOptions
    from ..gate import Progress
    from ..reuse import Earlier
    from ..to_int8 import Int8Mode

__all__ = ["command", "main", "print_variants", "shown_progress"]

_OF_EXTRA_CPU = "onnxruntime"
_OF_REQUEST = {"pairs_file", "tokenizer_file", "name", "num_frames"}  # which a request holds apart from other options
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
@click.option("--fp16", is_flag=True, help="Add half precision, for GPUs.")
@click.option("--int8", is_flag=True, help="Add 8 bit integers, for CPUs that have instructions for them.")
@click.option(
    "--int8-mode",
    type=click.Choice(["auto", "dynamic", "static"]),
    help="Find the range of activations at run time, or on training videos; implies --int8.  "
    "[default: what is closer to PyTorch]",
)
@click.option(
    "--tensorrt",
    is_flag=True,
    help="Add TensorRT engines for the GPU of this machine, of fp32 and, with --fp16, of fp16.",
)
@engine_options
@gate_options
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
@click.option("--force", is_flag=True, help="Make everything anew, also where nothing has changed.")
@click.option(
    "--triton",
    "triton_folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Then write the fp32 networks as a Triton model repository for a GPU; weaksvr-triton makes others.",
)
@json_option
@version_option
def command(
    run_folder: Path | None,
    pretrained: str | None,
    out: Path,
    *,
    as_json: bool,
    force: bool,
    policy: Any,
    triton_folder: Path | None,
    **options: Any,
) -> int:
    """Export the best weights of RUN to ONNX, compare every variant with PyTorch on real videos, calibrate the
    thresholds, and write a bundle. If a variant decides otherwise than its source, nothing is written.

    With --pretrained, export an open_clip model without any training. It compares what changes from frame to frame.

    If the bundle is there already and nothing that it was made from has changed, it is kept.
    """
    _check_source(run_folder, pretrained, policy, options["num_frames"])
    from ..claim import claimed
    from ..inputs import Request
    from ..reuse import look

    request = Request(
        run=run_folder,
        pretrained=pretrained,
        pairs_file=options["pairs_file"],
        tokenizer_file=options["tokenizer_file"],
        identity={"name": options["name"], "num_frames": options["num_frames"], "sampling": policy},
        options={name: value for name, value in options.items() if name not in _OF_REQUEST},
    )
    engines = chosen_engines(options, wanted=options.pop("tensorrt"))
    if triton_folder is not None:
        _check_triton(triton_folder, out)
    with claimed(out) as trouble:
        if trouble:
            click.echo(f"{out}: {trouble}; see to it that nothing else is exported into it now", err=True)
        earlier = look(out, request, force=force)
        if earlier.bundle is not None:
            click.echo(f"nothing has changed: {out} is kept; --force exports it anew", err=True)
            bundle = earlier.bundle
        else:
            if earlier.reason:
                click.echo(f"{out} is made anew: {earlier.reason}", err=True)
            bundle = _export(run_folder, pretrained, out, engines=engines, earlier=earlier, policy=policy, **options)
        triton = None if triton_folder is None else _write_triton(bundle, triton_folder)
    if as_json:
        print_json({**_document(bundle), "triton": triton})
    else:
        _print(bundle)
    return 0


def _export(
    run_folder: Path | None,
    pretrained: str | None,
    out: Path,
    *,
    engines: EngineOptions | None,
    earlier: Earlier,
    policy: Any,
    **options: Any,
) -> Bundle:
    try:
        for package in _USED_LATE:
            importlib.import_module(package)
        from ..export import export_source
        from ..pretrained import export_pretrained
        from ..source import run_source
    except ModuleNotFoundError as error:
        package = error.name or "a package"
        extra = "cpu" if package == _OF_EXTRA_CPU else "export"
        raise MissingExtraError(package, extra, "weaksvr-export") from error
    chosen = _options(**{name: options.pop(name) for name in ("fp16", "int8", "int8_mode", "gate_pairs", "limits")})
    chosen = dataclasses.replace(chosen, engines=engines)
    with shown_progress() as progress:
        shared: dict[str, Any] = {"options": chosen, "earlier": earlier, "progress": progress}
        if pretrained is not None:
            return export_pretrained(pretrained, out, policy=policy, **shared, **options)[0]
        del options["num_frames"]
        return export_source(run_source(cast("Path", run_folder), **options), out, **shared)[0]


def _check_triton(folder: Path, out: Path) -> None:
    """Refuse what cannot be written before the work."""
    from ..triton import refuse_foreign_repository

    ours, other = folder.resolve(), out.resolve()
    if ours == other or ours in other.parents or other in ours.parents:
        raise click.UsageError("--triton and --out must name two folders, neither of them in the other.")
    refuse_foreign_repository(folder)


def _write_triton(bundle: Bundle, folder: Path) -> dict[str, Any]:
    from ..triton import write_triton

    repository = write_triton(bundle, folder)
    click.echo(f"triton: {repository.path} ({repository.precision}, on the {repository.device})", err=True)
    return repository.to_json()


def _check_source(run_folder: Path | None, pretrained: str | None, policy: Any, num_frames: int | None) -> None:
    """Exactly one thing to export, and options that belong to it."""
    if (run_folder is None) == (pretrained is None):
        raise click.UsageError("Give either a RUN folder or --pretrained NAME/TAG.")
    if pretrained is None and (policy is not None or num_frames is not None):
        raise click.UsageError("--num-frames and --sampling belong to --pretrained; a RUN has its own.")


def _options(
    *, fp16: bool, int8: bool, int8_mode: Int8Mode | None, gate_pairs: int, limits: tuple[str, ...]
) -> ExportOptions:
    from ..export import ExportOptions
    from ..limits import overridden

    mode: Int8Mode | None = int8_mode or ("auto" if int8 else None)
    return ExportOptions(fp16=fp16, int8=mode, gate_pairs=gate_pairs, limits=overridden(limits))


@contextlib.contextmanager
def shown_progress() -> Iterator[Progress]:
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
        "selected_on": selected_on(manifest.training),
        "thresholds": [threshold.to_json() for threshold in manifest.thresholds],
        "checks": dict(manifest.checks),
    }


def _print(bundle: Bundle) -> None:
    gate = bundle.manifest.checks["gate"]
    pairs = gate["pairs"]
    counted = f"{pairs['compared']} pairs of {pairs['videos']} real videos"
    fewer = f" ({pairs['asked']} were asked for, these videos make no more)" * (pairs["compared"] < pairs["asked"])
    alone = "noise, network by network, as there are no pairs of videos"
    click.echo(f"compared with PyTorch on {f'{counted}{fewer}' if pairs['compared'] else alone}")
    print_variants(gate)
    method = bundle.manifest.default_method
    click.echo(f"bundle: {bundle.path} ({_size(bundle) / 1e6:.1f} MB), compares by {method} unless told otherwise")
    click.echo(f"report: {bundle.path / bundle.manifest.reports[-1].path}")
    if selected_on(bundle.manifest.training) == "test":
        click.echo(OPTIMISTIC)
    if not pairs["compared"]:
        click.echo("uncalibrated: it has no threshold; verify with --threshold X, or export it with --pairs FILE")


def print_variants(gate: Mapping[str, Any], *, source: str = "PyTorch") -> None:
    """A line for every variant, and one for every way to compare.

    Args:
        gate: what a bundle's checks say under this name.
        source: what the variants were compared with.
    """
    for name, entry in gate["precisions"].items():
        cosine = min(difference["cosine"] for difference in (*entry["networks"], *entry["videos"]))
        took = f"{entry['milliseconds']:.1f} ms a video" if entry["milliseconds"] else "ran"
        size = f"{entry['num_bytes'] / 1e6:.1f} MB"
        click.echo(f"{name}  {size}  {took} on the {entry['device']}  smallest cosine {cosine:.7f}")
        for method, found in entry["methods"].items():
            click.echo(
                f"{method:>11}  AUC {found['auc']:.4f} ({source} {found['source_auc']:.4f})  "
                f"threshold {found['threshold']:.4f}  equal error rate {found['eer']:.4f}  "
                f"verdicts that flipped {found['flips']} (of all pairs at most {found['flips_bound']:.2%} with 95 % "
                f"confidence)  ties {found['ties']}"
            )
        for note in entry["notes"]:
            click.echo(f"{'':>11}  {note}")


def main() -> None:
    """Console script."""
    run(command)


if __name__ == "__main__":
    main()
