"""What the gate found: as values for the manifest, as Markdown and as a picture for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ..runtime.bundle import NewReport
from ..runtime.manifest import Pair
from ..runtime.spec import Method
from .gate import PrecisionReport
from .limits import DEFAULT_LIMITS
from .probes import shown
from .scatter import Panel, scatter

__all__ = ["GateReport", "gate_documents"]

_LISTED: Final = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateReport:
    """What the gate said about every variant of a bundle.

    Attributes:
        name: of the bundle.
        source: what the variants were compared with, in fp32.
        pairs_from: where the labelled pairs come from.
        asked: pairs that were asked for.
        labelled, same: pairs with a label, and those of them that show the same procedure.
        videos: that the pairs are made of.
        pairs: all that were compared, the labelled ones first.
        precisions: fp32 first.
    """

    name: str
    pairs_from: str
    asked: int
    labelled: int
    same: int
    videos: int
    pairs: Sequence[Pair]
    precisions: tuple[PrecisionReport, ...]
    source: str = "PyTorch"

    @property
    def default_method(self) -> Method:
        """The way to compare with the higher AUC in fp32; of equals the alignment, on which weights are chosen too."""
        verdicts = self.precisions[0].verdicts
        return max(("alignment", "vector"), key=lambda method: verdicts[method].auc if verdicts else 0.0)

    def to_json(self) -> dict[str, Any]:
        return {
            "gate": {
                "pairs": {
                    "asked": self.asked,
                    "compared": len(self.pairs),
                    "labelled": self.labelled,
                    "same": self.same,
                    "videos": self.videos,
                },
                "precisions": {report.name: report.to_json() for report in self.precisions},
            }
        }


def gate_documents(report: GateReport) -> list[NewReport]:
    """`gate.md`, and where there are pairs the picture that it shows."""
    panels = [
        Panel(
            title=f"{entry.name}, {method}",
            distances=distances,
            threshold=entry.verdicts[method].threshold,
            source_threshold=entry.verdicts[method].source_threshold,
            flipped=entry.verdicts[method].flipped,
        )
        for entry in report.precisions
        for method, distances in entry.distances.items()
    ]
    pictures = [NewReport(suffix="svg", data=scatter(panels, columns=2).encode())] if panels else []
    text = "\n".join(_lines(report, pictures)) + "\n"
    return [*pictures, NewReport(suffix="md", data=text.encode())]


def _lines(report: GateReport, pictures: Sequence[NewReport]) -> Iterator[str]:
    yield f"# The gate of {report.name}"
    yield ""
    yield f"Every variant was compared with {report.source} in fp32, on the very files of this bundle."
    yield ""
    yield from _about_pairs(report)
    if pictures:
        yield from _verdicts(report)
        source = report.source
        yield f"![distances by {source} and by the variants]({pictures[0].path})"
        yield ""
        yield f"Each point is a pair: its distance by {source} to the right, by the variant upwards; the lines are the"
        yield "two thresholds. A pair in the upper left or the lower right field has flipped."
        yield ""
        yield from _flipped(report)
    yield from _differences(report)
    yield from _where(report)
    yield from _limits(report)


def _about_pairs(report: GateReport) -> Iterator[str]:
    if not report.pairs:
        yield "There were no pairs of videos, so verdicts were not compared and no threshold was calibrated."
        yield ""
        return
    further = len(report.pairs) - report.labelled
    yield (
        f"{len(report.pairs):,} pairs of {report.videos:,} videos: {report.labelled:,} labelled ones "
        f"({report.pairs_from}; {report.same:,} are the same), on which the thresholds were calibrated and the AUC was "
        f"measured, and {further:,} others of the same videos, of which it is only asked whether their verdict flips."
    )
    if len(report.pairs) < report.asked:
        yield f"{report.asked:,} were asked for; these videos make no more."
    yield ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |"
    yield ""


def _verdicts(report: GateReport) -> Iterator[str]:
    yield "## Verdicts"
    yield ""
    source = f"{report.source}'s"
    head = ("precision", "method", "threshold", source, "AUC", source, "flips", "of all pairs at most")
    rows = [
        (
            entry.name,
            method,
            f"{found.threshold:.6g}",
            f"{found.source_threshold:.6g}",
            f"{found.auc:.6f}",
            f"{found.source_auc:.6f}",
            f"{found.flips} of {found.pairs}",
            f"{found.flips_bound:.3%}",
            f"{found.ties}, {found.tie_flips} flipped",
            f"{found.change:.2g}",
        )
        for entry in report.precisions
        for method, found in entry.verdicts.items()
    ]
    yield from _table((*head, "ties", "largest change of a distance"), rows)
    yield "Each variant is judged at its own calibrated threshold. The bound on flips holds with 95 % confidence. A"
    yield "tie is a pair whose distance is so near to its threshold (see the limits) that its verdict says nothing."
    yield ""


def _flipped(report: GateReport) -> Iterator[str]:
    for entry in report.precisions:
        for method, found in entry.verdicts.items():
            if not found.flipped:
                continue
            distances = entry.distances[method]
            yield f"Flipped in {entry.name} by {method}, the clearest first:"
            yield ""
            for row in found.flipped[:_LISTED]:
                pair = report.pairs[row]
                yield (
                    f"- {shown(pair.video_a)} and {shown(pair.video_b)}: {distances.source[row]:.6g} becomes "
                    f"{distances.variant[row]:.6g}"
                )
            if len(found.flipped) > _LISTED:
                yield f"- and {len(found.flipped) - _LISTED} more"
            yield ""


def _differences(report: GateReport) -> Iterator[str]:
    yield "## Outputs"
    yield ""
    rows = [
        (
            entry.name,
            difference.what,
            f"{difference.absolute:.2e}",
            f"{difference.relative:.2e}",
            f"{difference.cosine:.7f}",
            difference.where_cosine,
        )
        for entry in report.precisions
        for difference in (*entry.networks, *entry.videos)
    ]
    head = ("precision", "output", "largest difference", "as a share of its size", "smallest cosine", "which is at")
    yield from _table(head, rows)


def _where(report: GateReport) -> Iterator[str]:
    yield "## Size, time and place"
    yield ""
    rows = [
        (
            entry.name,
            f"{entry.num_bytes / 1e6:.1f} MB",
            f"{entry.milliseconds:.1f} ms" if entry.milliseconds else "",
            f"{entry.device} ({entry.provider}, {entry.optimization} rewrites)",
        )
        for entry in report.precisions
    ]
    yield from _table(("precision", "networks", "for a video, median", "ran on"), rows)
    if any((entry.precision, entry.device) == ("fp16", "cpu") for entry in report.precisions):
        yield "fp16 is for GPUs. Here it ran on a CPU, where ONNX Runtime computes such graphs in fp32: the networks"
        yield "were loaded and run, but the numbers come from copies that round every stored result to half precision."
        yield ""
    for entry in report.precisions:
        for note in entry.notes:
            yield f"- {entry.name}: {note}"
        if entry.notes:
            yield ""


def _limits(report: GateReport) -> Iterator[str]:
    yield "## Limits"
    yield ""
    names = [field.name for field in dataclasses.fields(report.precisions[0].limits)]
    rows = []
    for entry in report.precisions:
        usual = DEFAULT_LIMITS[entry.precision]
        values = [(getattr(entry.limits, name), getattr(usual, name)) for name in names]
        rows.append(
            (entry.name, *(f"{value:g}" if value == was else f"{value:g} (not {was:g})" for value, was in values))
        )
    yield from _table(("precision", *names), rows)
