"""When a verdict is better left open: near the threshold, and on videos unlike those that the threshold comes from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

from .errors import BundleError
from .json_values import get_typed

__all__ = ["Abstention", "Familiarity"]

Numbers = tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Familiarity:
    """What the videos of a calibration look like, and how far from it a video may be; see `familiarity`.

    Attributes:
        mean: (D,), of the frames' features at unit length.
        directions: (R, D), of largest variance, orthonormal.
        variances: (R,), along them, and `rest`, along every other one; positive.
        limit: a video that is stranger is unlike them.
        videos: how many they were.
    """

    mean: Numbers
    directions: tuple[Numbers, ...]
    variances: Numbers
    rest: float
    limit: float
    videos: int

    def __post_init__(self) -> None:
        fits = len(self.directions) == len(self.variances) and {*map(len, self.directions)} <= {len(self.mean)}
        numbers = [*self.mean, *self.variances, *(value for row in self.directions for value in row)]
        finite = bool(self.mean and self.directions) and all(map(math.isfinite, [*numbers, self.rest, self.limit]))
        if not (fits and finite and min((*self.variances, self.rest)) > 0 and self.limit >= 0):
            raise BundleError("the description of the calibration's videos is damaged; calibrate the bundle again")

    def to_json(self) -> dict[str, Any]:
        return {
            "mean": list(self.mean),
            "directions": [list(row) for row in self.directions],
            "variances": list(self.variances),
            "rest": self.rest,
            "limit": self.limit,
            "videos": self.videos,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            mean=_numbers(get_typed(data, "mean", list)),
            directions=tuple(_numbers(row) for row in get_typed(data, "directions", list)),
            variances=_numbers(get_typed(data, "variances", list)),
            rest=get_typed(data, "rest", float),
            limit=get_typed(data, "limit", float),
            videos=get_typed(data, "videos", int),
        )


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


def _numbers(values: Sequence[Any]) -> Numbers:
    return tuple(float(value) for value in values)
