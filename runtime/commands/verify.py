"""weaksvr-verify: do two videos show the same procedure?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import click

from .entry import command_line, one_line, print_json, run
from .options import (
    cache_option,
    json_option,
    method_option,
    model_options,
    report_option,
    threads_option,
    version_option,
)

if TYPE_CHECKING:
    from ..verify import VerifyResult

__all__ = ["main", "verify"]


@click.command(name="weaksvr-verify", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("videos", nargs=-1, metavar="[A B | VIDEO...]")
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="R",
    help="A video of the approved procedure; of several the nearest one decides. VIDEOs are compared with them.",
)
@click.option(
    "--list",
    "lists",
    multiple=True,
    metavar="FILE",
    help="Also compare what FILE lists: .txt or - for stdin (one a line), .csv or .jsonl (video, start, end).",
)
@click.option("--out", metavar="FILE", help="Write a CSV file, one row a recording; a run that was stopped goes on.")
@click.option("--fresh", is_flag=True, help="Compare everything anew; reuse nothing of earlier runs in --out.")
@click.option("--start", type=float, metavar="SECONDS", help="Look at B, or every VIDEO, from there on.")
@click.option("--end", type=float, metavar="SECONDS", help="Look at B, or every VIDEO, up to there.")
@click.option("--reference-start", type=float, metavar="SECONDS", help="Look at A, or every R, from there on.")
@click.option("--reference-end", type=float, metavar="SECONDS", help="Look at A, or every R, up to there.")
@threads_option
@method_option
@click.option("--threshold", type=float, help="Largest distance of a same pair.  [default: the bundle's]")
@model_options
@click.option(
    "--explain", is_flag=True, help="Tell where the videos differ: what is swapped, missing, repeated, replaced."
)
@click.option("--script", metavar="FILE", help="Steps, one a line, to name what differs; implies --explain.")
@report_option
@cache_option
@json_option
@version_option
def verify(
    videos: tuple[str, ...],
    *,
    references: tuple[str, ...],
    lists: tuple[str, ...],
    method: Any,
    threshold: float | None,
    report: str | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Tell whether the videos A and B show the same procedure: the same steps, in the same order.

    A and B are video files or folders of numbered frames (1.jpg, 2.jpg, ...).

    With --reference, many recordings are compared with one approved procedure. A VIDEO is then a file, a folder, a
    pattern, or - for a list on stdin. One that cannot be compared is a result with its error; the rest goes on.

    Exit code: 0 if the procedures are the same, 1 if they differ, 3 if it is undecided (only with bundles that were
    calibrated to abstain), 2 on any trouble. Of many recordings: 2 if one could not be compared, else 1 if one
    differs, else 3 if one is undecided, else 0.
    """
    part_a = (options.pop("reference_start"), options.pop("reference_end"))
    part_b = (options.pop("start"), options.pop("end"))
    out, fresh = options.pop("out"), options.pop("fresh")
    explain, script = options.pop("explain"), options.pop("script")
    if references:
        if explain or script is not None or report is not None:
            raise click.UsageError("--explain, --script and --report are for two videos, A and B, without --reference.")
        if not (videos or lists):
            raise click.UsageError("give the videos to compare with the references, or --list FILE.")
        from ..recordings import read_recordings
        from ..video_part import VideoPart
        from .verify_list import print_list, verify_list

        approved = [VideoPart(path=path, start=part_a[0], end=part_a[1]) for path in references]
        recordings = read_recordings(videos, lists, start=part_b[0], end=part_b[1])
        found = verify_list(approved, recordings, out=out, fresh=fresh, method=method, threshold=threshold, **options)
        if as_json:
            print_json(found.to_dict())
        else:
            print_list(found)
        return found.exit_code
    if lists or out is not None or fresh:
        raise click.UsageError("--list, --out and --fresh need --reference R, the video of the approved procedure.")
    if len(videos) != 2:
        raise click.UsageError("give two videos, A and B, or --reference R and the videos to compare with it.")
    from ..decision import EXIT_CODES

    parts = {"part_a": part_a, "part_b": part_b}
    compare = {**parts, "method": method, "threshold": threshold, "explain": explain or report is not None}
    result = _verify_two(videos, compare=compare, script=script, report=report, **options)
    if as_json:
        print_json(result.to_json())
    else:
        _print(result)
        if report is not None:
            click.echo(f"  {'report':<10} {one_line(report)}")
    return EXIT_CODES[result.verdict]


def _verify_two(
    videos: tuple[str, ...], *, compare: dict[str, Any], script: str | None, report: str | None, **options: Any
) -> VerifyResult:
    """The result on A and B, and the report on it if one is asked for."""
    from ..script import read_script
    from ..verify import load

    if report is not None:
        from ..report import check_report_path, write_report
        from ..video_part import VideoPart

        check_report_path(report, inputs=(*videos, script or ""))
    steps = None if script is None else read_script(script)
    model = load(**options)
    result = model.verify(*videos, script=steps, **compare)
    if report is not None:
        bounds = zip(videos, (compare["part_a"], compare["part_b"]), strict=True)
        compared = [VideoPart(path=path, start=start, end=end) for path, (start, end) in bounds]
        write_report(result, report, model=model, videos=compared, command=command_line())
    return result


def _print(result: VerifyResult) -> None:
    runs_on = f"{result.device} ({result.provider}), {result.precision}"
    rows = {
        "distance": f"{result.distance:.4f}",
        "threshold": f"{result.threshold:.4f}",
        "margin": f"{result.margin:+.4f}",
        **({} if result.probability is None else {"p(same)": f"{result.probability:.3f}"}),
        "method": result.method,
        "sampling": result.sampling,
        "device": runs_on,
        "bundle": one_line(result.bundle),
    }
    click.echo(result.verdict.upper())
    for name, text in rows.items():
        click.echo(f"  {name:<10} {text}")
    for note in result.notes:
        click.echo(f"  {'note':<10} {one_line(note)}")
    if result.explanation is not None:
        click.echo(f"  {'explained':<10} {one_line(result.explanation.summary)}")
        for difference in result.explanation.differences:
            click.echo(f"    {difference.kind:<8} {one_line(difference.text)}")


def main() -> NoReturn:
    """Entry point of the console script."""
    run(verify)


if __name__ == "__main__":
    main()
