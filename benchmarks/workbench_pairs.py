"""The validation and test pairs of a rendered dataset, embedded, with the true times of every step."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from weaksvr.runtime import Model, TextEmbedding, VideoEmbedding
from weaksvr.runtime.evaluate import embed_videos
from weaksvr.runtime.manifest import Pair, read_dataset
from weaksvr.runtime.storage import write_bytes

__all__ = ["LabelledPairs", "TrueStep", "circumstances", "read_pairs_of"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TrueStep:
    """A step as it was rendered: what is done, and from when to when in seconds."""

    name: str
    start: float
    end: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LabelledPairs:
    """P pairs of one split; every mapping has all their videos.

    Attributes:
        pairs: P, each with the kind of its difference.
        videos: their embeddings.
        scripts: their own steps, embedded.
        steps: what they truly show.
    """

    pairs: tuple[Pair, ...]
    videos: dict[Path, VideoEmbedding]
    scripts: dict[Path, TextEmbedding]
    steps: dict[Path, tuple[TrueStep, ...]]

    @property
    def same(self) -> np.ndarray:
        """The labels, bool (P,)."""
        return np.array([pair.same for pair in self.pairs], dtype=np.bool_)

    @property
    def names(self) -> list[tuple[Path, Path]]:
        """The two videos of every pair."""
        return [(pair.video_a, pair.video_b) for pair in self.pairs]


def read_pairs_of(folder: Path, model: Model, *, kept: Path | None = None) -> dict[str, LabelledPairs]:
    """Both splits of a dataset of weaksvr-make-videos, by `val` and `test`.

    Args:
        folder: of the dataset.
        model: embeds the videos and their steps.
        kept: a file of an earlier run of the same model on the same dataset, which spares embedding them again; written
            if it is not there.
    """
    identity = model.bundle.manifest.embedding_id(model.backend.precision, model.embedder.sampling), str(folder)
    if kept is not None and kept.exists():
        stored, found = pickle.loads(kept.read_bytes())
        if stored != identity:
            raise SystemExit(f"{kept} is of another model or dataset; name another file")
        return found
    found = _embedded(folder, model)
    if kept is not None:
        write_bytes(kept, pickle.dumps((identity, found)))
    return found


def _embedded(folder: Path, model: Model) -> dict[str, LabelledPairs]:
    data = read_dataset(folder, require_train=False)
    truth: dict[Path, tuple[TrueStep, ...]] = {}
    for line in (folder / "boundaries.jsonl").read_text().splitlines():
        row = json.loads(line)
        truth[folder / row["video"]] = tuple(
            TrueStep(name=step["step"], start=step["start"], end=step["end"]) for step in row["steps"]
        )
    found = {}
    splits: dict[str, tuple[Sequence[Any], tuple[Pair, ...]]] = {
        "val": (data.val, data.val_pairs),
        "test": (data.test, data.test_pairs),
    }
    for split, (clips, pairs) in splits.items():
        videos = [video for pair in pairs for video in (pair.video_a, pair.video_b)]
        embedded = embed_videos(model.embedder, videos)
        steps_of = {clip.video: clip.steps for clip in clips}
        found[split] = LabelledPairs(
            pairs=pairs,
            videos=embedded,
            scripts={video: model.embed_text(steps_of[video]) for video in embedded},
            steps={video: truth[video] for video in embedded},
        )
    return found


def circumstances(model: Model) -> dict[str, Any]:
    """What a result depends on besides the data."""
    return {
        "bundle": model.bundle.manifest.name,
        "precision": model.backend.precision,
        "sampling": model.embedder.sampling.key,
        "versions": {
            "numpy": np.__version__,
            "onnxruntime": onnxruntime.__version__,
            "python": platform.python_version(),
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
    }
