"""From the published files of a dataset to a dataset folder of ours, which names the videos where they are."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...runtime.errors import DataError, OptionError
from ...runtime.manifest import read_dataset
from ...runtime.storage import sha256_of, write_text
from .collection import Collection, Item
from .findings import Finding, Findings
from .formats import PublishedSource, read_source
from .staging import check_new_folder, staged_folder

__all__ = ["SCHEMA", "Conversion", "convert"]

SCHEMA = "weaksvr.convert-data/1"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Conversion:
    """What was written, and what was noticed on the way.

    Attributes:
        out: the new dataset folder.
        record: what its `dataset.json` says of the source: format, folder, SHA-256 of its files, videos, options.
        lines: entries by file.
        findings: problems first.
    """

    out: Path
    record: Mapping[str, Any]
    lines: Mapping[str, int]
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        findings = [finding.to_dict() for finding in self.findings]
        return {"schema": SCHEMA, **self.record, "lines": dict(self.lines), "findings": findings}


def convert(source: PublishedSource, out: Path) -> Conversion:
    """Write a published dataset as a dataset folder.

    What has no text or no video is left out, with its pairs and questions, and counted. The videos stay where they are;
    the new files name them by relative paths.

    Args:
        source: the published files, and where the videos are.
        out: folder that is absent or empty; it is complete or absent.

    Raises:
        OptionError: if `source` does not say where the videos are.
        DataError: if the published files cannot be read, or no video is there.
        OutputError: if `out` is not empty or cannot be written.
    """
    if source.videos is None:
        raise OptionError("the videos must be found to be named; give their folder as --videos DIR")
    check_new_folder(out)
    findings = Findings()
    collection = read_source(source, findings)
    record = {
        "format": source.name,
        "source": str(source.folder),
        "files": {file: sha256_of(source.folder / file) for file in collection.files},
        "videos": str(source.videos),
        "kind": source.kind,
        "coin_json": source.coin_json and {"file": str(source.coin_json), "sha256": sha256_of(source.coin_json)},
        "uncut": source.uncut,
    }
    tables = _tables(collection, out, findings)
    if not tables:
        raise DataError(_nothing_there(collection, source.videos))
    lines = {file: count for file, (_, count) in tables.items()}
    conversion = Conversion(out=out, record=record, lines=lines, findings=findings.listed())
    with staged_folder(out) as folder:
        for file, (text, _) in tables.items():
            write_text(folder / file, text)
        write_text(folder / "dataset.json", json.dumps(conversion.to_dict(), indent=2) + "\n")
        read_dataset(folder, require_train=False)  # what cannot be read again must not be left behind
    return conversion


def _nothing_there(collection: Collection, videos: Path) -> str:
    items = [item for split in collection.splits.values() for item in split]
    if not items:
        return f"{collection.source}: lists no video; add the split files of {collection.name}"
    if any(item.video for item in items):
        return f"{collection.source}: none of the videos there has steps; add --coin-json FILE, COIN's annotations"
    example = items[0].name
    return (
        f"{videos}: holds none of the {len(items)} videos; expected is {example} (a folder of frames) or {example}.mp4"
    )


def _tables(collection: Collection, out: Path, findings: Findings) -> dict[str, tuple[str, int]]:
    """Text and number of entries of every file that has any."""
    relative = _paths_from(os.path.realpath(out))
    tables: dict[str, tuple[str, int]] = {}
    paths: dict[str, str] = {}
    for split, items in collection.splits.items():
        kept = {item: item.video for item in items if item.video is not None and item.steps}
        if not kept:
            findings.add("split-empty", split)
            continue
        split_paths = {item.name: relative(video) for item, video in kept.items()}
        paths |= split_paths
        rows = [_row(item, split_paths[item.name]) for item in kept]
        tables[f"{split}.jsonl"] = "".join(json.dumps(row) + "\n" for row in rows), len(rows)
        pairs = collection.pairs.get(split, ())
        usable = [pair for pair in pairs if {pair.a, pair.b} <= split_paths.keys()]
        where = f"{split}_pairs.csv"
        if len(usable) < len(pairs):
            findings.add("pair-without-video", where, count=len(pairs) - len(usable))
        if usable:
            cells = [(split_paths[pair.a], split_paths[pair.b], int(pair.same)) for pair in usable]
            tables[where] = _csv_text(cells), len(cells)
        if split != "train":
            _note_kinds_of_pairs([pair.same for pair in usable], where, findings)
    if "train" in collection.splits and "val" not in collection.splits:
        findings.add("validation-made", "val")
    questions = [question for question in collection.questions if paths.keys() >= set(question.names)]
    if len(questions) < len(collection.questions):
        lost = len(collection.questions) - len(questions)
        findings.add("question-without-video", "matching.jsonl", count=lost)
    if questions:
        entries = [
            {"steps": list(q.steps), "videos": [paths[name] for name in q.names], "answer": q.answer} for q in questions
        ]
        tables["matching.jsonl"] = "".join(json.dumps(entry) + "\n" for entry in entries), len(entries)
    return tables


def _note_kinds_of_pairs(same: Sequence[bool], where: str, findings: Findings) -> None:
    if not same:
        findings.add("pairs-derived", where)
    elif all(same) or not any(same):
        findings.add("pairs-one-kind", where)


def _row(item: Item, path: str) -> dict[str, Any]:
    row: dict[str, Any] = {"video": path, "steps": list(item.steps), "task": item.task, "procedure": item.procedure}
    return row | {key: value for key, value in (("start", item.start), ("end", item.end)) if value is not None}


def _paths_from(home: str) -> Callable[[Path], str]:
    """Gives a video's path from the folder `home`, which has no links in it; an absolute one on another drive."""
    real = functools.cache(os.path.realpath)

    def relative(video: Path) -> str:
        folder = real(video.parent)
        with contextlib.suppress(ValueError):  # on Windows there is no way from one drive to another
            folder = os.path.relpath(folder, home)
        return Path(folder, video.name).as_posix()

    return relative


def _csv_text(rows: Sequence[tuple[str, str, int]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["video_a", "video_b", "same"])
    writer.writerows(rows)
    return buffer.getvalue()
