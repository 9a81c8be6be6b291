"""weaksvr-calibrate: from which distance on do two videos differ?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .entry import one_line, print_json, run
from .options import (
    json_option,
    running_options,
    sampling_option,
    version_option,
)

if TYPE_CHECKING:
    from ..calibrate import CalibrationResult
    from ..thresholds import Threshold

__all__ = ["calibrate", "main"]

_NAMES = {
    "threshold": "threshold",
    "auc": "AUC",
    "eer": "equal error rate",
    "false_accept": "false accept",
    "false_refuse": "false refuse",
}


@click.command(name="weaksvr-calibrate", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--pairs",
    type=click.Path(path_type=Path),
    required=True,
    help="CSV file with the header video_a,video_b,same (1: same, 0: different); paths are relative to it.",
)
@click.option(
    "--at",
    metavar="equal-error|false-accept=RATE|accuracy",
    default="equal-error",
    show_default=True,
    help="Where the threshold shall lie: where both kinds of error are as frequent; where at most RATE of the "
    "different pairs pass as the same; or where most verdicts are right.",
)
@click.option(
    "--method", type=click.Choice(["vector", "alignment"]), help="Calibrate one way to compare.  [default: both]"
)
@click.option(
    "--abstain",
    is_flag=True,
    help="Leave verdicts open (UNDECIDED) within the threshold's interval, and on videos unlike those of the pairs.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write a calibrated copy of BUNDLE there.  [default: BUNDLE]"
)
@sampling_option
@running_options
@json_option
@version_option
def calibrate(
    bundle: Path,
    *,
    pairs: Path,
    at: str,
    method: Any,
    abstain: bool,
    out: Path | None,
    as_json: bool,
    **model_options: Any,
) -> int:
    """Find the threshold of BUNDLE on pairs of videos whose answer is known, and write it into BUNDLE.

    A threshold is valid for one way to compare, one precision and one sampling: those that are in effect here. The
    bundle also gets the probability that belongs to a distance, and a picture of what was found.

    Exit code: 0 if the threshold was written, with or without notes; 2 on any trouble.
    """
    from rich.console import Console
    from rich.progress import Progress

    from .. import calibrate as subject
    from ..bundle_update import refuse_read_only
    from ..operating_point import OperatingPoint
    from ..spec import METHODS
    from ..verify import load

    point = OperatingPoint.parse(at)
    model = load(bundle, **model_options)
    refuse_read_only(bundle if out is None else out)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("embedding videos", total=None)
        result = subject.calibrate(
            model,
            pairs,
            at=point,
            methods=METHODS if method is None else (method,),
            abstain=abstain,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    written = subject.write_calibration(result, model.bundle, out=out)
    found = [
        entry for entry in written.manifest.thresholds if entry.key in {wanted.key for wanted in result.thresholds}
    ]
    if as_json:
        thresholds = [entry.to_json() for entry in found]  # as they stand in the bundle, with the name of the picture
        print_json({**result.to_json(), "thresholds": thresholds, "written": str(written.path)})
    else:
        _print(result, found, written.path)
    return 0


def _print(result: CalibrationResult, found: Sequence[Threshold], written: Path) -> None:
    videos = {video for pair in result.pairs for video in (pair.video_a, pair.video_b)}
    click.echo(f"{len(result.pairs)} pairs of {len(videos)} videos, {int(result.same.sum())} of them the same")
    _row("sampling", found[0].sampling)
    _row("device", f"{result.device} ({result.provider}), {found[0].precision}")
    for entry in found:
        click.echo(f"{entry.method}: {entry.calibrated.rule}")
        for name, text in _rows(entry):
            _row(name, text)
    for note in result.notes:
        click.echo(f"note: {one_line(note)}")
    click.echo(f"written to {one_line(str(written))}")


def _rows(entry: Threshold) -> Iterator[tuple[str, str]]:
    calibrated, evidence, probability = entry.calibrated, entry.calibrated.evidence, entry.probability
    if evidence is None:
        return
    values = {
        "threshold": entry.threshold,
        "auc": calibrated.auc,
        "eer": calibrated.eer,
        "false_accept": evidence.false_accept,
        "false_refuse": evidence.false_refuse,
    }
    bounds = {"false_accept": evidence.false_accept_bound, "false_refuse": evidence.false_refuse_bound}
    for key, value in values.items():
        low, high = evidence.intervals[key]
        bound = f", with 95 % confidence at most {bounds[key]:.4f}" if key in bounds else ""
        yield _NAMES[key], f"{value:.4f}  (95 %: {low:.4f} to {high:.4f}{bound})"
    if probability is not None:
        yield (
            "probability",
            f"{probability.at(entry.threshold):.2f} at the threshold, {probability.at(0):.2f} at distance 0",
        )
    if entry.abstention is not None:
        open_from, open_to = entry.abstention.low, entry.abstention.high
        yield (
            "undecided",
            f"from {open_from:.4f} to {open_to:.4f}, and videos stranger than {entry.abstention.familiarity.limit:.2f}",
        )
    yield "picture", evidence.picture


def _row(name: str, text: str) -> None:
    click.echo(f"  {name:<16} {text}")


def main() -> NoReturn:
    """Entry point of the console script."""
    run(calibrate)


if __name__ == "__main__":
    main()
