"""When a verdict is better left open: near the threshold, and on videos unlike those that the threshold comes from.

What the calibration's videos look like is kept as a normal distribution of their frames' features, at unit length: its
mean, its R directions of largest variance, and one variance for all others (probabilistic principal components). How
strange a video is, is the mean over its frames of the distance from there in standard deviations, scaled so that frames
of that distribution have about 1. The limit comes from videos that were held out, whole groups of them where the pairs
form groups, so that a task that calibration did not see is no reason to abstain, but another kind of footage is.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from .errors import BundleError, OptionError
from .json_values import get_typed

__all__ = ["MIN_VIDEOS", "Abstention", "Familiarity", "describe_videos"]

MIN_VIDEOS: Final = 8
"""Fewer videos than these say nothing about what others look like."""

_RANK: Final = 32
_QUANTILE: Final = 0.99
_FOLDS: Final = 5  # where the pairs link all videos to one group
_DIGITS: Final = 6
_LEAST_SHARE: Final = 1e-6  # of the variance, for a direction in which the videos do not differ at all

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Familiarity:
    """What the videos of a calibration look like, and how far from it a video may be.

    Attributes:
        mean: float64 (D,), of the frames' features at unit length.
        directions: float64 (R, D), of largest variance, orthonormal.
        variances: float64 (R,), along them, and `rest`, along every other one; positive.
        limit: a video that is stranger is unlike them.
        videos: how many they were.
    """

    mean: Floats
    directions: Floats
    variances: Floats
    rest: float
    limit: float
    videos: int

    def __post_init__(self) -> None:
        arrays = (self.mean, self.directions, self.variances)
        shapes = tuple(array.shape for array in arrays)
        fits = self.directions.ndim == 2 and shapes == (shapes[1][1:], shapes[1], shapes[1][:1])
        numbers = all(np.isfinite(array).all() for array in arrays) and math.isfinite(self.limit)
        if not (fits and numbers and (self.variances > 0).all() and 0 < self.rest < math.inf and self.limit >= 0):
            raise BundleError(f"a description of the calibration's videos of shapes {shapes} cannot be used")

    def strangeness(self, frame_features: NDArray[np.float32]) -> float:
        """How far a video is from those of the calibration.

        Args:
            frame_features: float (T, D), H; none of its rows is zero.

        Raises:
            BundleError: if they come from another model.
        """
        if frame_features.shape[-1:] != self.mean.shape:
            raise BundleError(
                f"the calibration's videos have features of {len(self.mean)} dimensions, this one has "
                f"{frame_features.shape[-1]}; calibrate the bundle again"
            )
        return float(self._strangeness(_unit(frame_features[None]))[0])

    def knows(self, frame_features: NDArray[np.float32]) -> bool:
        """Whether a video is like those of the calibration. See `strangeness`."""
        return bool(frame_features.any(axis=-1).all()) and self.strangeness(frame_features) <= self.limit

    def to_json(self) -> dict[str, Any]:
        return {
            "mean": self.mean.tolist(),
            "directions": self.directions.tolist(),
            "variances": self.variances.tolist(),
            "rest": self.rest,
            "limit": self.limit,
            "videos": self.videos,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        arrays = {key: np.array(get_typed(data, key, list), np.float64) for key in ("mean", "directions", "variances")}
        return cls(
            **arrays,
            rest=get_typed(data, "rest", float),
            limit=get_typed(data, "limit", float),
            videos=get_typed(data, "videos", int),
        )

    def _strangeness(self, unit: Floats) -> Floats:
        """Of B videos, unit features (B, T, D) -> (B,)."""
        offset = unit - self.mean
        along = offset @ self.directions.T
        other = np.maximum((offset**2).sum(axis=-1) - (along**2).sum(axis=-1), 0.0)
        squares = (along**2 / self.variances).sum(axis=-1) + other / self.rest
        return np.asarray(np.sqrt(squares / len(self.mean)).mean(axis=-1), dtype=np.float64)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Abstention:
    """When a bundle leaves a verdict open.

    Attributes:
        low, high: from which to which distance, both included; the threshold's interval of 95 %.
        familiarity: which videos it knows.
    """

    low: float
    high: float
    familiarity: Familiarity

    def __post_init__(self) -> None:
        if not (0 <= self.low <= self.high < math.inf):
            raise BundleError(f"verdicts left open from {self.low} to {self.high} must be distances in this order")

    def to_json(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "familiarity": self.familiarity.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            low=get_typed(data, "low", float),
            high=get_typed(data, "high", float),
            familiarity=Familiarity.from_json(get_typed(data, "familiarity", dict)),
        )


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
    unit = _unit(np.stack(frame_features))
    fold = np.asarray(groups)
    if len(set(groups)) < 3:
        fold = np.arange(len(unit)) % _FOLDS
    held_out = [_fitted(unit[fold != one])._strangeness(unit[fold == one]) for one in np.unique(fold)]
    limit = float(np.quantile(np.concatenate(held_out), _QUANTILE))
    return dataclasses.replace(_fitted(unit), limit=limit)


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
        directions=_rounded(vectors[:, ::-1].T[:rank]),
        variances=_rounded(variances[::-1][:rank]),
        rest=float(variances[: dimensions - rank].mean()),
        limit=0.0,
        videos=len(unit),
    )


def _unit(features: NDArray[Any]) -> Floats:
    values = features.astype(np.float64)
    return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True), dtype=np.float64)


def _rounded(values: Floats) -> Floats:
    """To the digits that matter, so that a manifest stays small."""
    return np.array([float(f"{value:.{_DIGITS}g}") for value in values.flat]).reshape(values.shape)
