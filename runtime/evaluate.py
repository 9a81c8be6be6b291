"""How well a model tells procedures apart on a dataset: the same numbers for a run and for a bundle."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .alignment import alignment_distances, vector_distances
from .embedder import TextEmbedding, VideoEmbedding
from .errors import DataError, OptionError
from .evaluate_matching import MatchingResult, evaluate_matching
from .manifest import Clip, Dataset, Pair
from .metrics import accuracy, auc_by_kind, edit_distance, equal_error_threshold, roc_auc, wdr
from .spec import METHODS, Method
from .verify import check_direction

__all__ = ["EvaluationResult", "MethodResult", "Split", "VideoEmbedder", "embed_videos", "evaluate", "pair_distances"]

Split = Literal["val", "test"]
Progress = Callable[[int, int], None]

SCHEMA: Final = "weaksvr.evaluate/1"
PAIRS_AT_A_TIME: Final = 256


class VideoEmbedder(Protocol):
    """What is evaluated; `Embedder` is one."""

    def embed(self, path: Path, *, start: float | None = None, end: float | None = None) -> VideoEmbedding: ...

    def embed_text(self, steps: Sequence[str]) -> TextEmbedding: ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MethodResult:
    """What one way to compare is worth.

    Attributes:
        auc: area under the ROC curve, positive = same.
        auc_by_kind: the same for the different pairs of one kind against all same pairs.
        eer: equal error rate on these pairs, in [0, 1], and `eer_threshold`, where it is reached.
        threshold: the model's, None if it has none.
        accuracy: share of right verdicts at `threshold`; None without one.
        false_same: share of different pairs that pass as the same at `threshold`; None without one.
        false_different: share of same pairs that do not pass at `threshold`; None without one.
    """

    auc: float
    auc_by_kind: Mapping[str, float]
    eer: float
    eer_threshold: float
    threshold: float | None
    accuracy: float | None
    false_same: float | None
    false_different: float | None

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "auc_by_kind": dict(self.auc_by_kind)}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationResult:
    """What a model is worth on one split of a dataset.

    Attributes:
        num_videos, num_pairs, num_same: how much was compared; `num_same` of the pairs are the same.
        methods: by way to compare.
        wdr: weighted distance ratio, from squared vector distances; None if it cannot be computed (see `notes`).
        matching: what each way to score videos for a script is worth; empty without matching questions.
        matching_accuracy: `accuracy[1]` of `vector`, which is the published measure; None without matching questions.
        num_matching: questions behind it.
        notes: what a user should know.
    """

    split: Split
    num_videos: int
    num_pairs: int
    num_same: int
    methods: Mapping[Method, MethodResult]
    wdr: float | None
    matching_accuracy: float | None
    num_matching: int
    matching: Mapping[Method, MatchingResult]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        methods = {name: result.to_json() for name, result in self.methods.items()}
        matching = {name: result.to_dict() for name, result in self.matching.items()}
        return {"schema": SCHEMA, **data, "methods": methods, "matching": matching, "notes": list(self.notes)}


def evaluate(
    embedder: VideoEmbedder,
    dataset: Dataset,
    *,
    split: Split = "test",
    thresholds: Mapping[Method, float] = MappingProxyType({}),
    matching: bool = True,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Embed every video of a split's pairs once, and compare them in both ways.

    Args:
        embedder: the model.
        dataset: its pairs, and for `test` its matching questions.
        split: `val` or `test`.
        thresholds: the model's own; accuracy is given for the methods that have one.
        matching: whether to answer the matching questions, which takes a text network.
        progress: called with (videos done, videos in all).

    Raises:
        OptionError: if there is no such split.
        DataError: if the split has no pairs, or not both kinds of them.
        VideoError: if a video cannot be used.
    """
    if split not in ("val", "test"):
        raise OptionError(f"split {split!r} has no pairs; use val or test")
    clips, pairs = (dataset.val, dataset.val_pairs) if split == "val" else (dataset.test, dataset.test_pairs)
    same = np.array([pair.same for pair in pairs], dtype=np.bool_)
    if not same.any() or same.all():
        found = f"it has {same.sum()} and {(~same).sum()}"
        raise DataError(f"{dataset.folder}: the {split} split needs pairs that are the same and that differ; {found}")
    questions = dataset.matching if matching and split == "test" else ()
    videos = [video for pair in pairs for video in (pair.video_a, pair.video_b)]
    videos += [video for question in questions for video in question.videos]
    embeddings = embed_videos(embedder, videos, clips=clips, progress=progress)
    results: dict[Method, MethodResult] = {}
    ratio: float | None = None
    notes: list[str] = []
    for method in METHODS:
        distances = pair_distances(embeddings, pairs, method=method)
        results[method] = _method_result(same, distances, pairs, thresholds.get(method))
        if method == "vector":
            ratio, notes = _wdr(same, distances, pairs, clips)
    matched = evaluate_matching(embedder, questions, embeddings) if questions else {}
    damaged = [f"{video.path}: {note}" for video in embeddings.values() for note in video.notes]
    return EvaluationResult(
        split=split,
        num_videos=len(embeddings),
        num_pairs=len(pairs),
        num_same=int(same.sum()),
        methods=results,
        wdr=ratio,
        matching_accuracy=matched["vector"].accuracy[1] if matched else None,
        num_matching=len(questions),
        matching=matched,
        notes=(*notes, *damaged),
    )


def embed_videos(
    embedder: VideoEmbedder,
    videos: Iterable[Path],
    *,
    clips: Iterable[Clip] = (),
    progress: Progress | None = None,
) -> dict[Path, VideoEmbedding]:
    """Embed videos, each once.

    Args:
        embedder: the model.
        videos: paths; repeats are fine.
        clips: where a video is one of these, the clip's start and end hold.
        progress: called with (videos done, videos in all), also before the first.

    Raises:
        VideoError: if a video cannot be used, or is such that it cannot be compared.
    """
    parts = {clip.video: (clip.start, clip.end) for clip in clips}
    paths = list(dict.fromkeys(videos))
    embeddings: dict[Path, VideoEmbedding] = {}
    for done, path in enumerate(paths):
        if progress is not None:
            progress(done, len(paths))
        start, end = parts.get(path, (None, None))
        embeddings[path] = embedder.embed(path, start=start, end=end)
        for method in METHODS:
            check_direction(embeddings[path], method=method)
    if progress is not None:
        progress(len(paths), len(paths))
    return embeddings


def pair_distances(
    embeddings: Mapping[Path, VideoEmbedding], pairs: Sequence[Pair], *, method: Method
) -> NDArray[np.float64]:
    """The distances of P pairs by `method`, float64 (P,); every video must be in `embeddings`."""
    parts = [np.empty(0)]
    for row in range(0, len(pairs), PAIRS_AT_A_TIME):
        left, right = (
            [embeddings[video] for video in side]
            for side in zip(*((p.video_a, p.video_b) for p in pairs[row : row + PAIRS_AT_A_TIME]), strict=True)
        )
        if method == "vector":
            parts.append(vector_distances([v.vector for v in left], [v.vector for v in right]))
        else:
            parts.append(alignment_distances([v.frame_features for v in left], [v.frame_features for v in right]))
    return np.concatenate(parts)


def _method_result(
    same: NDArray[np.bool_], distances: NDArray[np.float64], pairs: Sequence[Pair], threshold: float | None
) -> MethodResult:
    eer_threshold, eer = equal_error_threshold(same, distances)
    accepted = None if threshold is None else distances <= threshold
    return MethodResult(
        auc=roc_auc(same, distances),
        auc_by_kind=auc_by_kind(same, distances, [pair.kind for pair in pairs]),
        eer=eer,
        eer_threshold=eer_threshold,
        threshold=threshold,
        accuracy=None if threshold is None else accuracy(same, distances, threshold),
        false_same=None if accepted is None else float(accepted[~same].mean()),
        false_different=None if accepted is None else float(1.0 - accepted[same].mean()),
    )


def _wdr(
    same: NDArray[np.bool_], distances: NDArray[np.float64], pairs: Sequence[Pair], clips: Iterable[Clip]
) -> tuple[float | None, list[str]]:
    """The weighted distance ratio, or None and why it cannot be computed."""
    steps = {clip.video: clip.steps for clip in clips}
    if any(video not in steps for pair in pairs for video in (pair.video_a, pair.video_b)):
        return None, ["no WDR: the steps of some videos are not known"]
    edits = np.array([edit_distance(steps[pair.video_a], steps[pair.video_b]) for pair in pairs])
    if (edits[~same] == 0).any():
        return None, ["no WDR: some pairs of different procedures have equal steps"]
    ratio = wdr(distances**2, same, edits)
    if not math.isfinite(ratio):
        return None, ["no WDR: the videos of all same pairs are equal"]
    return ratio, []
