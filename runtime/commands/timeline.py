"""weaksvr-timeline: when does a video show each step of a script, and does it follow the script?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import click

from .entry import command_line, one_line, print_json, run
from .options import (
    bundle_option,
    json_option,
    report_option,
    running_options,
    version_option,
)

if TYPE_CHECKING:
    from ..timeline import FoundStep, Timeline

__all__ = ["main", "timeline"]

BAR = 10  # characters of a full bar
MIN_TEXT, MAX_TEXT = 4, 48


@click.command(name="weaksvr-timeline", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("script")
@click.argument("video")
@click.option("--start", type=float, metavar="SECONDS", help="Look at the video from here on.  [default: its start]")
@click.option("--end", type=float, metavar="SECONDS", help="Look at the video up to here.  [default: its end]")
@click.option(
    "--whole",
    type=float,
    metavar="SECONDS",
    help="Up to this length the network sees the video as a whole: that of the longest videos of training.  "
    "[default: 20]",
)
@click.option(
    "--window",
    type=float,
    metavar="SECONDS",
    help="How much of a longer video the network sees at a time.  [default: 7.5]",
)
@click.option(
    "--max-unexplained",
    type=float,
    metavar="SECONDS",
    help="Fail a video that shows no step of the script for longer than this.  [default: any time is allowed]",
)
@bundle_option
@running_options
@report_option
@json_option
@version_option
def timeline(
    script: str,
    video: str,
    *,
    start: float | None,
    end: float | None,
    report: str | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Find the steps of SCRIPT in VIDEO: from when to when each is shown, and whether the script is followed.

    SCRIPT is a text file, one step a line; a line may end in the time that the step may take: `tighten the bolt |
    min 2s | max 30s`. VIDEO is a video file or a folder of numbered frames (1.jpg, 2.jpg, ...).

    Exit code: 0 if every step was found, once, in order, and in its time (PASS); 1 if not (FAIL); 2 on any trouble.
    """
    from ..report import check_report_path, write_report
    from ..script import read_script
    from ..step_finding import TimelineSettings
    from ..verify import load

    given = {f"{name}_seconds": options.pop(name) for name in ("whole", "window", "max_unexplained")}
    settings = TimelineSettings(**{name: value for name, value in given.items() if value is not None})
    if report is not None:
        check_report_path(report, inputs=(script, video))
    steps = read_script(script)  # if it cannot be read, that is said before anything else takes time
    model = load(**options)
    result = model.timeline(steps, video, start=start, end=end, settings=settings)
    if report is not None:
        write_report(result, report, model=model, command=command_line())
    if as_json:
        print_json(result.to_dict())
    else:
        _print(result)
        if report is not None:
            click.echo(f"  report       {one_line(report)}")
    return 0 if result.passed else 1


def _print(result: Timeline) -> None:
    from ..clock import clock, clock_span

    click.echo(result.verdict)
    for reason in result.reasons:
        click.echo(f"  {one_line(reason)}")
    click.echo()
    width = min(MAX_TEXT, max(MIN_TEXT, *(len(one_line(step.text)) for step in result.steps)))
    click.echo(f"  {'#':>3}  {'step':<{width}}  {'from':>9}  {'to':>9}  {'confidence':<{BAR + 7}}  status")
    for number, step in enumerate(result.steps, start=1):
        click.echo(f"  {number:>3}  {_row(step, width)}")
    for again in result.repeats:
        bar = _bar(again.confidence)
        times = f"{clock(again.start, tenths=True):>9}  {clock(again.end, tenths=True):>9}"
        click.echo(f"  {again.step + 1:>3}  {_cut(again.text, width)}  {times}  {bar}  again")
    click.echo()
    if result.unexplained:
        click.echo(f"  no step at   {', '.join(clock_span(part.start, part.end) for part in result.unexplained)}")
    seen = f"{len(result.times_seconds)} frames, one every {result.interval_seconds:.2g} s, {_windows(result)}"
    click.echo(f"  looked at    {clock_span(result.start, result.end)}: {seen}")
    click.echo(f"  device       {result.device} ({result.provider}), {result.precision}")
    click.echo(f"  bundle       {one_line(result.bundle)}")
    for note in result.notes:
        click.echo(f"  note         {one_line(note)}")


def _windows(result: Timeline) -> str:
    first = result.windows[0]
    if len(result.windows) == 1:
        return "in one window"
    return f"in {len(result.windows)} windows of {first.end - first.start:.1f} s that overlap by half"


def _row(step: FoundStep, width: int) -> str:
    from ..clock import clock

    times = [" " * 8 + "-" if value is None else f"{clock(value, tenths=True):>9}" for value in (step.start, step.end)]
    return f"{_cut(step.text, width)}  {'  '.join(times)}  {_bar(step.confidence)}  {step.status}"


def _cut(text: str, width: int) -> str:
    shown = one_line(text)
    return f"{shown if len(shown) <= width else shown[: width - 3] + '...':<{width}}"


def _bar(confidence: float) -> str:
    full = round(confidence * BAR)
    return f"[{'#' * full}{'.' * (BAR - full)}] {confidence:.2f}"


def main() -> NoReturn:
    """Entry point of the console script."""
    run(timeline)


if __name__ == "__main__":
    main()
