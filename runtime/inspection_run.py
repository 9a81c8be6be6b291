"""A run over many recordings: results in order, on disk as they come, and what they come to."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Final

from .corpus import CorpusProgress
from .decision import EXIT_CODES, Verdict
from .embedding_store import signature_of
from .embedding_table import Signature
from .errors import OptionError
from .inspection import Inspection, References, inspect
from .inspection_table import InspectionTable
from .spec import Method
from .video_part import VideoPart

__all__ = ["InspectionResult", "run_inspection"]

SCHEMA: Final = "weaksvr.verify-many/1"
TROUBLE: Final = 2


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class InspectionResult:
    """What a run has found.

    Attributes:
        references: paths of the approved videos, with the part that counts.
        recordings: one result each, in the order in which they were asked for.
        reused: how many of them an earlier run found.
        out: the file that was written, None if none was.
        method, threshold: how they were compared.
        device, provider, precision, sampling, bundle: as in `VerifyResult`.
        notes: what a user should know about the references and the run.
    """

    references: tuple[str, ...]
    recordings: tuple[Inspection, ...]
    reused: int
    out: str | None
    method: Method
    threshold: float
    device: str
    provider: str
    precision: str
    sampling: str
    bundle: str
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many recordings are `same`, `different`, `undecided` and `failed`."""
        counts = dict.fromkeys([*EXIT_CODES, "failed"], 0)
        for found in self.recordings:
            counts[found.verdict or "failed"] += 1
        return counts

    @property
    def exit_code(self) -> int:
        """2 if a recording failed, else 1 if one differs, else 3 if one is undecided, else 0."""
        counts = self.counts
        if counts["failed"]:
            return TROUBLE
        order: tuple[Verdict, ...] = ("different", "undecided", "same")
        return EXIT_CODES[next((verdict for verdict in order if counts[verdict]), "same")]

    def to_dict(self) -> dict[str, Any]:
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain = {
            "references": list(self.references),
            "recordings": [found.to_dict() for found in self.recordings],
            "notes": list(self.notes),
        }
        return {"schema": SCHEMA, **data, **self.counts, **plain}


def run_inspection(
    references: References,
    recordings: Sequence[VideoPart],
    *,
    out: str | os.PathLike[str] | None = None,
    workers: int = 1,
    fresh: bool = False,
    report: Callable[[CorpusProgress], None] | None = None,
) -> InspectionResult:
    """Compare recordings with the references, into a CSV file if one is named.

    A run that was stopped goes on with what is on disk, and a finished file is taken over where the recordings are the
    same, see `inspection_table`. Recordings that failed are tried again.

    Args:
        references: see `References.embed`.
        recordings: each once.
        out: the file.
        workers: recordings that are worked on at a time, see `pipeline.plan_threads`.
        fresh: compare everything anew.
        report: called at the start and after each recording.

    Raises:
        OptionError: if there are no recordings, or `workers` is not at least 1.
        BundleError: if a network cannot be loaded or run.
        DeviceError: if the GPU fails.
        OutputError: if `out` cannot be written, or comes from a run with other references or another model.
    """
    if not recordings:
        raise OptionError("there are no recordings to compare")
    found: dict[VideoPart, Inspection] = {}
    with contextlib.ExitStack() as stack:
        table = None
        if out is not None:
            table = stack.enter_context(InspectionTable(Path(out), run=references.digest(), fresh=fresh))
            found = {part: row for part in recordings if (row := table.reuse(part)) is not None}
        reused = len(found)
        todo = [part for part in recordings if part not in found]
        progress = CorpusProgress(total=len(recordings), reused=reused, notes=references.notes)
        if report is not None:
            report(progress)
        results = stack.enter_context(contextlib.closing(_signed(references, todo, workers=workers)))
        for part, result, signature in results:
            found[part] = result
            if table is not None:
                table.add(part, result, signature)
            progress = dataclasses.replace(
                progress,
                embedded=progress.embedded + (not result.error),
                failed=progress.failed + bool(result.error),
                failure=result.error,
                notes=(),
            )
            if report is not None:
                report(progress)
        if table is not None:
            table.finish(recordings)
    model, judge = references.model, references.judge
    return InspectionResult(
        references=tuple(str(part) for part in references.parts),
        recordings=tuple(found[part] for part in recordings),
        reused=reused,
        out=None if out is None else os.fsdecode(out),
        method=judge.method,
        threshold=judge.threshold,
        device=model.backend.device,
        provider=model.backend.provider,
        precision=model.backend.precision,
        sampling=model.embedder.sampling.key,
        bundle=model.bundle.manifest.name,
        notes=references.notes,
    )


def _signed(
    references: References, recordings: Sequence[VideoPart], *, workers: int
) -> Generator[tuple[VideoPart, Inspection, Signature | None]]:
    """The results with the recordings' signatures, taken before they are read: a later change makes them differ."""
    signatures: dict[VideoPart, Signature | None] = {}

    def signed() -> Generator[VideoPart]:
        for part in recordings:
            signatures[part] = signature_of(Path(part.path))
            yield part

    if not recordings:
        return  # the networks need not run
    with contextlib.closing(inspect(references, signed(), workers=workers)) as results:
        for part, result in zip(recordings, results, strict=True):
            yield part, result, signatures.pop(part)
