"""Accept an exported model only if it computes what its source computes, on real frames.

What is asked for:

- every network alone, on several batch sizes: the largest difference of an output is at most `MAX_DIFFERENCE` of that
  output's root mean square, as towers differ in the size of their features;
- H and v of every calibration video, from the file to the embedding: the largest difference is at most
  `MAX_DIFFERENCE`, and at most that share of their root mean square, so that small embeddings are checked as strictly;
- the AUC of both ways to compare: equal to four digits.

Rounding in fp32 stays about 30 times below the first two.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.embedder import Embedder, VideoEmbedding
from ..runtime.errors import ExportError
from ..runtime.evaluate import pair_distances
from ..runtime.manifest import Clip, Pair
from ..runtime.metrics import equal_error_threshold, roc_auc
from ..runtime.preprocess import normalize
from ..runtime.spec import METHODS, Method
from ..runtime.verify import check_direction

__all__ = [
    "BATCH_SIZES",
    "MAX_AUC_CHANGE",
    "MAX_DIFFERENCE",
    "GateReport",
    "MethodReport",
    "check_pairs",
    "check_roles",
]

MAX_DIFFERENCE = 1e-4
"""Largest accepted difference, see above."""

MAX_AUC_CHANGE = 5e-5
"""So that the AUC of source and export agree to four digits."""

BATCH_SIZES = (1, 2, 7, 64)
"""One, the smallest that is not one, an odd one, and one larger than the deployed code uses."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodReport:
    """One way to compare on the calibration pairs.

    Attributes:
        auc: the export's.
        source_auc: PyTorch's.
        threshold: the export's, where both kinds of error are equally frequent, and `eer`, how frequent they are.
        flips: verdicts that differ between source and export, each at its own such threshold.
    """

    auc: float
    source_auc: float
    threshold: float
    eer: float
    flips: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateReport:
    """What came out on the calibration pairs.

    Attributes:
        max_difference: largest absolute difference of `video_vector` and `frame_features`.
        methods: by way to compare.
        num_videos, num_pairs, num_same: what was compared.
    """

    max_difference: Mapping[str, float]
    methods: Mapping[Method, MethodReport]
    num_videos: int
    num_pairs: int
    num_same: int

    @property
    def default_method(self) -> Method:
        """The way to compare with the higher AUC; of equals the alignment, on which weights are chosen as well."""
        return max(("alignment", "vector"), key=lambda method: self.methods[method].auc)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def check_roles(
    source: Embedder, exported: Embedder, frames: NDArray[np.uint8], texts: Sequence[str]
) -> dict[str, float]:
    """Compare every network alone on every one of `BATCH_SIZES`.

    Args:
        source: over PyTorch.
        exported: over the exported networks.
        frames: uint8 (n, H, W, 3), real frames; repeated if there are fewer than are needed.
        texts: real steps and paragraphs; repeated as well.

    Returns:
        Largest difference by role, as a share of the root mean square of PyTorch's output.

    Raises:
        ExportError: if one is larger than `MAX_DIFFERENCE`.
    """
    inputs = _role_inputs(source, frames, texts)
    worst = dict.fromkeys(inputs, 0.0)
    for role, (name, rows) in inputs.items():
        for size in BATCH_SIZES:
            batch = {name: rows[:size]}
            wanted, found = source.backend.run(role, batch), exported.backend.run(role, batch)
            for output, array in wanted.items():
                what = f"the {role} network, {output}, batch of {size}"
                difference = _difference(what, array, found[output])
                scale = _scale(array)
                _accept(what, difference, MAX_DIFFERENCE * scale)
                worst[role] = max(worst[role], difference / scale if scale else 0.0)
    return worst


def _role_inputs(
    source: Embedder, frames: NDArray[np.uint8], texts: Sequence[str]
) -> dict[str, tuple[str, NDArray[Any]]]:
    """The input tensor of every role, with as many different rows as the largest batch has."""
    size, T = max(BATCH_SIZES), source.sampling.num_frames
    pixels = normalize(np.resize(frames, (max(size, T), *frames.shape[1:])), source.preprocess)
    features = source.backend.run("vision", {"frames": pixels})["features"]
    windows = (np.arange(size)[:, None] + np.arange(T)) % len(features)  # (B, T), each row starts a frame later
    inputs: dict[str, tuple[str, NDArray[Any]]] = {
        "vision": ("frames", pixels[:size]),
        "temporal": ("features", features[windows]),
    }
    if source.tokenizer is not None:
        inputs["text"] = ("tokens", source.tokenizer([texts[row % len(texts)] for row in range(size)]))
    return inputs


def check_pairs(
    source: Embedder,
    exported: Embedder,
    *,
    clips: Sequence[Clip],
    pairs: Sequence[Pair],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> GateReport:
    """Compare on pairs of real videos, from the file to the verdict, and calibrate the export's thresholds on them.

    Args:
        source: over PyTorch.
        exported: over the exported networks.
        clips: where a video is one of these, the clip's start and end hold.
        pairs: of both kinds.
        progress: called with (videos done, videos in all), also before the first.

    Raises:
        ExportError: if an embedding differs by more than `MAX_DIFFERENCE`, or an AUC by more than `MAX_AUC_CHANGE`.
        VideoError: if a video cannot be used.
    """
    videos = list(dict.fromkeys(path for pair in pairs for path in (pair.video_a, pair.video_b)))
    parts = {clip.video: (clip.start, clip.end) for clip in clips}
    wanted: dict[Path, VideoEmbedding] = {}
    found: dict[Path, VideoEmbedding] = {}
    worst = {"video_vector": 0.0, "frame_features": 0.0}
    for done, path in enumerate(videos):
        progress(done, len(videos))
        start, end = parts.get(path, (None, None))
        sampled = source.read(path, start=start, end=end)
        wanted[path], found[path] = source.embed_sampled(sampled), exported.embed_sampled(sampled)
        for method in METHODS:
            check_direction(wanted[path], method=method)
        differences = _embedding_differences(wanted[path], found[path])
        worst = {name: max(worst[name], value) for name, value in differences.items()}
    progress(len(videos), len(videos))
    same = np.array([pair.same for pair in pairs])
    return GateReport(
        max_difference=worst,
        methods={method: _method_report(wanted, found, pairs, same, method) for method in METHODS},
        num_videos=len(videos),
        num_pairs=len(pairs),
        num_same=int(same.sum()),
    )


def _embedding_differences(wanted: VideoEmbedding, found: VideoEmbedding) -> dict[str, float]:
    outputs = {
        "video_vector": (wanted.vector, found.vector),
        "frame_features": (wanted.frame_features, found.frame_features),
    }
    differences = {}
    for name, (array, other) in outputs.items():
        what = f"{wanted.path}: {name}"
        differences[name] = _difference(what, array, other)
        _accept(what, differences[name], MAX_DIFFERENCE * min(1.0, _scale(array)))
    return differences


def _method_report(
    wanted: Mapping[Path, VideoEmbedding],
    found: Mapping[Path, VideoEmbedding],
    pairs: Sequence[Pair],
    same: NDArray[np.bool_],
    method: Method,
) -> MethodReport:
    source_distances = pair_distances(wanted, pairs, method=method)
    distances = pair_distances(found, pairs, method=method)
    source_auc, auc = roc_auc(same, source_distances), roc_auc(same, distances)
    if abs(auc - source_auc) > MAX_AUC_CHANGE:
        raise ExportError(
            f"{method}: the export's AUC is {auc:.6f}, PyTorch's {source_auc:.6f}: the model hardly tells the videos "
            "apart, so that rounding decides; train it further"
        )
    source_threshold, _ = equal_error_threshold(same, source_distances)
    threshold, eer = equal_error_threshold(same, distances)
    flips = int(((distances <= threshold) != (source_distances <= source_threshold)).sum())
    return MethodReport(auc=auc, source_auc=source_auc, threshold=threshold, eer=eer, flips=flips)


def _difference(what: str, wanted: NDArray[Any], found: NDArray[Any]) -> float:
    """Largest absolute difference; NaN if there is one on either side."""
    if wanted.shape != found.shape:
        raise ExportError(f"{what}: the export gives shape {found.shape}, PyTorch {wanted.shape}; nothing was written")
    if not np.isfinite(wanted).all():
        raise ExportError(f"{what}: PyTorch itself computes values that are no numbers; train the model again")
    return float(np.abs(wanted.astype(np.float64) - found).max())


def _scale(array: NDArray[Any]) -> float:
    """Root mean square."""
    return float(np.sqrt(np.square(array, dtype=np.float64).mean()))


def _accept(what: str, difference: float, limit: float) -> None:
    if not difference <= limit:  # so put, NaN is refused
        raise ExportError(
            f"{what}: the export differs from PyTorch by {difference:.3g}, more than {limit:.3g}; nothing was written"
        )
