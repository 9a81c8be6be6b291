"""What the gate asks of a variant, and how sure a share of flips is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Self

import numpy as np

from ..runtime.errors import OptionError

__all__ = ["DEFAULT_LIMITS", "Limits", "flip_rate_bound", "overridden"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How far a variant may be from PyTorch in fp32.

    Attributes:
        difference: largest difference of an output, as a share of the output's root mean square.
        cosine: smallest cosine of a row of an output (a frame, a video, a prompt) with PyTorch's.
        flips: share of pairs whose verdict may flip.
        auc: largest change of the AUC of either way to compare.
        tie: a pair whose distance is this near to its threshold is a tie, for which a flip does not count.
    """

    difference: float
    cosine: float
    flips: float
    auc: float
    tie: float

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                raise OptionError(f"limit {field.name} is {value}, but must be a finite number of at least 0")

    def with_value(self, name: str, value: float) -> Self:
        """The same with one limit changed. Raises `OptionError`."""
        names = [field.name for field in dataclasses.fields(self)]
        if name not in names:
            raise OptionError(f"limit {name!r} is not known; use one of {', '.join(names)}")
        return dataclasses.replace(self, **{name: value})


DEFAULT_LIMITS: Final[Mapping[str, Limits]] = MappingProxyType(
    {
        "fp32": Limits(difference=1e-4, cosine=0.999999, flips=0.0, auc=0.0005, tie=1e-5),
        "fp16": Limits(difference=0.05, cosine=0.9995, flips=0.0, auc=0.0005, tie=5e-4),
        "int8": Limits(difference=4.0, cosine=0.98, flips=0.001, auc=0.002, tie=1e-3),
    }
)


def overridden(texts: Iterable[str]) -> dict[str, Limits]:
    """The default limits with changes such as `int8.flips=0.002`.

    Raises:
        OptionError: if a change cannot be meant.
    """
    limits = dict(DEFAULT_LIMITS)
    for text in texts:
        key, equals, value = text.partition("=")
        precision, _, name = key.strip().partition(".")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (equals and name) or precision not in limits or math.isnan(number):
            known = ", ".join(limits)
            raise OptionError(f"limit {text!r} must be such as int8.flips=0.002, for one of {known}")
        limits[precision] = limits[precision].with_value(name, number)
    return limits


def flip_rate_bound(flips: int, pairs: int, *, confidence: float = 0.95) -> float:
    """The exact (Clopper-Pearson) upper bound of the share of flips: with a larger one, so few would be rarer than 5 %.

    Args:
        flips: verdicts that flipped, of `pairs`.
        pairs: compared, at least 1.
        confidence: of the bound, one-sided.
    """
    if flips >= pairs:
        return 1.0
    counts = np.arange(flips + 1)
    log_choose = np.array([math.lgamma(pairs + 1) - math.lgamma(k + 1) - math.lgamma(pairs - k + 1) for k in counts])
    low, high = flips / pairs, 1.0
    for _ in range(60):  # the chance of at most `flips` falls with the share
        middle = (low + high) / 2
        chance = np.exp(log_choose + counts * math.log(middle) + (pairs - counts) * math.log1p(-middle)).sum()
        low, high = (middle, high) if chance > 1 - confidence else (low, middle)
    return high
