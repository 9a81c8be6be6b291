"""weaksvr-verify: do two videos show the same procedure?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import click

from .entry import one_line, print_json, run
from .options import (
    backend_option,
    bundle_option,
    cache_option,
    device_option,
    json_option,
    method_option,
    precision_option,
    sampling_option,
    version_option,
)

if TYPE_CHECKING:
    from ..verify import VerifyResult

__all__ = ["main", "verify"]


@click.command(name="weaksvr-verify", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("a")
@click.argument("b")
@bundle_option
@method_option
@click.option("--threshold", type=float, help="Largest distance of a same pair.  [default: the bundle's]")
@backend_option
@device_option
@precision_option
@sampling_option
@click.option(
    "--explain", is_flag=True, help="Tell where the videos differ: what is swapped, missing, repeated, replaced."
)
@click.option("--script", metavar="FILE", help="Steps, one a line, to name what differs; implies --explain.")
@cache_option
@json_option
@version_option
def verify(
    a: str,
    b: str,
    *,
    method: Any,
    threshold: float | None,
    explain: bool,
    script: str | None,
    as_json: bool,
    **model_options: Any,
) -> int:
    """Tell whether the videos A and B show the same procedure: the same steps, in the same order.

    A and B are video files or folders of numbered frames (1.jpg, 2.jpg, ...).

    Exit code: 0 if the procedures are the same, 1 if they differ, 2 on any trouble.
    """
    from ..script import read_script
    from ..verify import load

    steps = None if script is None else read_script(script)
    result = load(**model_options).verify(a, b, method=method, threshold=threshold, explain=explain, script=steps)
    if as_json:
        print_json(result.to_json())
    else:
        _print(result)
    return 0 if result.same else 1


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
    click.echo("SAME" if result.same else "DIFFERENT")
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
