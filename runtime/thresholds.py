"""Thresholds as a bundle keeps them: from which distance on two videos differ, and how sure that is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from .abstention import Abstention
from .errors import BundleError
from .json_values import get_typed
from .spec import METHODS, Method

__all__ = ["Calibration", "CurvePoint", "Evidence", "Interval", "SameProbability", "Threshold", "known_method"]

Interval = tuple[float, float]
CurvePoint = tuple[float, float, float]
_INTERVALS: Final = ("threshold", "auc", "eer", "false_accept", "false_refuse")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SameProbability:
    """The chance that two videos at a distance are the same: 1 / (1 + exp(slope * distance - intercept)).

    It holds for pairs like those of the calibration, of which as large a share is the same. A slope is never negative,
    so the chance never rises with the distance.
    """

    intercept: float
    slope: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.intercept) and math.isfinite(self.slope) and self.slope >= 0):
            raise BundleError(f"probability of {self.intercept} and {self.slope} must be finite, its slope at least 0")

    def at(self, distance: float) -> float:
        """The chance at a distance, in [0, 1]."""
        exponent = self.slope * distance - self.intercept
        small = math.exp(-abs(exponent))  # in this form nothing overflows
        return small / (1 + small) if exponent > 0 else 1 / (1 + small)

    def to_json(self) -> dict[str, float]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(intercept=get_typed(data, "intercept", float), slope=get_typed(data, "slope", float))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What a calibration is founded on, and how sure it is. Rates are in [0, 1], intervals are those of 95 %.

    Attributes:
        at: the point that was asked for, e.g. `equal-error` or `false-accept=0.01`.
        false_accept: share of the different pairs that pass as the same at the threshold.
        false_refuse: share of the same pairs that do not pass.
        intervals: of `threshold`, `auc`, `eer`, `false_accept` and `false_refuse`.
        false_accept_bound, false_refuse_bound: with 95 % confidence, the rate on new pairs like these is not higher.
        independent_same, independent_different: independent pairs that would be worth as much, at most the number of
            pairs: pairs of one video resemble one another.
        resampled: what was drawn anew for the intervals, groups of linked videos or single videos.
        resamples: how often.
        videos: in the pairs.
        source: where the pairs come from, for people; `sha256` of their file, empty if there is none.
        picture: path of the report file that shows the ROC curve and the distances, empty if there is none.
        curve: what other thresholds would mean for the same pairs: ascending (threshold, share of the different pairs
            that pass, share of the same pairs that do not); empty in bundles of before there was any.
    """

    at: str
    false_accept: float
    false_refuse: float
    intervals: Mapping[str, Interval]
    false_accept_bound: float
    false_refuse_bound: float
    independent_same: float
    independent_different: float
    resampled: Literal["groups", "videos"]
    resamples: int
    videos: int
    source: str = ""
    sha256: str = ""
    picture: str = ""
    curve: tuple[CurvePoint, ...] = ()

    def __post_init__(self) -> None:
        if set(self.intervals) != set(_INTERVALS):
            raise BundleError(f"intervals of {', '.join(self.intervals)}, but must be of {', '.join(_INTERVALS)}")
        if self.resampled not in ("groups", "videos"):
            raise BundleError(f"resampled is {self.resampled!r}, but must be groups or videos")
        limits = [point[0] for point in self.curve]
        if limits != sorted(limits) or not all(0 <= rate <= 1 for _, *rates in self.curve for rate in rates):
            raise BundleError("the curve's thresholds must ascend, and its rates be between 0 and 1")

    def to_json(self) -> dict[str, Any]:
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        curve = [list(point) for point in data.pop("curve")]
        intervals = {name: list(interval) for name, interval in self.intervals.items()}
        return {**data, "intervals": intervals, **({"curve": curve} if curve else {})}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        kinds: dict[str, type] = dict.fromkeys(("at", "resampled", "source", "sha256", "picture"), str)
        kinds |= {"resamples": int, "videos": int}
        names = [field.name for field in dataclasses.fields(cls) if field.name not in ("intervals", "curve")]
        values: dict[str, Any] = {name: get_typed(data, name, kinds.get(name, float)) for name in names}
        return cls(
            **values,
            intervals={key: _interval(pair) for key, pair in get_typed(data, "intervals", dict).items()},
            curve=tuple(_point(point) for point in data.get("curve", ())),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """How a threshold was found: on how many pairs, of which `same` show the same procedure, and by which rule.

    Attributes:
        auc: area under the ROC curve on those pairs (positive = same).
        eer: equal error rate on those pairs, in [0, 1].
        evidence: None in bundles of before there was any.
    """

    pairs: int
    same: int
    auc: float
    eer: float
    rule: str
    evidence: Evidence | None = None

    def to_json(self) -> dict[str, Any]:
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        evidence = data.pop("evidence")
        return data if evidence is None else {**data, "evidence": evidence.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        evidence = None if data.get("evidence") is None else get_typed(data, "evidence", dict)
        return cls(
            pairs=get_typed(data, "pairs", int),
            same=get_typed(data, "same", int),
            auc=get_typed(data, "auc", float),
            eer=get_typed(data, "eer", float),
            rule=get_typed(data, "rule", str),
            evidence=None if evidence is None else Evidence.from_json(evidence),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """Two videos are the same iff their distance is at most `threshold`; valid for this combination alone.

    Attributes:
        sampling: `SamplingSpec.key` of the sampling it was calibrated with.
        probability: None in bundles of before there was any.
        abstention: when a verdict is left open; None if it never is.
    """

    method: Method
    precision: str
    sampling: str
    threshold: float
    calibrated: Calibration
    probability: SameProbability | None = None
    abstention: Abstention | None = None

    def __post_init__(self) -> None:
        known_method(self.method)
        if not (math.isfinite(self.threshold) and self.threshold >= 0):
            raise BundleError(f"threshold {self.threshold} must be a finite number of at least 0")
        left_open = self.abstention
        if left_open is not None and not left_open.low <= self.threshold <= left_open.high:
            raise BundleError(f"threshold {self.threshold} is not where verdicts are left open around it")

    @property
    def key(self) -> tuple[Method, str, str]:
        """The combination that it is valid for."""
        return self.method, self.precision, self.sampling

    def to_json(self) -> dict[str, Any]:
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        optional = {"probability": data.pop("probability"), "abstention": data.pop("abstention")}
        known = {key: value.to_json() for key, value in optional.items() if value is not None}
        return {**data, "calibrated": self.calibrated.to_json(), **known}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        probability = None if data.get("probability") is None else get_typed(data, "probability", dict)
        abstention = None if data.get("abstention") is None else get_typed(data, "abstention", dict)
        return cls(
            method=known_method(data["method"]),
            precision=get_typed(data, "precision", str),
            sampling=get_typed(data, "sampling", str),
            threshold=get_typed(data, "threshold", float),
            calibrated=Calibration.from_json(get_typed(data, "calibrated", dict)),
            probability=None if probability is None else SameProbability.from_json(probability),
            abstention=None if abstention is None else Abstention.from_json(abstention),
        )


def known_method(method: Any) -> Method:
    """`method`, if it is one. Raises `BundleError`."""
    if method not in METHODS:
        raise BundleError(f"method {method!r} is not known; use one of {', '.join(METHODS)}")
    known: Method = method
    return known


def _interval(pair: Any) -> Interval:
    low, high = (float(value) for value in pair)
    return low, high


def _point(values: Any) -> CurvePoint:
    threshold, accepted, refused = (float(value) for value in values)
    return threshold, accepted, refused
