"""Where on the ROC curve a threshold is wanted, and where it lies.

P pairs, of which a weighting says how often each counts, R weightings at a time; L distinct distances. A pair is
called the same iff distance <= threshold.
"""

from __future__ import annotations

import dataclasses
from typing import Final, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from .errors import OptionError

__all__ = ["EQUAL_ERROR", "Curve", "OperatingPoint"]

Rule = Literal["equal-error", "false-accept", "accuracy"]
_RULES: Final[tuple[Rule, ...]] = get_args(Rule)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class OperatingPoint:
    """Which threshold is wanted.

    Attributes:
        rule: `equal-error`, where as large a share of the different pairs passes as of the same pairs does not;
            `false-accept`, the largest one at which at most `rate` of the different pairs pass;
            `accuracy`, where most verdicts are right.
        rate: in [0, 1), for `false-accept` alone.
    """

    rule: Rule = "equal-error"
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.rule not in _RULES:
            raise OptionError(f"{self.rule!r} is no way to choose a threshold; use one of {', '.join(_RULES)}")
        if (self.rate is not None) != (self.rule == "false-accept"):
            raise OptionError(f"{self.rule} with rate {self.rate}: false-accept needs a rate, the others have none")
        if self.rate is not None and not 0 <= self.rate < 1:
            raise OptionError(f"a false accept rate of {self.rate:g} must be at least 0 and below 1")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `equal-error`, `accuracy` or such as `false-accept=0.01`. Raises `OptionError`."""
        name, equals, number = text.partition("=")
        rule = next((known for known in _RULES if known == name), None)
        if rule is None or bool(equals) != (rule == "false-accept"):
            raise OptionError(f"{text!r} is no point for a threshold; use equal-error, accuracy or false-accept=0.01")
        try:
            rate = float(number) if equals else None
        except ValueError:
            raise OptionError(f"{text!r}: the rate must be a number such as 0.01") from None
        return cls(rule=rule, rate=rate)

    def __str__(self) -> str:
        return self.rule if self.rate is None else f"{self.rule}={self.rate:g}"

    @property
    def description(self) -> str:
        """The rule in words."""
        words = {
            "equal-error": "equal error rate on the calibration pairs",
            "accuracy": "most right verdicts on the calibration pairs",
        }
        return words.get(self.rule, f"at most {self.rate} of the different calibration pairs accepted")


EQUAL_ERROR: Final = OperatingPoint()


class Curve:
    """ROC curves of one set of pairs under R weightings. A cut c in [0, L] accepts the c smallest distinct distances.

    Args:
        same: bool (P,).
        distances: float64 (P,), finite.
        weights: int64 (R, P), at least 0, how often a pair counts; both kinds must count in every row. None is once
            each, R = 1.

    Attributes:
        levels: float64 (L,), the distinct distances, ascending.
        same, different: int64 (R, L + 1), pairs of that kind that a cut accepts.
    """

    def __init__(
        self, same: NDArray[np.bool_], distances: NDArray[np.float64], weights: NDArray[np.int64] | None = None
    ) -> None:
        if weights is None:
            weights = np.ones((1, len(distances)), dtype=np.int64)
        order = np.argsort(distances, kind="stable")
        self.levels, first = np.unique(distances[order], return_index=True)
        self.same, self.different = (
            _cumulated(weights[:, order] * kind[order], first) for kind in (same, np.logical_not(same))
        )

    @property
    def auc(self) -> NDArray[np.float64]:
        """Area under the curves, float64 (R,): a same pair is closer than a different one; a tie counts half."""
        same, different = np.diff(self.same, axis=1), np.diff(self.different, axis=1)
        further = self.different[:, -1:] - self.different[:, 1:]
        twice = (same * (2 * further + different)).sum(axis=1)
        return np.asarray(twice / (2 * self.same[:, -1] * self.different[:, -1]), dtype=np.float64)

    def rates(self, cuts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """False accept and false refuse rate at the cuts (R,), float64 (R,) each."""
        rows = np.arange(len(self.same))
        accepted = self.different[rows, cuts] / self.different[:, -1]
        refused = (self.same[:, -1] - self.same[rows, cuts]) / self.same[:, -1]
        return accepted, refused

    def cuts_at(self, threshold: float) -> NDArray[np.int64]:
        """The cut that a threshold makes, int64 (R,)."""
        cut = np.searchsorted(self.levels, threshold, side="right")
        return np.full(len(self.same), cut, dtype=np.int64)

    def choose(self, point: OperatingPoint) -> NDArray[np.int64]:
        """The cut that a point asks for, int64 (R,).

        Where the rates of `equal-error` do not meet, their difference counts, then their sum; where two cuts have the
        same accuracy, the difference of their rates. Of cuts that are equal in all this the lowest one is taken.
        `equal-error` accepts something and refuses something, unless all distances are equal.
        """
        num_same, num_different = self.same[:, -1:], self.different[:, -1:]
        # Over the common denominator the rates are integers, so that ties are exact.
        accepted, refused = self.different * num_same, (num_same - self.same) * num_different
        cuts = np.arange(len(self.levels) + 1)
        counted = self.same + self.different
        possible = np.diff(counted, axis=1, prepend=-1) > 0  # a level that does not count makes no cut of its own
        possible[:, 0] = self.levels[self._first()] > 0
        if point.rule == "false-accept":
            allowed = np.floor((point.rate or 0.0) * num_different + 1e-9).astype(np.int64)
            return _least(possible, np.maximum(self.different - allowed, 0), np.broadcast_to(-cuts, accepted.shape))
        if point.rule == "accuracy":
            wrong = self.different + num_same - self.same
            return _least(possible, wrong, np.abs(accepted - refused))
        between = possible & (cuts > 0) & (counted < counted[:, -1:])
        between = np.where(between.any(axis=1, keepdims=True), between, possible & (cuts > 0))
        return _least(between, np.abs(accepted - refused), accepted + refused)

    def thresholds(self, cuts: NDArray[np.int64]) -> NDArray[np.float64]:
        """The thresholds of cuts (R,) that `choose` gave, float64 (R,): halfway to the next distance that counts.

        A cut that accepts all is at the last of them, one that accepts none at half the first.
        """
        counted = self.same + self.different
        rows = np.arange(len(counted))
        accepted = counted[rows, cuts]
        upper = np.argmax(counted > accepted[:, None], axis=1) - 1  # the level that the next cut would accept as well
        lower = np.where(cuts > 0, self.levels[cuts - 1], 0.0)
        last = accepted == counted[:, -1]
        middle = lower / 2 + self.levels[upper] / 2
        # Between neighbouring floats there is no middle: rounded up, the upper distance would be accepted too.
        inside = ~last & (lower <= middle) & (middle < self.levels[upper])
        return np.asarray(np.where(inside, middle, lower), dtype=np.float64)

    def _first(self) -> NDArray[np.int64]:
        """The first level that counts, (R,)."""
        return np.asarray(np.argmax(self.same[:, 1:] + self.different[:, 1:] > 0, axis=1), dtype=np.int64)


def _cumulated(weights: NDArray[np.int64], first: NDArray[np.intp]) -> NDArray[np.int64]:
    """(R, P) weights in the order of distance, where levels start -> (R, L + 1) sums up to each cut."""
    sums = np.zeros((len(weights), len(first) + 1), dtype=np.int64)
    np.cumsum(np.add.reduceat(weights, first, axis=1), axis=1, out=sums[:, 1:])
    return sums


def _least(possible: NDArray[np.bool_], *keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """In every row the first of the possible columns with the least first key, of those with the least second, ..."""
    for key in keys:
        least = np.where(possible, key, np.iinfo(np.int64).max).min(axis=1, keepdims=True)
        possible = possible & (key == least)
    return np.asarray(np.argmax(possible, axis=1), dtype=np.int64)
