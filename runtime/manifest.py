"""The text files that describe a dataset: manifests, pairs, matching questions, scripts. No video is opened here.

    train.jsonl, val.jsonl, test.jsonl   {"video": ..., "steps": [...]}; "task", "procedure", "start", "end" may follow
    val_pairs.csv, test_pairs.csv        header video_a,video_b,same; further columns allowed, `kind` among them
    matching.jsonl                       {"steps": [...], "videos": [...], "answer": 0-based index}
    script (any name)                    one step a line

Paths are relative to the file they stand in. Files are UTF-8; a byte order mark and CRLF are accepted, blank lines do
not count, further keys are ignored. Whatever is wrong is a `DataError` with the file and the line.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .manifest_lines import (
    list_field,
    located,
    name_field,
    parse_object,
    read_lines,
    read_objects,
    read_rows,
    required_field,
    seconds_field,
    shown,
    steps_field,
    video_path,
)

__all__ = [
    "MAX_DERIVED_PAIRS",
    "Clip",
    "Dataset",
    "MatchingItem",
    "Pair",
    "derive_pairs",
    "parse_clip",
    "read_dataset",
    "read_manifest",
    "read_matching",
    "read_pairs",
    "read_script",
]

MAX_DERIVED_PAIRS = 4000
"""The most pairs that `derive_pairs` makes; at most half of them same, half different."""

_Entry = TypeVar("_Entry")
_MANIFEST_HINT = 'give an object such as {"video": "a.mp4", "steps": ["take the cup", "pour water"]}'
_MATCHING_HINT = 'give an object such as {"steps": ["take the cup"], "videos": ["a.mp4", "b.mp4"], "answer": 0}'


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """One video and what is done in it, in order.

    Attributes:
        video: file, or folder of frames; absolute.
        steps: K step texts, at least one.
        task: what is made or done, e.g. `tea`.
        procedure: name of the way it is done; clips of one procedure are the same.
        start, end: the part of the video that counts, [start, end) in seconds; None is the video's own start or end.
    """

    video: Path
    steps: tuple[str, ...]
    task: str | None = None
    procedure: str | None = None
    start: float | None = None
    end: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two videos, whether they show the same procedure, and the kind of difference if the file names it."""

    video_a: Path
    video_b: Path
    same: bool
    kind: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MatchingItem:
    """A script, candidate videos, and the 0-based index of the one that follows the script."""

    steps: tuple[str, ...]
    videos: tuple[Path, ...]
    answer: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A dataset folder; what it does not hold is empty."""

    folder: Path
    train: tuple[Clip, ...] = ()
    val: tuple[Clip, ...] = ()
    test: tuple[Clip, ...] = ()
    val_pairs: tuple[Pair, ...] = ()
    test_pairs: tuple[Pair, ...] = ()
    matching: tuple[MatchingItem, ...] = ()


def read_manifest(path: str | os.PathLike[str]) -> tuple[Clip, ...]:
    """Read a manifest, in the order of its lines.

    Raises:
        DataError: if the file or a line is damaged, a video stands twice, one procedure has two tasks, or there is no
            clip.
    """
    path = Path(path)
    clips: list[Clip] = []
    lines_of: dict[Path, int] = {}
    tasks: dict[str, str] = {}
    for number, entry in read_objects(path, _MANIFEST_HINT):
        with located(path, number):
            clip = _clip(entry, path.parent)
            if clip.video in lines_of:
                line = lines_of[clip.video]
                raise DataError(f"video {str(clip.video)!r} stands in line {line} already; keep one of the two")
            if clip.procedure is not None and clip.task is not None:
                task = tasks.setdefault(clip.procedure, clip.task)
                if task != clip.task:
                    what = f"procedure {clip.procedure!r} stands under the tasks {task!r} and {clip.task!r}"
                    raise DataError(f"{what}; give every procedure a name of its own")
            lines_of[clip.video] = number
        clips.append(clip)
    return _not_empty(clips, path, _MANIFEST_HINT)


def parse_clip(line: str, folder: Path) -> Clip:
    """The clip of one line of a manifest in `folder`, for those who want to go on after a wrong one.

    Raises:
        DataError: if the line is damaged.
    """
    return _clip(parse_object(line, _MANIFEST_HINT), folder)


def read_pairs(path: str | os.PathLike[str], *, clips: tuple[Clip, ...] | None = None) -> tuple[Pair, ...]:
    """Read a file of pairs, in the order of its lines.

    Args:
        path: the csv file.
        clips: where given, a pair may name their videos alone.

    Raises:
        DataError: if the file or a line is damaged, a pair names a video that is not in `clips`, or there is no pair.
    """
    path = Path(path)
    known = None if clips is None else {clip.video for clip in clips}
    pairs: list[Pair] = []
    for number, row in read_rows(path):
        with located(path, number):
            if row["same"] not in ("0", "1"):
                raise DataError(f"same is {row['same']!r}; write 1 for the same procedure, 0 for different ones")
            video_a, video_b = (video_path(row[key], path.parent, key) for key in ("video_a", "video_b"))
            for video in (video_a, video_b):
                if known is not None and video not in known:
                    raise DataError(f"video {str(video)!r} is not in the manifest; add it there, or drop the pair")
            pair = Pair(video_a=video_a, video_b=video_b, same=row["same"] == "1", kind=row.get("kind") or None)
        pairs.append(pair)
    return _not_empty(pairs, path, "below the header, write a line such as a.mp4,b.mp4,1")


def read_matching(path: str | os.PathLike[str]) -> tuple[MatchingItem, ...]:
    """Read a file of matching questions, in the order of its lines.

    Raises:
        DataError: if the file or a line is damaged, or there is no question.
    """
    path = Path(path)
    items: list[MatchingItem] = []
    for number, entry in read_objects(path, _MATCHING_HINT):
        with located(path, number):
            videos = tuple(
                video_path(name, path.parent, "videos") for name in list_field(entry, "videos", _MATCHING_HINT)
            )
            if len(set(videos)) < len(videos):
                raise DataError("videos hold one video twice; give every candidate once")
            answer = required_field(entry, "answer", _MATCHING_HINT)
            if type(answer) is not int or not 0 <= answer < len(videos):
                raise DataError(f"answer is {shown(answer)}; give an integer from 0 to {len(videos) - 1}")
            items.append(MatchingItem(steps=steps_field(entry, _MATCHING_HINT), videos=videos, answer=answer))
    return _not_empty(items, path, _MATCHING_HINT)


def read_script(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read the steps of a script, one a line.

    Raises:
        DataError: if the file cannot be read, is not UTF-8, or holds no step.
    """
    path = Path(path)
    steps = [line.strip() for _, line in read_lines(path) if line.strip()]
    return _not_empty(steps, path, "write one step a line")


def read_dataset(folder: str | os.PathLike[str], *, require_train: bool = True) -> Dataset:
    """Read a dataset folder.

    Pairs that are not given are derived from their manifest (`derive_pairs`); whatever else is missing is empty.

    Args:
        folder: holds `train.jsonl`, and any of the other files.
        require_train: if False, a folder without `train.jsonl` will do (to evaluate, for example).

    Raises:
        DataError: if the folder or `train.jsonl` is missing, any file is damaged, or a pair names a video that is not
            in the manifest beside it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: is no folder; give a dataset folder, which holds train.jsonl")
    splits = {name: _if_there(folder / f"{name}.jsonl") for name in ("train", "val", "test")}
    if splits["train"] is None and (require_train or not any(splits.values())):
        raise DataError(f"{folder}: holds no train.jsonl; a dataset folder has one, with a clip a line")
    train, val, test = (read_manifest(path) if path else () for path in splits.values())
    matching = _if_there(folder / "matching.jsonl")
    return Dataset(
        folder=folder,
        train=train,
        val=val,
        test=test,
        val_pairs=_pairs_of(folder / "val_pairs.csv", val),
        test_pairs=_pairs_of(folder / "test_pairs.csv", test),
        matching=read_matching(matching) if matching else (),
    )


def derive_pairs(clips: tuple[Clip, ...]) -> tuple[Pair, ...]:
    """Pairs for clips that have none: all of them, or a choice of at most `MAX_DERIVED_PAIRS`.

    Two clips are the same iff their procedures are equal. A clip without a procedure is the same as the clips with
    exactly its steps.

    If there are more than `MAX_DERIVED_PAIRS` pairs, at most half that number of same pairs is drawn, and at most as
    many different ones: first such within a task, which are the harder ones, then across tasks. The draw is always the
    same for the same clips. Each pair, and all pairs, are in the order of the clips; `kind` is None.
    """
    labels = _procedure_labels(clips)
    task_of = dict.fromkeys(labels, "")
    for clip, label in zip(clips, labels, strict=True):
        task_of[label] = task_of[label] or clip.task or ""
    order = np.array(sorted(range(len(clips)), key=lambda row: (task_of[labels[row]], labels[row])), dtype=np.int64)
    # Sorted by task and procedure, the partners of a clip lie behind it: first same ones, then those of its task.
    position = np.arange(len(clips))
    procedure_end = _ends_of_runs([labels[row] for row in order])
    task_end = _ends_of_runs([task_of[labels[row]] for row in order])
    total = len(clips) * (len(clips) - 1) // 2
    quota = total if total <= MAX_DERIVED_PAIRS else MAX_DERIVED_PAIRS // 2
    same = _draw_partners(position + 1, procedure_end, quota)
    within = _draw_partners(procedure_end, task_end, quota)
    across = _draw_partners(task_end, np.full_like(position, len(clips)), quota - len(within))
    rows = np.sort(order[np.concatenate([same, within, across])], axis=1)
    return tuple(
        Pair(video_a=clips[a].video, video_b=clips[b].video, same=labels[a] == labels[b])
        for a, b in sorted(map(tuple, rows.tolist()))
    )


def _procedure_labels(clips: tuple[Clip, ...]) -> list[int]:
    """A number for every clip, equal for clips of the same procedure."""
    label_of: dict[str | tuple[str, ...], int] = {}
    for clip in clips:
        if clip.procedure is not None:
            label = label_of.setdefault(clip.procedure, len(label_of))
            label_of.setdefault(clip.steps, label)
    return [
        label_of[clip.procedure] if clip.procedure is not None else label_of.setdefault(clip.steps, len(label_of))
        for clip in clips
    ]


def _ends_of_runs(values: Sequence[Hashable]) -> NDArray[np.int64]:
    """For every position, where the run of equal values that it lies in ends (exclusive)."""
    ends = np.empty(len(values), dtype=np.int64)
    stop = 0
    for _, run in itertools.groupby(values):
        start, stop = stop, stop + sum(1 for _ in run)
        ends[start:stop] = stop
    return ends


def _draw_partners(first: NDArray[np.int64], stop: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most `most` of the pairs (p, q) with first[p] <= q < stop[p], int64 (P, 2); all of them if they are so few."""
    counts = stop - first
    behind = np.cumsum(counts)
    total = int(behind[-1]) if len(behind) else 0
    drawn = range(total) if total <= most else sorted(random.Random(0).sample(range(total), most))
    ranks = np.array(drawn, dtype=np.int64)
    position = np.searchsorted(behind, ranks, side="right")
    partner = first[position] + ranks - (behind - counts)[position]
    return np.stack([position, partner], axis=1)


def _pairs_of(path: Path, clips: tuple[Clip, ...]) -> tuple[Pair, ...]:
    if _if_there(path):
        return read_pairs(path, clips=clips or None)
    return derive_pairs(clips)


def _if_there(path: Path) -> Path | None:
    # A broken link is there: it must not count as a file that was never given.
    return path if os.path.lexists(path) else None


def _not_empty(entries: Sequence[_Entry], path: Path, hint: str) -> tuple[_Entry, ...]:
    if not entries:
        raise DataError(f"{path}: is empty; {hint}")
    return tuple(entries)


def _clip(entry: Mapping[str, Any], folder: Path) -> Clip:
    start, end = (seconds_field(entry, key) for key in ("start", "end"))
    if end is not None and end <= (start or 0.0):
        raise DataError(f"end, {end} s, is not after start, {start or 0.0} s; correct the times")
    return Clip(
        video=video_path(required_field(entry, "video", _MANIFEST_HINT), folder, "video"),
        steps=steps_field(entry, _MANIFEST_HINT),
        task=name_field(entry, "task"),
        procedure=name_field(entry, "procedure"),
        start=start,
        end=end,
    )
