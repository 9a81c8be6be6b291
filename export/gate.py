"""Accept an exported model only if it computes what its source computes, on real frames, on the files as written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.embedder import Embedder, VideoEmbedding
from ..runtime.errors import ExportError
from ..runtime.evaluate import embed_videos, pair_distances
from ..runtime.manifest import Clip, Pair
from ..runtime.metrics import equal_error_threshold, roc_auc
from ..runtime.spec import METHODS, Method

__all__ = ["BATCH_SIZES", "MAX_DIFFERENCE", "GateReport", "check_embeddings", "check_roles"]

MAX_DIFFERENCE = 1e-4
"""Largest accepted difference of any fp32 output; features and vectors are of the order of 1."""

MAX_AUC_CHANGE = 5e-5
"""So that the AUC of source and export agree to four digits."""

BATCH_SIZES = (1, 2, 7)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibrated:
    """One way to compare on the calibration pairs: AUC, and the threshold at the equal error rate."""

    auc: float
    source_auc: float
    threshold: float
    eer: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateReport:
    """What was compared, and what came out.

    Attributes:
        max_difference: largest absolute difference by output, e.g. `vision` or `video_vector`.
        methods: by way to compare.
        num_pairs, num_same: pairs behind them.
        flips: verdicts that differ between source and export, each at its own threshold.
    """

    max_difference: Mapping[str, float]
    methods: Mapping[Method, Calibrated]
    num_pairs: int
    num_same: int
    flips: int

    def to_json(self) -> dict[str, Any]:
        methods = {name: dataclasses.asdict(value) for name, value in self.methods.items()}
        return {**dataclasses.asdict(self), "max_difference": dict(self.max_difference), "methods": methods}


def _difference(name: str, source: NDArray[Any], exported: NDArray[Any], where: str) -> float:
    if source.shape != exported.shape:
        raise ExportError(f"{name}: {where}: the export gives shape {exported.shape}, its source {source.shape}")
    difference = float(np.abs(source.astype(np.float64) - exported).max())
    if not difference <= MAX_DIFFERENCE:
        raise ExportError(
            f"{name}: {where}: the export differs from PyTorch by {difference:.3g}, more than {MAX_DIFFERENCE:g}; "
            "nothing was written"
        )
    return difference


def check_roles(
    source: Embedder, exported: Embedder, frames: NDArray[np.uint8], steps: Sequence[str]
) -> dict[str, float]:
    """Compare every network on several batch sizes.

    Args:
        source: over PyTorch.
        exported: over the files as written.
        frames: uint8 (n, H, W, 3), real frames, at least the temporal network's T.
        steps: real step texts.

    Returns:
        Largest absolute difference by role.

    Raises:
        ExportError: if one is larger than `MAX_DIFFERENCE`.
    """
    from ..runtime.preprocess import normalize

    num_frames = source.sampling.num_frames
    worst: dict[str, float] = {}
    for size in BATCH_SIZES:
        pixels = normalize(np.resize(frames, (max(size, num_frames), *frames.shape[1:])), source.preprocess)
        features = source.backend.run("vision", {"frames": pixels})["features"]
        clips = np.resize(features, (size, num_frames, features.shape[1]))
        clips = clips * np.linspace(0.5, 1.5, size, dtype=np.float32)[:, None, None]
        inputs: dict[str, dict[str, NDArray[Any]]] = {
            "vision": {"frames": pixels[:size]},
            "temporal": {"features": clips},
        }
        if source.tokenizer is not None:
            inputs["text"] = {"tokens": source.tokenizer([steps[i % len(steps)] for i in range(size)])}
        for role, tensors in inputs.items():
            wanted, found = source.backend.run(role, tensors), exported.backend.run(role, tensors)
            for output, array in wanted.items():
                difference = _difference(f"{role} ({output})", array, found[output], f"batch of {size}")
                worst[role] = max(worst.get(role, 0.0), difference)
    return worst


def _verdict_columns(
    embeddings: Mapping[Path, VideoEmbedding], pairs: Sequence[Pair], same: NDArray[np.bool_], method: Method
) -> tuple[float, float, float, NDArray[np.bool_]]:
    """AUC, threshold, equal error rate, and the verdicts at that threshold."""
    distances = pair_distances(embeddings, pairs, method=method)
    threshold, eer = equal_error_threshold(same, distances)
    return roc_auc(same, distances), threshold, eer, distances <= threshold


def check_embeddings(
    source: Embedder, exported: Embedder, *, clips: Sequence[Clip], pairs: Sequence[Pair]
) -> GateReport:
    """Compare end to end on pairs of real videos, and calibrate the export's thresholds on them.

    Raises:
        ExportError: if an embedding differs by more than `MAX_DIFFERENCE`, or an AUC by more than `MAX_AUC_CHANGE`.
        VideoError: if a video cannot be used.
    """
    videos = [path for pair in pairs for path in (pair.video_a, pair.video_b)]
    wanted = embed_videos(source, videos, clips=clips)
    found = embed_videos(exported, videos, clips=clips)
    worst = {"video_vector": 0.0, "frame_features": 0.0}
    for path, embedding in wanted.items():
        other = found[path]
        vector = _difference("video_vector", embedding.vector, other.vector, str(path))
        features = _difference("frame_features", embedding.frame_features, other.frame_features, str(path))
        worst = {
            "video_vector": max(worst["video_vector"], vector),
            "frame_features": max(worst["frame_features"], features),
        }
    same = np.array([pair.same for pair in pairs])
    methods: dict[Method, Calibrated] = {}
    flips = 0
    for method in METHODS:
        source_auc, _, _, source_verdicts = _verdict_columns(wanted, pairs, same, method)
        auc, threshold, eer, verdicts = _verdict_columns(found, pairs, same, method)
        if abs(auc - source_auc) > MAX_AUC_CHANGE:
            raise ExportError(f"{method}: the export's AUC is {auc:.6f}, PyTorch's {source_auc:.6f}; nothing was written")
        flips += int((verdicts != source_verdicts).sum())
        methods[method] = Calibrated(auc=auc, source_auc=source_auc, threshold=threshold, eer=eer)
    return GateReport(
        max_difference=worst, methods=methods, num_pairs=len(pairs), num_same=int(same.sum()), flips=flips
    )
