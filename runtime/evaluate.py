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
from .operating_point import EQUAL_ERROR, Curve
from .resampling import Links
from .spec import METHODS, Method
from .verify import check_direction

__all__ = ["EvaluationResult", "MethodResult", "Split", "VideoEmbedder", "embed_videos", "evaluate", "pair_distances"]

Split = Literal["val", "test"]
Progress = Callable[[int, int], None]
Interval = tuple[float, float]

SCHEMA: Final = "weaksvr.evaluate/1"
PAIRS_AT_A_TIME: Final = 256
RESAMPLES: Final = 2000
ROUNDING: Final = 1e-12  # what is left of squared distances between equal videos
ORIENTATION: Final = MappingProxyType({"positive": "same", "score": "-distance", "perfect": 1.0, "chance": 0.5})
"""How every AUC of pairs is to be read."""


class VideoEmbedder(Protocol):
    """What is evaluated; `Embedder` is one."""

    def embed(self, path: Path, *, start: float | None = None, end: float | None = None) -> VideoEmbedding: ...

    def embed_text(self, steps: Sequence[str]) -> TextEmbedding: ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MethodResult:
    """What one way to compare is worth.

    Attributes:
        auc: area under the ROC curve, positive = same, score = minus the distance: 1.0 is perfect, 0.5 chance.
        auc_by_kind: the same for the different pairs of one kind against all same pairs.
        eer: equal error rate on these pairs, in [0, 1], and `eer_threshold`, where it is reached.
        wdr: weighted distance ratio, more is better; distances that tell nothing have the mean of 1 / edit distance.
            Of `vector` the published one, from squared normalised distances; of `alignment` from its distance as it
            is, which is made of 1 - cosine, half of a squared normalised distance. None if it cannot be computed (see
            the result's notes).
        intervals: of 95 %, by bootstrap, by name: `auc`, `eer`, and `wdr` where there is one and the pairs are enough
            for an interval.
        threshold: the model's, None if it has none.
        accuracy: share of right verdicts at `threshold`; None without one.
        false_same: share of different pairs that pass as the same at `threshold`; None without one.
        false_different: share of same pairs that do not pass at `threshold`; None without one.
    """

    auc: float
    auc_by_kind: Mapping[str, float]
    eer: float
    eer_threshold: float
    wdr: float | None
    intervals: Mapping[str, Interval]
    threshold: float | None
    accuracy: float | None
    false_same: float | None
    false_different: float | None

    def to_json(self) -> dict[str, Any]:
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        intervals = {name: list(bounds) for name, bounds in self.intervals.items()}
        return {**data, "auc_by_kind": dict(self.auc_by_kind), "intervals": intervals}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationResult:
    """What a model is worth on one split of a dataset.

    Attributes:
        num_videos, num_pairs, num_same: how much was compared; `num_same` of the pairs are the same.
        groups: sets of videos that share no pair with each other, directly or through others.
        unit: what the bootstrap of the pairs draws anew, see `resampling`: whole groups, or videos where there are
            fewer than 20 groups.
        methods: by way to compare.
        wdr: of `vector`, which is the published measure; None if it cannot be computed (see `notes`).
        wdr_chance: what distances that tell nothing give: the mean of 1 / edit distance of the different pairs; None
            where no edit distances can be computed.
        matching: what each way to score videos for a script is worth; empty without matching questions.
        matching_accuracy: `accuracy[1]` of `vector`, which is the published measure; None without matching questions.
        num_matching: questions behind it.
        notes: what a user should know.
    """

    split: Split
    num_videos: int
    num_pairs: int
    num_same: int
    groups: int
    unit: Literal["groups", "videos"]
    methods: Mapping[Method, MethodResult]
    wdr: float | None
    wdr_chance: float | None
    matching_accuracy: float | None
    num_matching: int
    matching: Mapping[Method, MatchingResult]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        methods = {name: result.to_json() for name, result in self.methods.items()}
        matching = {name: result.to_dict() for name, result in self.matching.items()}
        shown = {"orientation": dict(ORIENTATION), "methods": methods, "matching": matching, "notes": list(self.notes)}
        return {"schema": SCHEMA, **data, **shown}


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
    links = Links.of([(pair.video_a, pair.video_b) for pair in pairs])
    edits, notes = _edit_distances(pairs, clips)
    results: dict[Method, MethodResult] = {}
    for method in METHODS:
        distances = pair_distances(embeddings, pairs, method=method)
        results[method] = _method_result(
            same, distances, pairs, method=method, threshold=thresholds.get(method), edits=edits, links=links
        )
        if edits is not None and results[method].wdr is None:
            notes.append(f"no WDR of {method}: the videos of all same pairs are equal")
    matched = evaluate_matching(embedder, questions, embeddings) if questions else {}
    damaged = [f"{video.path}: {note}" for video in embeddings.values() for note in video.notes]
    return EvaluationResult(
        split=split,
        num_videos=len(embeddings),
        num_pairs=len(pairs),
        num_same=int(same.sum()),
        groups=links.num_groups,
        unit=links.unit,
        methods=results,
        wdr=results["vector"].wdr,
        wdr_chance=None if edits is None else float((1 / edits[~same]).mean()),
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
    same: NDArray[np.bool_],
    distances: NDArray[np.float64],
    pairs: Sequence[Pair],
    *,
    method: Method,
    threshold: float | None,
    edits: NDArray[np.int64] | None,
    links: Links,
) -> MethodResult:
    eer_threshold, eer = equal_error_threshold(same, distances)
    accepted = None if threshold is None else distances <= threshold
    squared = distances**2 if method == "vector" else distances  # alignment adds up halves of squared distances
    has_ratio = edits is not None and squared[same].mean() > ROUNDING
    ratio = wdr(squared, same, edits) if edits is not None and has_ratio else None
    weighted = None if edits is None or not has_ratio else squared / np.where(same, 1, edits)
    return MethodResult(
        auc=roc_auc(same, distances),
        auc_by_kind=auc_by_kind(same, distances, [pair.kind for pair in pairs]),
        eer=eer,
        eer_threshold=eer_threshold,
        wdr=ratio,
        intervals=_intervals(same, distances, weighted, links, separated=eer == 0),
        threshold=threshold,
        accuracy=None if threshold is None else accuracy(same, distances, threshold),
        false_same=None if accepted is None else float(accepted[~same].mean()),
        false_different=None if accepted is None else float(1.0 - accepted[same].mean()),
    )


def _edit_distances(pairs: Sequence[Pair], clips: Iterable[Clip]) -> tuple[NDArray[np.int64] | None, list[str]]:
    """The edit distance of every pair's steps, int64 (P,), and what is to be said of it; None where there is no WDR."""
    steps = {clip.video: clip.steps for clip in clips}
    if any(video not in steps for pair in pairs for video in (pair.video_a, pair.video_b)):
        return None, ["no WDR: the steps of some videos are not known"]
    edits = np.array([edit_distance(steps[pair.video_a], steps[pair.video_b]) for pair in pairs], dtype=np.int64)
    if any(edit == 0 and not pair.same for edit, pair in zip(edits, pairs, strict=True)):
        return None, ["no WDR: some pairs of different procedures have equal steps"]
    reworded = sum(edit > 0 and pair.same for edit, pair in zip(edits, pairs, strict=True))
    if reworded:
        return edits, [f"WDR: in {reworded} same pairs the steps are worded differently, so edits count wordings too"]
    return edits, []


def _intervals(
    same: NDArray[np.bool_],
    distances: NDArray[np.float64],
    weighted: NDArray[np.float64] | None,
    links: Links,
    *,
    separated: bool,
) -> dict[str, Interval]:
    """Intervals of 95 % of the AUC, the equal error rate and the WDR, whose terms d or d / e `weighted` are, (P,)."""
    drawn: dict[str, list[NDArray[np.float64]]] = {"auc": [], "eer": [], "wdr": []}
    for weights in links.resamples(same, RESAMPLES):
        curve = Curve(same, distances, weights)
        drawn["auc"].append(curve.auc)
        drawn["eer"].append(np.mean(curve.rates(curve.choose(EQUAL_ERROR)), axis=0))
        if weighted is not None:
            different, matched = (
                weights[:, rows] @ weighted[rows] / weights[:, rows].sum(axis=1) for rows in (~same, same)
            )
            with np.errstate(divide="ignore", invalid="ignore"):
                drawn["wdr"].append(np.where(matched > ROUNDING, different / matched, np.inf))
    intervals = {name: _middle(np.concatenate(values)) for name, values in drawn.items() if values}
    if separated:
        intervals |= links.separated(same, distances)
    low, high = intervals.get("wdr", (0.0, 0.0))
    if not low < high < math.inf:  # all draws hold the same pairs, or one holds no same pair of different videos
        intervals.pop("wdr", None)
    return intervals


def _middle(values: NDArray[np.float64]) -> Interval:
    """Where the middle 95 % of the values lie; `lower` and `higher` ones, as some may be infinite."""
    return float(np.quantile(values, 0.025, method="lower")), float(np.quantile(values, 0.975, method="higher"))
