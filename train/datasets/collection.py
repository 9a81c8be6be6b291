"""A dataset as its text files name it, before any video is looked for: items by split, pairs, matching questions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

__all__ = ["SPLITS", "Collection", "Item", "NamedPair", "Question", "Split"]

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One video of a split.

    Attributes:
        name: what pairs and questions call it.
        steps: K step texts; empty where the published files have none.
        task, procedure: as in `Clip`.
        video: where it is; None before it is looked for.
        start, end: seconds, the part that counts; None is the video's own start or end.
    """

    name: str
    steps: tuple[str, ...]
    task: str | None = None
    procedure: str | None = None
    video: Path | None = None
    start: float | None = None
    end: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NamedPair:
    """Two videos by name, and whether they show the same procedure."""

    a: str
    b: str
    same: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A script, candidate videos by name, and the 0-based index of the right one."""

    steps: tuple[str, ...]
    names: tuple[str, ...]
    answer: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Collection:
    """What a dataset's text files say.

    Attributes:
        name: the format, `csv-sv` for example, or `weaksvr` for our own.
        source: the folder that was read.
        files: names of the files that were read, relative to `source`.
        splits: the items of each split whose file is there.
        pairs: the pairs of each split whose file is there.
        questions: matching questions.
    """

    name: str
    source: Path
    files: tuple[str, ...]
    splits: Mapping[Split, tuple[Item, ...]]
    pairs: Mapping[Split, tuple[NamedPair, ...]]
    questions: tuple[Question, ...] = ()
