"""`weaksvr-evaluate`: what a run or a bundle is worth on a dataset."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ...runtime.commands.entry import print_json, run
from ...runtime.commands.options import (
    json_option,
    running_options,
    sampling_option,
    version_option,
)
from ...runtime.errors import MissingExtraError, OptionError
from ...runtime.spec import Method, SamplingPolicy

if TYPE_CHECKING:
    from ...runtime.embedder import Embedder
    from ...runtime.evaluate import EvaluationResult

__all__ = ["command", "main"]


def _from_bundle(
    path: Path, backend: str, device: str, precision: str, sampling: SamplingPolicy | None
) -> tuple[Embedder, dict[Method, float], str]:
    """A bundle's embedder, its thresholds, and what is in effect."""
    from ...runtime.spec import METHODS
    from ...runtime.verify import load

    model = load(path, backend=backend, device=device, precision=precision, sampling=sampling)  # type: ignore[arg-type]
    manifest, running = model.bundle.manifest, model.backend
    entries = {method: manifest.threshold(method, running.precision, model.embedder.sampling.key) for method in METHODS}
    thresholds = {method: entry.threshold for method, entry in entries.items() if entry is not None}
    effect = f"{running.device}, {running.provider}, {running.precision}, {model.embedder.sampling.key}"
    return model.embedder, thresholds, effect


def _from_run(
    path: Path, backend: str, device: str, precision: str, sampling: SamplingPolicy | None
) -> tuple[Embedder, dict[Method, float], str]:
    """A run's embedder; it has no thresholds before it is exported."""
    if precision not in {"auto", "fp32"}:
        raise OptionError(f"--precision {precision}: a RUN is evaluated in fp32; export it for other precisions")
    if backend != "onnxruntime":
        raise OptionError(f"--backend {backend}: a RUN is evaluated with PyTorch; export it for other backends")
    try:
        from ..checkpoint import load_checkpoint
        from ..engine import pick_device
        from ..evaluate import checkpoint_embedder
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train", "evaluating a RUN") from error
    where = pick_device(device)
    embedder = checkpoint_embedder(load_checkpoint(path), device=where)
    if sampling is not None:
        embedder.sampling = dataclasses.replace(embedder.sampling, policy=sampling)
    return embedder, {}, f"{where}, PyTorch, fp32, {embedder.sampling.key}"


def _print(result: EvaluationResult, effect: str) -> None:
    click.echo(
        f"{result.split}: {result.num_videos} videos, {result.num_pairs} pairs, {result.num_same} of them the same"
    )
    for name, method in result.methods.items():
        kinds = "  ".join(f"{kind} {auc:.4f}" for kind, auc in method.auc_by_kind.items())
        click.echo(f"{name:>9}  AUC {method.auc:.4f}  equal error rate {method.eer:.4f}  {kinds}")
        if method.threshold is not None:
            click.echo(
                f"{'':>9}  at the threshold {method.threshold:.4f}: accuracy {method.accuracy:.4f}, "
                f"false same {method.false_same:.4f}, false different {method.false_different:.4f}"
            )
    if result.wdr is not None:
        click.echo(f"      WDR  {result.wdr:.4f}")
    for name, found in result.matching.items():
        low, high = found.intervals["accuracy"]
        best = "  ".join(f"top {k} {share:.4f}" for k, share in found.accuracy.items() if k > 1)
        click.echo(
            f" matching  {name}: accuracy {found.accuracy[1]:.4f} ({low:.4f} to {high:.4f}) on {found.questions} "
            f"scripts  {best}  AUC {found.auc:.4f}, within a question {found.question_auc:.4f}"
        )
    for note in result.notes:
        click.echo(f"note: {note}")
    click.echo(f"ran on: {effect}")


@click.command(name="weaksvr-evaluate")
@click.argument("run_or_bundle", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Dataset folder.")
@click.option("--split", type=click.Choice(["val", "test"]), default="test", show_default=True)
@running_options
@sampling_option
@json_option
@version_option
def command(
    run_or_bundle: Path,
    data: Path,
    split: Literal["val", "test"],
    backend: str,
    device: str,
    precision: str,
    sampling: SamplingPolicy | None,
    as_json: bool,
) -> int:
    """AUC (positive = same), accuracy and error rates at the threshold, WDR and matching accuracy of RUN_OR_BUNDLE."""
    from rich.console import Console
    from rich.progress import Progress

    from ...runtime.evaluate import evaluate
    from ...runtime.manifest import read_dataset

    is_bundle = (run_or_bundle / "manifest.json").is_file()
    dataset = read_dataset(data, require_train=False)
    embedder, thresholds, effect = (_from_bundle if is_bundle else _from_run)(
        run_or_bundle, backend, device, precision, sampling
    )
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("embedding videos", total=None)
        result = evaluate(
            embedder,
            dataset,
            split=split,
            thresholds=thresholds,
            matching=split == "test" and embedder.tokenizer is not None,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if as_json:
        print_json({**result.to_json(), "model": str(run_or_bundle), "ran_on": effect})
    else:
        _print(result, effect)
    return 0


def main() -> None:
    """Console script."""
    run(command)


if __name__ == "__main__":
    main()
