"""The pairs of real videos on which an export is compared with its source, and its thresholds are calibrated."""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..runtime.errors import CheckpointError, DataError
from ..runtime.manifest import Clip, Pair, derive_pairs, read_pairs
from ..runtime.spec import paragraph
from ..runtime.storage import sha256_of
from ..train.config import TrainConfig
from ..train.datasets.splits import TrainingData, load_training_data

__all__ = ["CalibrationData", "Trained", "calibration_data", "further_pairs", "given_data", "without_pairs"]

_PLAIN_STEPS = ("take the cup", "pour water", "stir")
_TRAINING_CLIPS = 16
_WAY_OUT = "give pairs of videos with --pairs FILE"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibrationData:
    """What to compare and calibrate on.

    Attributes:
        pairs: of both kinds; none for a model that is exported without a threshold.
        clips: where a video is one of these, the clip's start and end hold.
        texts: steps and paragraphs, at least one.
        source: where the pairs come from, for people.
        sha256: of the pairs file; empty for pairs that were derived from the run's data.
        trained_on: some of the clips that the model was trained on, on which int8 may be calibrated; empty if they are
            not there.
    """

    pairs: Sequence[Pair]
    clips: Sequence[Clip]
    texts: Sequence[str]
    source: str
    sha256: str = ""
    trained_on: Sequence[Clip] = ()

    @property
    def videos(self) -> list[Path]:
        """Every video of the pairs, once, in their order."""
        return list(dict.fromkeys(path for pair in self.pairs for path in (pair.video_a, pair.video_b)))


class Trained(Protocol):
    """What a checkpoint says beside its weights; see `Checkpoint`."""

    @property
    def config(self) -> TrainConfig: ...

    @property
    def record(self) -> Mapping[str, Any]: ...

    @property
    def folder(self) -> Path: ...


def calibration_data(checkpoint: Trained, pairs_file: Path | None) -> CalibrationData:
    """The pairs that are given, else the run's validation pairs; a run that was imported has none.

    Args:
        checkpoint: knows which data its run used.
        pairs_file: pairs of whole videos, none of them needs to be known to the run.

    Raises:
        CheckpointError: if the run's data is gone or has changed.
        DataError: if the pairs file is wrong, or a video of it is missing.
    """
    if pairs_file is None:
        return without_pairs() if "imported" in checkpoint.record else _run_data(checkpoint)
    given = given_data(pairs_file)
    try:
        return dataclasses.replace(given, trained_on=_some_training_clips(_training_data(checkpoint)))
    except CheckpointError:  # with pairs given, the run's data may be gone; what needs it says so
        return given


def further_pairs(data: CalibrationData, wanted: int) -> list[tuple[Path, Path]]:
    """More pairs of the same videos, for the gate alone: whether a verdict flips can be seen without a label.

    First those that are known to be the same or to belong to one task, as they are the closest, then any; the same
    ones for the same data.

    Args:
        data: gives the videos, and the pairs that are not repeated.
        wanted: pairs in all, those of `data` included. Fewer are there if the videos make no more.
    """
    seen = {frozenset((pair.video_a, pair.video_b)) for pair in data.pairs}
    videos = data.videos
    missing = wanted - len(data.pairs)
    if missing <= 0:
        return []
    known = [clip for clip in data.clips if clip.video in set(videos)]
    derived = sorted(derive_pairs(tuple(known)), key=lambda pair: not pair.same) if known else []
    candidates = [(pair.video_a, pair.video_b) for pair in derived]
    behind = np.cumsum(np.arange(len(videos) - 1, 0, -1))  # pairs whose first video is this one or an earlier one
    total = int(behind[-1]) if len(behind) else 0
    for rank in random.Random(0).sample(range(total), min(total, wanted + len(candidates))):
        first = int(np.searchsorted(behind, rank, side="right"))
        candidates.append((videos[first], videos[rank - int(behind[first]) + len(videos)]))
    found: list[tuple[Path, Path]] = []
    for pair in candidates:
        if frozenset(pair) not in seen and len(found) < missing:
            seen.add(frozenset(pair))
            found.append(pair)
    return found


def without_pairs() -> CalibrationData:
    """For a model that is exported without a threshold: texts alone."""
    return CalibrationData(pairs=(), clips=(), texts=_texts([_PLAIN_STEPS]), source="no pairs")


def given_data(pairs_file: Path) -> CalibrationData:
    """The pairs of a file. Raises `DataError` as `calibration_data` does."""
    data = CalibrationData(
        pairs=read_pairs(pairs_file),
        clips=(),
        texts=_texts([_PLAIN_STEPS]),
        source=pairs_file.name,
        sha256=sha256_of(pairs_file),
    )
    for same, word in ((True, "the same procedure"), (False, "different procedures")):
        if not any(pair.same is same for pair in data.pairs):
            raise DataError(f"{pairs_file}: has no pair of {word}; a threshold needs both kinds")
    missing = _missing(data)
    if missing:
        raise DataError(f"{pairs_file}: its video {missing} cannot be read; paths are relative to the pairs file")
    return data


def _run_data(checkpoint: Trained) -> CalibrationData:
    data = _training_data(checkpoint)
    if not data.val_pairs:
        raise CheckpointError(f"{checkpoint.folder}: was trained without validation; {_WAY_OUT}")
    found = CalibrationData(
        pairs=data.val_pairs,
        clips=data.val,
        texts=_texts([clip.steps for clip in data.val]),
        source=f"validation pairs of {Path(data.record['folder']).name}",
        sha256=data.record["files"].get("val_pairs.csv", ""),
        trained_on=_some_training_clips(data),
    )
    missing = _missing(found)
    if missing:
        raise CheckpointError(
            f"{missing}: a validation video of the run, is not there any more or cannot be read; {_WAY_OUT}"
        )
    return found


def _training_data(checkpoint: Trained) -> TrainingData:
    """What the run was trained on, if it is still there and still the same."""
    record = _data_record(checkpoint)
    folder = Path(record["folder"])
    if not os.access(folder, os.R_OK | os.X_OK):
        raise CheckpointError(f"{folder}: the run's data is not there any more, or cannot be read; {_WAY_OUT}")
    config = checkpoint.config
    try:
        data = load_training_data(
            folder, val_fraction=config.data.val_fraction, seed=config.optim.seed, select=config.optim.select
        )
    except DataError as error:
        raise CheckpointError(f"{error}; the run's data cannot be used any more, so {_WAY_OUT}") from error
    if data.record["files"] != record["files"]:
        names = {name for name, _ in data.record["files"].items() ^ record["files"].items()}
        raise CheckpointError(f"{folder}: {', '.join(sorted(names))} changed since the run; {_WAY_OUT}")
    return data


def _some_training_clips(data: TrainingData) -> list[Clip]:
    """Evenly spread over the training set."""
    rows = np.unique(np.linspace(0, len(data.train) - 1, _TRAINING_CLIPS, dtype=int))
    return [data.train[row] for row in rows if os.access(data.train[row].video, os.R_OK)]


def _data_record(checkpoint: Trained) -> dict[str, Any]:
    record = checkpoint.record.get("data")
    if not (
        isinstance(record, dict) and isinstance(record.get("folder"), str) and isinstance(record.get("files"), dict)
    ):
        raise CheckpointError(f"{checkpoint.folder}: does not say what it was trained on; {_WAY_OUT}")
    return record


def _texts(scripts: Sequence[Sequence[str]]) -> list[str]:
    """Every distinct step, then the paragraphs, as both are embedded."""
    return list(dict.fromkeys([*(step for steps in scripts for step in steps), *map(paragraph, scripts)]))


def _missing(data: CalibrationData) -> Path | None:
    """The first video that is not there or may not be read."""
    return next((video for video in data.videos if not os.access(video, os.R_OK)), None)
