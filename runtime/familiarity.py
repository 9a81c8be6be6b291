"""Whether a video is like those that a threshold was calibrated on.

What those look like is kept as a normal distribution of their frames' features, at unit length: its mean, its R
directions of largest variance, and one variance for all others (probabilistic principal components). How strange a
video is, is the mean over its frames of the distance from there in standard deviations, scaled so that frames of that
distribution have about 1. The limit comes from videos that were held out, whole groups of them where the pairs form
groups, so that a task that calibration did not see is no reason to abstain, but another kind of footage is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .abstention import Familiarity
from .alignment import unit_rows
from .errors import BundleError, OptionError

__all__ = ["MIN_VIDEOS", "describe_videos", "knows", "strangeness"]

MIN_VIDEOS: Final = 8
"""Fewer videos than these say nothing about what others look like."""

_RANK: Final = 32
_QUANTILE: Final = 0.99
_FOLDS: Final = 5  # where the pairs link all videos to one group
_DIGITS: Final = 6
_LEAST_SHARE: Final = 1e-6  # of the variance, for a direction in which the videos do not differ at all

Floats = NDArray[np.float64]


def strangeness(known: Familiarity, frame_features: NDArray[np.float32]) -> float:
    """How far a video is from those that are known.

    Args:
        frame_features: float (T, D), H; none of its rows is zero.

    Raises:
        BundleError: if they come from another model.
    """
    if frame_features.shape[-1] != len(known.mean):
        raise BundleError(
            f"the calibration's videos have features of {len(known.mean)} dimensions, this one has "
            f"{frame_features.shape[-1]}; calibrate the bundle again"
        )
    return float(_strangeness(known, unit_rows(frame_features[None]))[0])


def knows(known: Familiarity, frame_features: NDArray[np.float32]) -> bool:
    """Whether a video, float (T, D), is like those that are known. Raises as `strangeness` does."""
    return bool(frame_features.any(axis=-1).all()) and strangeness(known, frame_features) <= known.limit


def describe_videos(frame_features: Sequence[NDArray[np.float32]], groups: Sequence[int]) -> Familiarity:
    """What videos look like.

    Args:
        frame_features: of B videos, each float (T, D).
        groups: B numbers, equal for videos that have something in common; whole groups are held out, one after another.
            With fewer than three groups every fifth video is.

    Raises:
        OptionError: if there are too few videos, or they all look the same.
    """
    if len(frame_features) < MIN_VIDEOS:
        raise OptionError(
            f"{len(frame_features)} videos are too few to say which other ones are unlike them; calibrate with at "
            f"least {MIN_VIDEOS}, or without --abstain"
        )
    unit = unit_rows(np.stack(frame_features))
    fold = np.asarray(groups)
    if len(set(groups)) < 3:
        fold = np.arange(len(unit)) % _FOLDS
    held_out = [_strangeness(_fitted(unit[fold != one]), unit[fold == one]) for one in np.unique(fold)]
    limit = float(np.quantile(np.concatenate(held_out), _QUANTILE))
    return dataclasses.replace(_fitted(unit), limit=limit)


def _strangeness(known: Familiarity, unit: Floats) -> Floats:
    """Of B videos, unit features (B, T, D) -> (B,)."""
    offset = unit - np.array(known.mean)
    along = offset @ np.array(known.directions).T
    other = np.maximum((offset**2).sum(axis=-1) - (along**2).sum(axis=-1), 0.0)
    squares = (along**2 / np.array(known.variances)).sum(axis=-1) + other / known.rest
    return np.asarray(np.sqrt(squares / len(known.mean)).mean(axis=-1), dtype=np.float64)


def _fitted(unit: Floats) -> Familiarity:
    """The description of B videos, unit features (B, T, D), without a limit."""
    frames = unit.reshape(-1, unit.shape[-1])
    dimensions = frames.shape[1]
    rank = min(_RANK, dimensions // 2)
    mean = frames.mean(axis=0)
    variances, vectors = np.linalg.eigh(np.cov((frames - mean).T))
    total = float(variances.sum())
    if not total > 1e-12:
        raise OptionError("the calibration's videos all look the same; calibrate with others, or without --abstain")
    variances = np.maximum(variances, _LEAST_SHARE * total)
    return Familiarity(
        mean=_rounded(mean),
        directions=tuple(map(_rounded, vectors[:, ::-1].T[:rank])),
        variances=_rounded(variances[::-1][:rank]),
        rest=float(variances[: dimensions - rank].mean()),
        limit=0.0,
        videos=len(unit),
    )


def _rounded(values: Floats) -> tuple[float, ...]:
    """To the digits that matter, so that a manifest stays small."""
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
