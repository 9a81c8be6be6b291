"""How well videos follow a script: by the whole text, or step by step in order.

Letters: B videos of T frames, K steps, D dimensions. Everything is computed in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .alignment import unit_features
from .embedder import TextEmbedding, VideoEmbedding
from .errors import OptionError
from .spec import METHODS, Method

__all__ = ["MATCH_METHOD", "paragraph_scores", "script_scores", "step_scores"]

MATCH_METHOD: Final[Method] = "alignment"
"""The better one on the validation videos of the workbench."""

WEIGHT_OF_WEAKEST: Final = 0.2  # of the weakest step beside the mean of all; chosen on those videos too
_VALUES_AT_ONCE: Final = 4_000_000


def script_scores(
    videos: Sequence[VideoEmbedding], text: TextEmbedding, *, method: Method = MATCH_METHOD
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """How well each video follows a script; larger is better.

    `vector` is the cosine of v and the paragraph, as published. `alignment` lays the K steps in order over the frames
    (`step_scores`) and takes 0.8 of the mean of the steps and 0.2 of the weakest one: every step counts as much as any
    other, however long it takes, and one that cannot be found counts most.

    Args:
        videos: B videos, whose frames may differ in number.
        text: of the script, by the model that embedded the videos.
        method: of the two.

    Returns:
        The scores, float64 (B,) in [-1, 1], and the scores of the steps, float64 (B, K); None for `vector`.

    Raises:
        OptionError: if there is no such method, the embeddings come from different models, a feature has no direction,
            or `alignment` is asked for and a video comes without the features of its frames.
    """
    if method not in METHODS:
        raise OptionError(f"method {method!r} is not known; use one of {', '.join(METHODS)}")
    if method == "vector":
        vectors = [video.vector for video in videos]
        return (paragraph_scores(vectors, text.paragraph_feature) if vectors else np.empty(0)), None
    steps = np.empty((len(videos), len(text.steps)))
    lengths = np.array([len(video.frame_features) for video in videos], dtype=np.int64)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        features = np.array([videos[row].frame_features for row in rows.tolist()])
        steps[rows] = step_scores(features, text.sentence_features)
    return (1 - WEIGHT_OF_WEAKEST) * steps.mean(axis=1) + WEIGHT_OF_WEAKEST * steps.min(axis=1), steps


def paragraph_scores(vectors: ArrayLike, paragraph: ArrayLike) -> NDArray[np.float64]:
    """The cosine of each video's vector and the text of the whole script.

    Args:
        vectors: float (B, D).
        paragraph: float (D,).

    Returns:
        float64 (B,).

    Raises:
        OptionError: if the shapes do not fit, or a vector has no direction.
    """
    scores: NDArray[np.float64] = _cosines(
        unit_features(vectors, "vectors", dims=2), unit_features(paragraph, "paragraph", dims=1)
    )
    return scores


def step_scores(frame_features: ArrayLike, sentence_features: ArrayLike) -> NDArray[np.float64]:
    """How well each step of a script is seen in its place of each video.

    The frames are shared out among the steps in order, every step getting at least one, so that the sum of the cosines
    of frames and steps is largest (`alignment.monotonic_viterbi` with `visit_every_step`). A step's score is the mean
    cosine over its frames. With more steps than frames each frame stands several times, and may show several steps.

    Args:
        frame_features: float (B, T, D), in time order.
        sentence_features: float (K, D).

    Returns:
        float64 (B, K), in [-1, 1].

    Raises:
        OptionError: if the shapes do not fit, there is no frame or step, or a feature has no direction.
    """
    frames = np.asarray(frame_features)
    sentences = unit_features(sentence_features, "sentence_features", dims=2)
    if frames.ndim != 3 or 0 in frames.shape[1:]:
        raise OptionError(f"frame_features of shape {frames.shape} must be (B, T, D), with at least one frame")
    repeats = -(-len(sentences) // frames.shape[1])
    each = frames.shape[1] * (frames.shape[2] + 2 * repeats * len(sentences))
    count = max(1, _VALUES_AT_ONCE // each)
    scores = np.empty((len(frames), len(sentences)))
    for start in range(0, len(frames), count):
        cosines = _cosines(unit_features(frames[start : start + count], "frame_features", dims=3), sentences.T)
        scores[start : start + count] = _in_order(np.repeat(cosines, repeats, axis=1))
    return scores


def _in_order(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean cosine of each step's frames on the best path, (B, T, K) with T >= K -> (B, K)."""
    num_videos, num_frames, num_steps = cosines.shape
    best = np.full((num_videos, num_steps), -np.inf)
    best[:, 0] = cosines[:, 0, 0]
    advanced = np.zeros(cosines.shape, dtype=np.bool_)
    for t in range(1, num_frames):
        advanced[:, t, 1:] = best[:, :-1] >= best[:, 1:]
        best[:, 1:] = np.maximum(best[:, 1:], best[:, :-1])
        best += cosines[:, t]
    sums, counts = np.zeros((2, num_videos, num_steps))
    row, step = np.arange(num_videos), np.full(num_videos, num_steps - 1)
    for t in range(num_frames - 1, -1, -1):
        sums[row, step] += cosines[row, t, step]
        counts[row, step] += 1
        step = step - advanced[row, t, step]
    scores: NDArray[np.float64] = sums / counts
    return scores


def _cosines(units: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    if units.shape[-1] != others.shape[0]:
        raise OptionError(f"features of {units.shape[-1]} and {others.shape[0]} dimensions come from different models")
    return np.clip(units @ others, -1.0, 1.0)
