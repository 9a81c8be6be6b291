"""A dataset folder of ours, read to the end: a wrong line is a finding and does not hide what comes after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ...runtime.errors import DataError
from ...runtime.manifest import parse_clip, read_matching, read_pairs
from ...runtime.manifest_lines import read_lines
from .collection import SPLITS, Collection, Item, NamedPair, Question, Split
from .findings import Findings

__all__ = ["read_own_files"]

_Entry = TypeVar("_Entry")


def read_own_files(folder: Path, findings: Findings) -> Collection:
    """Read the manifests, pairs and questions that are there; names are paths relative to `folder` where they can be.

    Raises:
        DataError: if `folder` is no folder or holds no manifest.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is no folder; give a dataset folder, which holds train.jsonl")
    root = folder.resolve()
    splits: dict[Split, tuple[Item, ...]] = {}
    pairs: dict[Split, tuple[NamedPair, ...]] = {}
    files: list[str] = []
    for split in SPLITS:
        if (folder / f"{split}.jsonl").exists():
            splits[split] = _manifest(folder / f"{split}.jsonl", root, findings)
            files.append(f"{split}.jsonl")
    if not splits:
        raise DataError(f"{folder}: holds no train.jsonl, val.jsonl or test.jsonl; for published files give --format")
    for split in SPLITS[1:]:
        path = folder / f"{split}_pairs.csv"
        if path.exists():
            files.append(path.name)
            found = _read_or_note(read_pairs, path, findings)
            names = ((_name(pair.video_a, root), _name(pair.video_b, root), pair.same) for pair in found)
            pairs[split] = tuple(NamedPair(a=a, b=b, same=same) for a, b, same in names)
            _note_pairs(pairs[split], {item.name for item in splits.get(split, ())}, path.name, findings)
    questions: tuple[Question, ...] = ()
    if (folder / "matching.jsonl").exists():
        files.append("matching.jsonl")
        questions = tuple(
            Question(steps=item.steps, names=tuple(_name(video, root) for video in item.videos), answer=item.answer)
            for item in _read_or_note(read_matching, folder / "matching.jsonl", findings)
        )
        if len(set(questions)) < len(questions):
            findings.add("question-repeated", "matching.jsonl", count=len(questions) - len(set(questions)))
    return Collection(
        name="weaksvr", source=folder, files=tuple(files), splits=splits, pairs=pairs, questions=questions
    )


def _name(video: Path, root: Path) -> str:
    return video.relative_to(root).as_posix() if video.is_relative_to(root) else str(video)


def _read_or_note(read: Callable[[Path], Sequence[_Entry]], path: Path, findings: Findings) -> Sequence[_Entry]:
    try:
        return read(path)
    except DataError as error:
        findings.add("bad-file", path.name, str(error))
        return ()


def _manifest(path: Path, root: Path, findings: Findings) -> tuple[Item, ...]:
    items: dict[Path, Item] = {}
    tasks: dict[str, str] = {}
    try:
        for number, line in read_lines(path):
            if not line.strip():
                continue
            try:
                clip = parse_clip(line, path.parent)
            except DataError as error:
                findings.add("bad-line", path.name, f"line {number} {error}")
                continue
            if clip.video in items:
                findings.add("video-twice", path.name, f"line {number}")
                continue
            task = tasks.setdefault(clip.procedure, clip.task) if clip.procedure and clip.task else clip.task
            if task != clip.task:
                findings.add("procedure-two-tasks", path.name, f"line {number}")
            items[clip.video] = Item(
                name=_name(clip.video, root),
                steps=clip.steps,
                task=clip.task,
                procedure=clip.procedure,
                video=clip.video,
                start=clip.start,
                end=clip.end,
            )
    except DataError as error:
        findings.add("bad-file", path.name, str(error))
    return tuple(items.values())


def _note_pairs(pairs: Sequence[NamedPair], known: set[str], where: str, findings: Findings) -> None:
    seen: set[frozenset[str]] = set()
    for number, pair in enumerate(pairs, start=1):
        key = frozenset((pair.a, pair.b))
        if len(key) == 1:
            findings.add("pair-of-itself", where, f"pair {number}")
        elif key in seen:
            findings.add("pair-twice", where, f"pair {number}")
        if known and not key <= known:
            findings.add("video-not-in-manifest", where, f"pair {number}")
        seen.add(key)
