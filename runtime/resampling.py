"""How sure a number is that was found on pairs of videos, which are not independent: one video is in several pairs.

Videos that are linked by pairs, directly or through others, form a group; pairs of different groups share nothing.
Where there are enough groups, whole groups are drawn anew, which is right whatever binds the pairs of a group together.
Where there are few, videos are drawn, and a pair counts as often as both of its videos do: that keeps what pairs have
in common through a video, is on the wide side, and cannot see what all pairs of a group share.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Iterator, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_GROUPS", "Links", "binomial_bound", "binomial_interval", "min_pairs"]

MIN_GROUPS: Final = 20
"""Fewer groups than these are too few to be drawn from: the intervals would come out too narrow."""

_CELLS: Final = 1 << 21  # weights that are in memory at a time


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Which videos P pairs are of.

    Attributes:
        a, b: int64 (P,), numbers of the videos, from 0 to `num_videos` - 1.
        group: int64 (P,), numbers of the groups, from 0 to `num_groups` - 1.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    group: NDArray[np.int64]

    @classmethod
    def of(cls, pairs: Sequence[tuple[Hashable, Hashable]]) -> Links:
        """The links of pairs of videos, which are named by any value."""
        number: dict[Hashable, int] = {}
        rows = [[number.setdefault(video, len(number)) for video in pair] for pair in pairs]
        parent = list(range(len(number)))

        def root(video: int) -> int:
            while parent[video] != video:
                parent[video] = parent[parent[video]]
                video = parent[video]
            return video

        for a, b in rows:
            parent[root(a)] = root(b)
        _, group = np.unique([root(a) for a, _ in rows], return_inverse=True)
        table = np.array(rows, dtype=np.int64)
        return cls(table[:, 0], table[:, 1], group.astype(np.int64))

    @property
    def num_videos(self) -> int:
        return int(max(self.a.max(), self.b.max())) + 1

    @property
    def num_groups(self) -> int:
        return int(self.group.max()) + 1

    @property
    def unit(self) -> Literal["groups", "videos"]:
        """What is drawn anew."""
        return "groups" if self.num_groups >= MIN_GROUPS else "videos"

    def resamples(self, same: NDArray[np.bool_], count: int, *, seed: int = 0) -> Iterator[NDArray[np.int64]]:
        """Draw groups or videos with replacement, `count` times; the same draws for the same seed.

        Args:
            same: bool (P,), both kinds; a draw without one of them is made again.

        Yields:
            How often every pair counts, int64 (R, P), a part of the `count` rows at a time.
        """
        rng = np.random.default_rng(seed)
        units = self.num_groups if self.unit == "groups" else self.num_videos
        rows = max(1, _CELLS // max(len(same), units))
        left = count
        while left:
            drawn = rng.multinomial(units, np.full(units, 1 / units), size=min(rows, left))
            if self.unit == "groups":
                weights = drawn[:, self.group]
            else:
                weights = drawn[:, self.a] * np.where(self.a == self.b, 1, drawn[:, self.b])
            usable = (weights[:, same].sum(axis=1) > 0) & (weights[:, ~same].sum(axis=1) > 0)
            yield weights[usable]
            left -= int(usable.sum())

    def separated(self, same: NDArray[np.bool_], distances: NDArray[np.float64]) -> dict[str, tuple[float, float]]:
        """Intervals of `auc` and `eer` where one threshold tells all P pairs apart: no draw can show an error then.

        From the exact intervals of both error rates, and from what holds at any threshold: AUC >= (1 - accepted)
        (1 - refused).
        """
        accepted, refused = (
            binomial_interval(0.0, self.independent(distances, same == kind))[1] for kind in (False, True)
        )
        return {"auc": ((1 - accepted) * (1 - refused), 1.0), "eer": (0.0, max(accepted, refused))}

    def independent(self, values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> float:
        """Independent pairs that would tell the mean of `values` as surely as the chosen pairs do, at most so many.

        Args:
            values: float64 (P,).
            chosen: bool (P,), at least one.
        """
        count = int(chosen.sum())
        residuals = values[chosen] - values[chosen].mean()
        alone = float(residuals @ residuals)
        if alone <= count * (1e-12 * np.abs(values[chosen]).max()) ** 2:  # all equal but for rounding
            return float(count)
        if self.unit == "groups":
            together = float((np.bincount(self.group[chosen], weights=residuals) ** 2).sum())
        else:
            a, b = self.a[chosen], self.b[chosen]
            sums = np.bincount(a, weights=residuals, minlength=self.num_videos)
            sums += np.bincount(b, weights=np.where(a == b, 0.0, residuals), minlength=self.num_videos)
            together = float((sums**2).sum()) - float(residuals[a != b] @ residuals[a != b])
        return count / max(1.0, together / alone)


def binomial_interval(successes: float, trials: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact (Clopper-Pearson) interval of a rate; both numbers may be fractions, of pairs that count for less.

    Args:
        successes: from 0 to `trials`.
        trials: above 0.
        confidence: of both sides together.
    """
    tail = (1 - confidence) / 2
    failures = trials - successes
    low = 0.0 if successes <= 0 else _beta_quantile(tail, successes, failures + 1)
    high = 1.0 if failures <= 0 else _beta_quantile(1 - tail, successes + 1, failures)
    return low, high


def binomial_bound(successes: float, trials: float, *, confidence: float = 0.95) -> float:
    """The exact upper bound of a rate, one-sided; see `binomial_interval`.

    For a threshold that lies below the (successes + 1)-th of the different pairs it bounds the rate at which new ones
    pass, though the threshold was chosen on these very pairs.
    """
    return binomial_interval(successes, trials, confidence=2 * confidence - 1)[1]


def min_pairs(rate: float, *, confidence: float = 0.95) -> int:
    """The fewest independent pairs, none of them judged wrongly, that show a rate (0 < rate < 1) not to be exceeded."""
    return math.ceil(math.log(1 - confidence) / math.log1p(-rate))


def _beta_quantile(probability: float, a: float, b: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _beta_cdf(middle, a, b) < probability else (low, middle)
    return (low + high) / 2


def _beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, for x in (0, 1), by its continued fraction."""
    if x > (a + 1) / (a + b + 2):  # beyond, the fraction of the complement converges faster
        return 1 - _beta_cdf(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    fraction = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            step = c * d
            fraction *= step
        if abs(step - 1) < 1e-14:
            break
    return math.exp(log_front) * fraction / a
