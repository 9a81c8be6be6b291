"""The clips and pairs of a training run, with a validation set made where the data has none."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...runtime.errors import DataError
from ...runtime.manifest import Clip, Dataset, Pair, derive_pairs, read_dataset
from ...runtime.spec import paragraph
from ...runtime.storage import sha256_of

__all__ = ["TrainingData", "load_training_data", "split_by_procedure"]

_FILES = ("train.jsonl", "val.jsonl", "val_pairs.csv")
_TEST_FILES = ("test.jsonl", "test_pairs.csv")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a run trains and validates on.

    Attributes:
        train, val: clips; `val` is empty where the epoch is selected on the test set and no file names any.
        val_pairs: pairs of validation clips.
        test, test_pairs: of the test set, where the epoch is selected on it; else empty.
        record: where they come from (folder, SHA-256 of the files, how validation was made), JSON-able.
        note: one line for the user; empty if there is nothing to say.
    """

    train: Sequence[Clip]
    val: Sequence[Clip]
    val_pairs: Sequence[Pair]
    record: dict[str, Any]
    note: str
    test: Sequence[Clip] = ()
    test_pairs: Sequence[Pair] = ()


def _name(clip: Clip) -> str:
    return clip.procedure or paragraph(clip.steps)


def split_by_procedure(clips: Sequence[Clip], *, fraction: float, seed: int) -> tuple[list[Clip], list[Clip]]:
    """Set whole groups of clips apart: whole tasks where all clips name theirs, else whole procedures.

    Args:
        clips: all clips.
        fraction: share of the clips to set apart, reached as closely as whole groups allow; more where less would hold
            no pair of the same procedure or none of different ones.
        seed: of the choice.

    Returns:
        The rest, and what was set apart.
    """
    by_task = all(clip.task is not None for clip in clips) and len({clip.task for clip in clips}) > 2
    group_of = [clip.task if by_task else _name(clip) for clip in clips]
    groups = list(dict.fromkeys(group_of))
    order = np.random.default_rng(seed).permutation(len(groups))
    sizes = {group: group_of.count(group) for group in groups}
    chosen: set[str | None] = set()
    names: list[str] = []
    for index in order:
        comparable = 1 < len(set(names)) < len(names)
        if comparable and len(names) + sizes[groups[index]] / 2 > fraction * len(clips):
            break
        chosen.add(groups[index])
        names += [_name(clip) for clip, group in zip(clips, group_of, strict=True) if group == groups[index]]
    rest = [clip for clip, group in zip(clips, group_of, strict=True) if group not in chosen]
    return rest, [clip for clip, group in zip(clips, group_of, strict=True) if group in chosen]


def load_training_data(
    folder: Path, *, val_fraction: float, seed: int, select: Literal["val", "test"] = "val"
) -> TrainingData:
    """Read a dataset folder for training.

    Where the folder has no `val.jsonl`, the videos of `val_pairs.csv` are kept for validation, or else a seeded part of
    the training clips, unless the epoch is selected on the test set; `note` says so.

    Args:
        folder: with `train.jsonl`.
        val_fraction, seed: see `split_by_procedure`.
        select: what chooses the epoch that is kept; `test` needs a test set.

    Raises:
        DataError: if a file is wrong, or validation, or the test set that is to select, has no pair of one kind.
    """
    dataset = read_dataset(folder)
    if not dataset.train:
        raise DataError(f"{folder}: has no train.jsonl to train on; see the README for the format")
    used = (*_FILES, *_TEST_FILES) if select == "test" else _FILES
    files = {name: sha256_of(folder / name) for name in used if (folder / name).is_file()}
    record: dict[str, Any] = {"folder": str(folder.resolve()), "files": files, "validation": "val.jsonl"}
    train, val, pairs, note = list(dataset.train), list(dataset.val), list(dataset.val_pairs), ""
    if not val and pairs:
        named = {video for pair in pairs for video in (pair.video_a, pair.video_b)}
        val = [clip for clip in train if clip.video in named]
        train = [clip for clip in train if clip.video not in named]
        record["validation"] = "val_pairs.csv"
        note = (
            f"{folder}: no val.jsonl, so the {len(named)} videos of val_pairs.csv are kept for validation; "
            f"{len(train)} are trained on"
        )
    elif not val and select == "test":
        record["validation"] = None
        note = (
            f"{folder}: no val.jsonl, so there is no validation; all {len(train)} videos of train.jsonl are trained on"
        )
    elif not val:
        train, val = split_by_procedure(train, fraction=val_fraction, seed=seed)
        if len(train) < 2:
            raise DataError(
                f"{folder}: no val.jsonl, and too few videos to set two of one procedure and one of another apart; add "
                "val.jsonl, or name `procedure` in train.jsonl"
            )
        pairs = list(derive_pairs(tuple(val)))
        record["validation"] = {"fraction": val_fraction, "seed": seed}
        note = (
            f"{folder}: no val.jsonl, so {len(val)} of {len(train) + len(val)} videos were set apart for validation "
            f"(seed {seed}); {len(train)} are trained on"
        )
    missing = _missing_kind(pairs) if val or select == "val" else None
    if missing:
        raise DataError(
            f"{folder}: validation has no pair of {missing}; add val.jsonl with two videos of one procedure and a "
            "video of another, or name `procedure` in train.jsonl"
        )
    test, test_pairs = _test_set(dataset) if select == "test" else ((), ())
    return TrainingData(
        train=train, val=val, val_pairs=pairs, record=record, note=note, test=test, test_pairs=test_pairs
    )


def _test_set(dataset: Dataset) -> tuple[Sequence[Clip], Sequence[Pair]]:
    """What is to select the epoch. Raises `DataError`."""
    missing = _missing_kind(dataset.test_pairs)
    if missing:
        what = f"has no pair of {missing}" if dataset.test_pairs else "is not there"
        raise DataError(
            f"{dataset.folder}: its test set {what}, but is to select the epoch; add test.jsonl and test_pairs.csv, or "
            "select on validation (--select val)"
        )
    return dataset.test, dataset.test_pairs


def _missing_kind(pairs: Sequence[Pair]) -> str | None:
    """The kind of pairs of which there is none, in words."""
    kinds = ((True, "the same procedure"), (False, "different procedures"))
    return next((word for same, word in kinds if not any(pair.same is same for pair in pairs)), None)
