"""`weaksvr-train`: a data folder in, a RUN folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from ...runtime.commands.entry import print_json, run
from ...runtime.commands.options import json_option, version_option
from ...runtime.errors import MissingExtraError, OptionError
from ..config import FineLoss, TrainConfig, override
from ..presets import PRESETS, describe, preset

__all__ = ["command", "main"]

_SHORT = tuple(name for name in PRESETS if "/" not in name)


def _list_presets(context: click.Context, _: click.Parameter, asked: bool) -> None:
    """Print every preset and what it is, and leave."""
    if asked and not context.resilient_parsing:
        for name in PRESETS:
            click.echo(f"{name:<32} {describe(name)}")
        context.exit()


def _settings(
    name: str,
    *,
    fine_loss: str | None,
    epochs: int | None,
    seed: int | None,
    select: str | None,
    sets: tuple[str, ...],
) -> TrainConfig:
    """The preset with what the command line changes, the options before `--set`."""
    changes = []
    if select is not None:
        changes.append(f"optim.select={select}")
    if fine_loss is not None:
        changes.append(f"loss.fine={fine_loss}")
    if epochs is not None:
        changes.append(f"optim.epochs={epochs}")
    if seed is not None:
        changes.append(f"optim.seed={seed}")
    return override(preset(name), [*changes, *sets])


@click.command(name="weaksvr-train")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder with train.jsonl.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="RUN folder to write.")
@click.option(
    "--preset",
    "preset_name",
    default="workbench",
    show_default=True,
    help=f"One of {', '.join(_SHORT)}, or the row of a table.",
)
@click.option(
    "--list-presets", is_flag=True, is_eager=True, expose_value=False, callback=_list_presets, help="Name them all."
)
@click.option("--fine-loss", type=click.Choice(get_args(FineLoss)), help="Pseudo labels of the fine loss.")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training videos.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of weights, order, frames and augmentation.")
@click.option(
    "--select",
    type=click.Choice(["val", "test"]),
    help="Whose pairs choose the epoch that is kept; test is the published habit, and optimistic.  [default: val]",
)
@click.option("--set", "sets", multiple=True, metavar="SECTION.KEY=VALUE", help="Any other setting; may be repeated.")
@click.option("--init", type=click.Path(path_type=Path), help="Start from the weights of another RUN.")
@click.option("--resume", is_flag=True, help="Go on where the run in --out stopped.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@json_option
@version_option
def command(
    data: Path,
    out: Path,
    preset_name: str,
    init: Path | None,
    resume: bool,
    device: str,
    as_json: bool,
    **settings: Any,
) -> int:
    """Train on videos with scripts (no timestamps) and write the best weights to OUT/checkpoint: those of the epoch
    with the highest AUC on validation, or with --select test on the test set.

    For several GPUs or processes: torchrun --nproc-per-node N -m weaksvr.train.commands.train --data ... --out ...
    """
    if init is not None and resume:
        raise OptionError("--init and --resume exclude one another: a resumed run has its weights already")
    config = _settings(preset_name, **settings)
    try:
        from ..distributed import rank, stop
        from ..engine import train
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train", "weaksvr-train") from error
    from rich.console import Console

    from ..progress import Reporter
    from ..selection import OPTIMISTIC, Selection

    reporter = Reporter(Console(stderr=True), tensorboard=out / "tensorboard", quiet_unless=lambda: rank() == 0)
    try:
        summary = train(data, out, config, resume=resume, init=init, device=device, reporter=reporter)
        first = rank() == 0
    finally:
        reporter.close()
        stop()
    if not first:
        return 0
    best, selection = summary.best, Selection.of(config.optim)
    document = {
        "schema": "weaksvr.train/1",
        "out": str(summary.out),
        "epochs": summary.epochs,
        "seconds": round(summary.seconds, 1),
        "device": summary.device,
        "precision": summary.precision,
        **selection.record,
        "best": dict(best),
    }
    if as_json:
        print_json(document)
        return 0
    click.echo(f"trained {summary.epochs} epochs in {summary.seconds:.0f} s on {summary.device} ({summary.precision})")
    value = best[selection.split]
    click.echo(
        f"best on {selection.place}: epoch {best['epoch']}, AUC alignment {value['auc_alignment']:.4f}, "
        f"vector {value['auc_vector']:.4f}"
    )
    if selection.split == "test":
        click.echo(OPTIMISTIC)
    click.echo(f"weights: {summary.out / 'checkpoint'}")
    return 0


def main() -> None:
    """Console script."""
    run(command)


if __name__ == "__main__":
    main()
