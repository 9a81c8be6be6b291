"""COIN-SV: labels TASK.PROCEDURE, videos by their ids on YouTube, and training texts that the label bank lacks.

The bank has the labels of validation and test alone. COIN's own `COIN.json` has, for every video, its task
(`recipe_type`), the part that counts (`start`, `end`), and the steps in their order (`annotation`); from these the
training texts are rebuilt, each video's from its own steps.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...runtime.errors import DataError
from ...runtime.manifest_lines import seconds_field
from .collection import Collection, Item, Split
from .findings import Findings
from .published import Layout, read_json_file, read_published

__all__ = ["COIN_SV", "CoinVideo", "read_coin_json", "read_coin_sv"]

COIN_SV = Layout(
    name="coin-sv",
    below_label=False,
    task_of=lambda label: label.partition(".")[0],
    lists=types.MappingProxyType(
        {"train": ("train_split.txt",), "val": ("val_split.txt",), "test": ("test_split.txt",)}
    ),
    rows=types.MappingProxyType(
        {
            "train_split.txt": 1221,
            "val_split.txt": 442,
            "test_split.txt": 451,
            "train_pairs.txt": 21741,
            "val_pairs.txt": 400,
            "test_pairs.txt": 1000,
        }
    ),
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CoinVideo:
    """What COIN.json says of one video: its task, its steps in order, and the part that counts, in seconds."""

    task: str
    steps: tuple[str, ...]
    start: float | None
    end: float | None


def read_coin_json(path: Path) -> dict[str, CoinVideo]:
    """The videos of COIN.json by id.

    Raises:
        DataError: if the file cannot be read, or an entry has no task, no steps, or times that are none.
    """
    database = read_json_file(path).get("database")
    if not isinstance(database, dict) or not database:
        raise DataError(f"{path}: has no object 'database' with the videos; give COIN's COIN.json")
    videos = {}
    for name, entry in database.items():
        try:
            videos[name] = _coin_video(entry)
        except DataError as error:
            raise DataError(f"{path}: video {name!r} {error}; fetch COIN.json again") from error
    return videos


def _coin_video(entry: Any) -> CoinVideo:
    if not isinstance(entry, dict):
        raise DataError("is not an object")
    task, parts = entry.get("recipe_type"), entry.get("annotation")
    if isinstance(task, bool) or not isinstance(task, int | str):
        raise DataError("has no recipe_type")
    if not isinstance(parts, list) or not parts:
        raise DataError("has no list 'annotation' with steps")
    steps = [part.get("label") if isinstance(part, dict) else None for part in parts]
    if not all(isinstance(step, str) and step.strip() for step in steps):
        raise DataError("has an annotation without a label")
    start, end = (seconds_field(entry, key) for key in ("start", "end"))
    if end is not None and end <= (start or 0.0):
        raise DataError(f"ends at {end} s, not after its start")
    return CoinVideo(task=str(task), steps=tuple(str(step).strip() for step in steps), start=start, end=end)


def read_coin_sv(source: Path, findings: Findings, *, coin_json: Path | None = None, uncut: bool = False) -> Collection:
    """Read the folder of COIN-SV's files.

    Args:
        source: holds `label_bank.json` and the lists.
        findings: takes what is noticed.
        coin_json: COIN's annotations; without them training videos have no steps.
        uncut: the videos are the whole originals, so that COIN.json's start and end apply. Published training cuts
            them out first.

    Raises:
        DataError: as `read_published` and `read_coin_json` do.
    """
    collection = read_published(COIN_SV, source, findings)
    if coin_json is None:
        return collection
    coin = read_coin_json(coin_json)
    splits: dict[Split, tuple[Item, ...]] = {}
    for split, items in collection.splits.items():
        completed = [_with_coin(item, coin, findings, split, uncut=uncut) for item in items]
        _note_varying_texts(items, completed, findings, split)
        splits[split] = tuple(item for item in completed if item is not None)
    return dataclasses.replace(collection, splits=splits)


def _with_coin(
    item: Item, coin: Mapping[str, CoinVideo], findings: Findings, split: Split, *, uncut: bool
) -> Item | None:
    """The item with the steps that the bank lacks, and the part of an uncut video; None if that part is not known."""
    video = coin.get(item.name)
    if video is None:
        findings.add("coin-absent", split, item.name)
    elif video.task != item.task:
        findings.add("coin-task-differs", split, f"{item.name} ({video.task}, not {item.task})")
        video = None
    elif item.steps and item.steps != video.steps:
        findings.add("coin-bank-differs", split, item.name)
    if uncut and (video is None or video.start is None or video.end is None):
        findings.add("coin-part-unknown", split, item.name)
        return None
    if video is None:
        return item
    part = (video.start, video.end) if uncut else (None, None)
    return dataclasses.replace(item, steps=item.steps or video.steps, start=part[0], end=part[1])


def _note_varying_texts(
    before: Sequence[Item], completed: Sequence[Item | None], findings: Findings, split: Split
) -> None:
    texts: dict[str | None, set[tuple[str, ...]]] = {}
    for item, found in zip(before, completed, strict=True):
        if not item.steps and found is not None and found.steps:
            texts.setdefault(found.procedure, set()).add(found.steps)
    for label, sequences in texts.items():
        if len(sequences) > 1:
            findings.add("coin-steps-vary", split, f"{label} ({len(sequences)} sequences)")
