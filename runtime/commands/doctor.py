"""weaksvr-doctor: would it run here, and if not, what mends it?"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .entry import TROUBLE, one_line, print_json, run
from .options import (
    json_option,
    running_options,
    version_option,
)

if TYPE_CHECKING:
    from ..doctor.findings import Report

__all__ = ["doctor", "main"]


@click.command(name="weaksvr-doctor", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("bundle", required=False)
@running_options
@json_option
@version_option
def doctor(bundle: str | None, *, as_json: bool, **wanted: Any) -> int:
    """Tell what is installed, what BUNDLE offers (the one that comes along, if none is given), what would run, and for
    everything that is wrong the cause and one command that mends it.

    A problem makes a command fail that is installed here. A warning makes one do less than it could, for example leave
    a GPU unused. Libraries are tried in processes of their own, on a black frame.

    Exit code: 0 if there is no problem, with or without warnings; 2 if there is one, or on any trouble.
    """
    from ..doctor.examine import examine

    report = examine(bundle, **wanted)
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
    return 0 if report.ready else TROUBLE


def _print(report: Report) -> None:
    click.echo("READY" if report.ready else "NOT READY")
    click.echo(f"  weaksvr {report.version}, Python {report.python}, {report.platform}")
    click.echo(f"  bundle {one_line(report.bundle)}")
    for topic, findings in groupby(report.findings, key=lambda finding: finding.topic):
        click.echo(topic)
        for finding in findings:
            _print_row(finding.state, finding.name, finding.what)
            if finding.state != "ok":
                _print_row("", "why", finding.why)
                _print_row("", "remedy", finding.remedy)


def _print_row(state: str, name: str, text: str) -> None:
    click.echo(f"  {state:<8} {name:<15} {one_line(text)}")


def main() -> NoReturn:
    """Entry point of the console script."""
    run(doctor)


if __name__ == "__main__":
    main()
