"""What a dataset holds, what it lacks and what would be lost, before an hour of training is."""

from __future__ import annotations

import collections
import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ...runtime.errors import DataError, TooFewFramesError, VideoError
from ...runtime.sampling import segments, three_view_indices
from ...runtime.video import open_video
from .collection import SPLITS, Collection, Item, NamedPair, Split
from .findings import Finding, Findings
from .formats import PublishedSource, read_source
from .own_files import read_own_files
from .splits import load_training_data

__all__ = ["SCHEMA", "DataReport", "Extent", "SplitSummary", "check_data"]

_Entry = TypeVar("_Entry")
SCHEMA = "weaksvr.check-data/1"
_KINDS_THAT_STOP_READING = ("bad-line", "bad-file", "video-twice", "procedure-two-tasks", "video-not-in-manifest")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """Smallest, median and largest of some numbers."""

    least: float
    median: float
    most: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SplitSummary:
    """What one split holds.

    Attributes:
        videos: that are listed; `with_steps` of them have steps, `present` are there (None: not looked for).
        tasks, procedures: distinct ones.
        steps: steps a procedure, or a video where no procedure is named; None without any.
        videos_per_procedure: None where no procedure is named.
        opened: videos that were opened; `seconds` is the length of their part that counts, None without any.
        pairs: that are given; `same` of them are the same, `videos_in_pairs` distinct videos stand in them.
    """

    videos: int
    with_steps: int
    present: int | None
    tasks: int
    procedures: int
    steps: Extent | None
    videos_per_procedure: Extent | None
    opened: int
    seconds: Extent | None
    pairs: int
    same: int
    videos_in_pairs: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DataReport:
    """What was found.

    Attributes:
        name: the format; `weaksvr` is our own.
        source: the folder.
        files: that were read.
        splits: what each split holds; one that only has pairs counts no videos.
        questions: matching questions.
        findings: problems first.
    """

    name: str
    source: Path
    files: tuple[str, ...]
    splits: Mapping[Split, SplitSummary]
    questions: int
    findings: tuple[Finding, ...]

    @property
    def loses_data(self) -> bool:
        """Whether there is a problem."""
        return any(finding.severity == "problem" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "schema": SCHEMA,
            "format": self.name,
            "source": str(self.source),
            "files": list(self.files),
            "loses_data": self.loses_data,
            "splits": {split: dataclasses.asdict(summary) for split, summary in self.splits.items()},
            "questions": self.questions,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def check_data(
    source: Path | PublishedSource,
    *,
    num_opened: int | None = 20,
    num_frames: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> DataReport:
    """Look at a dataset folder of ours, or at published files. Nothing is written.

    Args:
        source: what to look at.
        num_opened: videos a split that are opened, evenly spread; None is all of them.
        num_frames: T, frames a clip, for which a video must be long enough.
        progress: called with (videos opened, videos to open).

    Raises:
        DataError: if there is nothing to look at.
    """
    findings = Findings()
    if isinstance(source, PublishedSource):
        collection = read_source(source, findings)
        looked = source.videos is not None
    else:
        collection = read_own_files(source, findings)
        looked = True
        _note_absent(collection, findings)
        _note_training(collection, findings)
    _note_overlaps(collection, findings)
    for split, pairs in collection.pairs.items():
        if split != "train" and len({pair.same for pair in pairs}) == 1:
            findings.add("pairs-one-kind", f"{split} pairs")
    chosen = {
        split: _spread([(item, item.video) for item in items if item.video and item.video.exists()], num_opened)
        for split, items in collection.splits.items()
    }
    seconds = _open_all(chosen, num_frames, findings, progress)
    return DataReport(
        name=collection.name,
        source=collection.source,
        files=collection.files,
        splits={
            split: _summary(
                collection.splits.get(split, ()), collection.pairs.get(split, ()), seconds.get(split, ()), looked=looked
            )
            for split in SPLITS
            if split in collection.splits or split in collection.pairs
        },
        questions=len(collection.questions),
        findings=findings.listed(),
    )


def _note_absent(collection: Collection, findings: Findings) -> None:
    for split, items in collection.splits.items():
        for item in items:
            if item.video is not None and not item.video.exists():
                findings.add("video-absent", split, item.name)
        if not items:
            findings.add("split-empty", split)
    known = {item.name for items in collection.splits.values() for item in items}
    others = [
        (f"{split} pairs", name) for split, pairs in collection.pairs.items() for p in pairs for name in (p.a, p.b)
    ]
    others += [("matching.jsonl", name) for question in collection.questions for name in question.names]
    for where, name in dict.fromkeys(others):
        if name not in known and not (collection.source.resolve() / name).exists():
            findings.add("video-absent", where, name)


def _note_training(collection: Collection, findings: Findings) -> None:
    """Read the folder as training does, unless it is known already why that fails."""
    if "train" not in collection.splits or any(map(findings.count, _KINDS_THAT_STOP_READING)):
        return
    try:
        data = load_training_data(collection.source, val_fraction=0.2, seed=0)
    except DataError as error:
        findings.add("training-refused", "train", str(error))
        return
    if data.note:
        findings.add("validation-made", "val", f"{len(data.val)} of {len(data.train) + len(data.val)} videos of train")


def _note_overlaps(collection: Collection, findings: Findings) -> None:
    present = [split for split in SPLITS if collection.splits.get(split)]
    for place, split in enumerate(present):
        items = collection.splits[split]
        for earlier in present[:place]:
            shared = {item.name for item in collection.splits[earlier]}
            for item in items:
                if item.name in shared:
                    findings.add("video-in-two-splits", f"{earlier} and {split}", item.name)
        if split == "train":
            continue
        trained = {item.procedure for item in collection.splits.get("train", ())}
        counts = collections.Counter(item.procedure for item in items if item.procedure is not None)
        for procedure, count in counts.items():
            if procedure in trained:
                findings.add("procedure-in-two-splits", split, procedure)
            if count == 1 and split not in collection.pairs:
                findings.add("procedure-alone", split, procedure)


def _spread(items: Sequence[_Entry], most: int | None) -> list[_Entry]:
    """At most `most` of the items, evenly spread."""
    if most is None or len(items) <= most:
        return list(items)
    return [items[index * len(items) // most] for index in range(most)]


def _open_all(
    chosen: Mapping[Split, Sequence[tuple[Item, Path]]],
    num_frames: int,
    findings: Findings,
    progress: Callable[[int, int], None] | None,
) -> dict[Split, list[float]]:
    """Seconds of the part that counts of every video that can be opened, by split."""
    total, done = sum(map(len, chosen.values())), 0
    seconds: dict[Split, list[float]] = {}
    for split, items in chosen.items():
        for item, video in items:
            length = _open(item, video, split, num_frames, findings)
            if length is not None:
                seconds.setdefault(split, []).append(length)
            done += 1
            if progress is not None:
                progress(done, total)
    return seconds


def _open(item: Item, path: Path, split: Split, num_frames: int, findings: Findings) -> float | None:
    try:
        with open_video(path) as video:
            duration = video.duration_seconds
            times = np.asarray(video.times(np.arange(video.num_frames)), dtype=np.float64)
    except VideoError as error:
        findings.add("video-unreadable", split, str(error))
        return None
    start, end = item.start or 0.0, duration if item.end is None else min(item.end, duration)
    count = int(((times >= start) & (times < end)).sum()) if (item.start, item.end) != (None, None) else len(times)
    if not count:
        findings.add("part-outside", split, f"{item.name} ({duration:.1f} s)")
        return None
    try:
        # Training draws from T segments; validation and test by the published protocol, which needs two frames more.
        segments(count, num_frames) if split == "train" else three_view_indices(count, num_frames)
    except TooFewFramesError as error:
        findings.add("video-short", split, f"{item.name} ({count} frames, {error.needed} are needed)")
    return end - start


def _summary(
    items: Sequence[Item], pairs: Sequence[NamedPair], seconds: Sequence[float], *, looked: bool
) -> SplitSummary:
    procedures = collections.Counter(item.procedure for item in items if item.procedure is not None)
    steps = {item.procedure or item.name: len(item.steps) for item in items if item.steps}
    there = [item for item in items if item.video is not None and item.video.exists()] if looked else []
    return SplitSummary(
        videos=len(items),
        with_steps=sum(bool(item.steps) for item in items),
        present=len(there) if looked else None,
        tasks=len({item.task for item in items if item.task is not None}),
        procedures=len(procedures),
        steps=_extent(steps.values()),
        videos_per_procedure=_extent(procedures.values()),
        opened=len(seconds),
        seconds=_extent(seconds),
        pairs=len(pairs),
        same=sum(pair.same for pair in pairs),
        videos_in_pairs=len({name for pair in pairs for name in (pair.a, pair.b)}),
    )


def _extent(numbers: Iterable[float]) -> Extent | None:
    values = list(numbers)
    if not values:
        return None
    return Extent(least=min(values), median=statistics.median(values), most=max(values))
