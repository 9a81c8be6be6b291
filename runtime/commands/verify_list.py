"""weaksvr-verify with references: one approved procedure against many recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .entry import one_line
from .progress import Reporter

if TYPE_CHECKING:
    from ..inspection_run import InspectionResult
    from ..video_part import VideoPart

__all__ = ["print_list", "verify_list"]


def verify_list(
    references: list[VideoPart],
    recordings: list[VideoPart],
    *,
    method: Any,
    threshold: float | None,
    out: str | None,
    fresh: bool,
    cache: bool,
    **options: Any,
) -> InspectionResult:
    """Compare the recordings with the references, with what goes on said on stderr."""
    from ..inspection import References
    from ..inspection_run import run_inspection
    from ..pipeline import plan_threads
    from ..verify import load

    plan = plan_threads(len(recordings), total=options.pop("num_threads"))
    model = load(**options, num_threads=plan.num_threads, cache=cache and not fresh)
    approved = References.embed(model, references, method=method, threshold=threshold)
    with Reporter(done="compared") as reporter:
        return run_inspection(approved, recordings, out=out, workers=plan.workers, fresh=fresh, report=reporter.update)


def print_list(result: InspectionResult) -> None:
    """Print what was found: without a file, every recording."""
    from ..video_part import VideoPart

    if result.out is None:
        for found in result.recordings:
            if found.verdict is None:
                click.echo(f"FAILED             {one_line(found.error)}")
                continue
            nearest = f"  (nearest: {found.reference})" if len(result.references) > 1 else ""
            part = VideoPart(path=found.recording, start=found.start, end=found.end)
            click.echo(f"{found.verdict.upper():<10} {found.distance:.4f}  {one_line(str(part) + nearest)}")
            for note in found.notes:
                click.echo(f"  {'note':<10} {one_line(note)}")
    counts = ", ".join(f"{number} {name}" for name, number in result.counts.items() if number)
    reused = f"; {result.reused} of them compared before" if result.reused else ""
    where = "" if result.out is None else f"{one_line(result.out)}: "
    click.echo(f"{where}{len(result.recordings)} recordings: {counts}{reused}")
    rows = {
        "references": ", ".join(result.references),
        "threshold": f"{result.threshold:.4f}",
        "method": result.method,
        "sampling": result.sampling,
        "device": f"{result.device} ({result.provider}), {result.precision}",
        "bundle": result.bundle,
    }
    for name, text in rows.items():
        click.echo(f"  {name:<10} {one_line(text)}")
