"""What is noticed in a dataset's files: counted by kind and place, with examples, and whether it loses data."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Literal

__all__ = ["KINDS", "MAX_EXAMPLES", "Finding", "Findings", "Severity"]

Severity = Literal["problem", "note"]
"""A problem loses data or makes a result worthless; a note is worth knowing and nothing else."""

MAX_EXAMPLES = 5

KINDS: Mapping[str, tuple[Severity, str]] = types.MappingProxyType(
    {
        # lines of published files that are skipped
        "blank-line": ("note", "blank lines, skipped"),
        "macos-file": ("note", "rows that name a macOS file (._NAME), which is no video; skipped"),
        "field-count": ("note", "lines without the fields of a row, skipped"),
        "duplicate-row": ("note", "rows that stand twice, the second one skipped"),
        "bad-name": ("problem", "rows with a name that no video has, skipped"),
        "label-unknown": ("problem", "rows with a label that is not in the lists, skipped"),
        "label-differs": ("problem", "rows with another label than the folder or the split file says, skipped"),
        "two-labels": ("problem", "videos under two labels of one split, the second one skipped"),
        "video-not-in-split": ("problem", "rows with a video that the split file lacks, skipped"),
        "answer-unknown": ("problem", "questions whose videos do not give one answer, skipped"),
        # what published files lack or hold beside
        "file-absent": ("problem", "absent"),
        "file-optional-absent": ("note", "absent, which not every copy has"),
        "pairs-without-split": ("problem", "pairs of no use without the split file"),
        "list-differs": ("problem", "videos in only one of two lists of the same split"),
        "rows-fewer": ("problem", "rows fewer than in the published file"),
        "rows-more": ("note", "rows more than in the published file"),
        "no-text": ("problem", "videos whose label has no steps (COIN-SV: add --coin-json), left out"),
        "label-unused": ("note", "labels of the bank without a video here"),
        "question-repeated": ("note", "questions that stand before already; kept, as published results count them"),
        # COIN.json
        "coin-absent": ("note", "videos that COIN.json lacks"),
        "coin-task-differs": ("note", "videos whose recipe_type in COIN.json is not the task of their label"),
        "coin-part-unknown": ("problem", "uncut videos whose start and end are not known, left out"),
        "coin-bank-differs": ("note", "videos whose steps in COIN.json are not those of the label bank, which counts"),
        "coin-steps-vary": ("note", "rebuilt labels whose videos have different steps; each keeps its own"),
        # videos
        "video-absent": ("problem", "videos that are absent"),
        "video-ambiguous": ("problem", "names that two videos have (choose with --kind), left out"),
        "video-unreadable": ("problem", "videos that cannot be opened"),
        "video-short": ("problem", "videos with too few frames"),
        "part-outside": ("problem", "videos that are over before their part begins"),
        "pair-without-video": ("problem", "pairs left out with their videos"),
        "question-without-video": ("problem", "questions left out with their videos"),
        "pairs-derived": ("problem", "files of pairs with nothing to write; pairs are then derived from procedures"),
        # our own files
        "bad-line": ("problem", "lines that cannot be read"),
        "bad-file": ("problem", "files that cannot be read"),
        "video-twice": ("problem", "videos that stand twice"),
        "procedure-two-tasks": ("problem", "clips whose procedure stands under another task already"),
        "video-not-in-manifest": ("problem", "pairs with a video that the manifest beside them lacks"),
        "pair-twice": ("note", "pairs that stand twice"),
        "pair-of-itself": ("problem", "pairs of a video with itself"),
        "training-refused": ("problem", "reasons for which training would not start"),
        # both
        "split-empty": ("problem", "splits without a usable video"),
        "pairs-one-kind": ("problem", "files of pairs without both same and different ones, so without a result"),
        "video-in-two-splits": ("problem", "videos that another split has too"),
        "procedure-in-two-splits": ("note", "procedures that train has too"),
        "procedure-alone": ("note", "procedures with one video, so in no pair of the same"),
        "validation-made": ("note", "made from training videos when training starts"),
    }
)
"""Severity and wording of every kind of finding; the wording follows the count."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One kind of thing that was noticed in one place.

    Attributes:
        kind: one of `KINDS`.
        where: file or split.
        count: how often.
        examples: the first few, e.g. `line 8532` or a video's name.
    """

    kind: str
    where: str
    count: int
    examples: tuple[str, ...]

    @property
    def severity(self) -> Severity:
        return KINDS[self.kind][0]

    @property
    def text(self) -> str:
        """One line: place, count, what, examples."""
        shown = ", ".join(self.examples) + (", ..." if MAX_EXAMPLES == len(self.examples) < self.count else "")
        return f"{self.where}: {self.count} {KINDS[self.kind][1]}{f': {shown}' if self.examples else ''}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**dataclasses.asdict(self), "severity": self.severity, "examples": list(self.examples)}


class Findings:
    """Collects what is noticed, in the order in which each kind is first met in each place."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._examples: dict[tuple[str, str], list[str]] = {}

    def add(self, kind: str, where: str, example: str = "", *, count: int = 1) -> None:
        """Count `count` more of `kind` at `where`; the first `MAX_EXAMPLES` examples are kept."""
        if kind not in KINDS:
            raise KeyError(kind)
        key = (kind, where)
        self._counts[key] = self._counts.get(key, 0) + count
        examples = self._examples.setdefault(key, [])
        if example and len(examples) < MAX_EXAMPLES:
            examples.append(example)

    def count(self, kind: str) -> int:
        """How often a kind was met, everywhere."""
        return sum(count for (found, _), count in self._counts.items() if found == kind)

    def listed(self) -> tuple[Finding, ...]:
        """All findings, problems first."""
        found = [
            Finding(kind=kind, where=where, count=count, examples=tuple(self._examples[kind, where]))
            for (kind, where), count in self._counts.items()
        ]
        return tuple(sorted(found, key=lambda finding: finding.severity != "problem"))
