"""`weaksvr-evaluate`: what a run or a bundle is worth on a dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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
from ..selection import OPTIMISTIC, selected_on

if TYPE_CHECKING:
    from ...runtime.embedder import Embedder
    from ...runtime.evaluate import EvaluationResult
    from ...runtime.evaluate_matching import MatchingResult
    from ...runtime.spec import SamplingSpec

__all__ = ["command", "main"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Subject:
    """What is evaluated.

    Attributes:
        embedder: the model.
        thresholds: its own.
        effect: what it runs on.
        origin: the record of its checkpoint, or the training facts of its bundle.
    """

    embedder: Embedder
    thresholds: Mapping[Method, float]
    effect: str
    origin: Mapping[str, Any]


def _from_bundle(path: Path, backend: str, device: str, precision: str, sampling: SamplingPolicy | None) -> _Subject:
    """A bundle."""
    from ...runtime.spec import METHODS
    from ...runtime.verify import load

    model = load(path, backend=backend, device=device, precision=precision, sampling=sampling)  # type: ignore[arg-type]
    manifest, running = model.bundle.manifest, model.backend
    entries = {method: manifest.threshold(method, running.precision, model.embedder.sampling.key) for method in METHODS}
    thresholds = {method: entry.threshold for method, entry in entries.items() if entry is not None}
    effect = f"{running.device}, {running.provider}, {running.precision}, {model.embedder.sampling.key}"
    return _Subject(embedder=model.embedder, thresholds=thresholds, effect=effect, origin=manifest.training)


def _from_run(path: Path, backend: str, device: str, precision: str, sampling: SamplingPolicy | None) -> _Subject:
    """A run; it has no thresholds before it is exported."""
    if precision not in {"auto", "fp32"}:
        raise OptionError(f"--precision {precision}: a RUN is evaluated in fp32; export it for other precisions")
    if backend != "onnxruntime":
        raise OptionError(f"--backend {backend}: a RUN is evaluated with PyTorch; export it for other backends")
    try:
        from ..checkpoint import load_checkpoint
        from ..device import pick_device
        from ..evaluate import checkpoint_embedder
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train", "evaluating a RUN") from error
    where = pick_device(device)
    checkpoint = load_checkpoint(path)
    embedder = checkpoint_embedder(checkpoint, device=where)
    if sampling is not None:
        embedder.sampling = dataclasses.replace(embedder.sampling, policy=sampling)
    effect = f"{where}, PyTorch, fp32, {embedder.sampling.key}"
    return _Subject(embedder=embedder, thresholds={}, effect=effect, origin=checkpoint.record)


def _print(result: EvaluationResult, subject: _Subject) -> None:
    click.echo(
        f"{result.split}: {result.num_videos} videos, {result.num_pairs} pairs, {result.num_same} of them the same"
    )
    click.echo("AUC: positive = same, score = -distance; 1.0 is perfect, 0.5 chance")
    for name, method in result.methods.items():
        numbers = [("AUC", "auc", method.auc), ("equal error rate", "eer", method.eer), ("WDR", "wdr", method.wdr)]
        shown = "  ".join(
            f"{title} {value:.4f}{_interval(method.intervals.get(key))}"
            for title, key, value in numbers
            if value is not None
        )
        click.echo(f"{name:>9}  {shown}")
        if method.auc_by_kind:
            click.echo(f"{'':>9}  AUC  " + "  ".join(f"{kind} {auc:.4f}" for kind, auc in method.auc_by_kind.items()))
        if method.threshold is not None:
            click.echo(
                f"{'':>9}  at the threshold {method.threshold:.4f}: accuracy {method.accuracy:.4f}, "
                f"false same {method.false_same:.4f}, false different {method.false_different:.4f}"
            )
    if result.wdr is not None:
        click.echo(f"WDR: distances that tell nothing give {result.wdr_chance:.4f} on these pairs")
    click.echo(f"in brackets: 95 % intervals, bootstrap of {_drawn(result)}")
    for name, found in result.matching.items():
        _print_matching(name, found)
    for note in result.notes:
        click.echo(f"note: {note}")
    click.echo(f"sampling: {subject.embedder.sampling.key}, {_protocol(subject.embedder.sampling)}")
    if selected_on(subject.origin) == "test":
        click.echo(OPTIMISTIC)
    if "imported" in subject.origin:
        click.echo("imported: what chose its epoch is not known; the published program chooses on the test set")
    click.echo(f"ran on: {subject.effect}")


def _print_matching(name: str, found: MatchingResult) -> None:
    best = "".join(f"  top {k} {share:.4f}" for k, share in found.accuracy.items() if k > 1)
    accuracy, auc, question_auc = (_interval(found.intervals.get(key)) for key in ("accuracy", "auc", "question_auc"))
    click.echo(
        f" matching  {name}: accuracy {found.accuracy[1]:.4f}{accuracy} on {found.questions} scripts, "
        f"chance {found.chance:.4f}{best}"
    )
    click.echo(f"{'':>9}  AUC {found.auc:.4f}{auc}  within a question {found.question_auc:.4f}{question_auc}")
    published = "not defined for these" if found.published_auc is None else f"{found.published_auc:.4f}"
    click.echo(f"{'':>9}  published AUC, of the chosen index: {published}; 0.0 is perfect, 0.5 chance")
    unit = f"the {found.groups} groups that share no video" if found.unit == "groups" else "scripts alone, too narrow"
    click.echo(f"{'':>9}  intervals: of {unit}")


def _interval(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f" ({bounds[0]:.4f} to {bounds[1]:.4f})"


def _protocol(spec: SamplingSpec) -> str:
    if spec.policy == "three-view":
        return f"three views of {spec.num_frames} frames, the published test protocol"
    return f"{spec.num_frames} frames, not the published test protocol, which is three-view"


def _drawn(result: EvaluationResult) -> str:
    if result.unit == "groups":
        return f"the {result.groups} groups of linked videos"
    return f"videos (too few groups of linked ones to draw: {result.groups})"


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
    """AUC (positive = same), equal error rate and WDR with intervals, accuracy and error rates at the threshold, and
    matching accuracy of RUN_OR_BUNDLE.
    """
    from rich.console import Console
    from rich.progress import Progress

    from ...runtime.evaluate import evaluate
    from ...runtime.manifest import read_dataset

    is_bundle = (run_or_bundle / "manifest.json").is_file()
    dataset = read_dataset(data, require_train=False)
    subject = (_from_bundle if is_bundle else _from_run)(run_or_bundle, backend, device, precision, sampling)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("embedding videos", total=None)
        result = evaluate(
            subject.embedder,
            dataset,
            split=split,
            thresholds=subject.thresholds,
            matching=split == "test" and subject.embedder.tokenizer is not None,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if as_json:
        facts = {"sampling": subject.embedder.sampling.key, "selected_on": selected_on(subject.origin)}
        print_json({**result.to_json(), "model": str(run_or_bundle), **facts, "ran_on": subject.effect})
    else:
        _print(result, subject)
    return 0


def main() -> None:
    """Console script."""
    run(command)


if __name__ == "__main__":
    main()
