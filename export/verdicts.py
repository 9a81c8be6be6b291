"""Do a variant's distances lead to the verdicts of its source, which is PyTorch unless told otherwise?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.metrics import equal_error_threshold, roc_auc
from ..runtime.spec import Method
from .limits import Limits, flip_rate_bound

__all__ = ["Distances", "Verdicts", "judge"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Distances:
    """Of P pairs, float64 (P,), by the source and by a variant; the first G pairs are labelled.

    Attributes:
        same: bool (G,), the labels.
    """

    source: NDArray[np.float64]
    variant: NDArray[np.float64]
    same: NDArray[np.bool_]

    def thresholds(self) -> tuple[float, float, float]:
        """On the labelled pairs: the equal error thresholds of the source and the variant, the variant's error rate."""
        labelled = len(self.same)
        source, _ = equal_error_threshold(self.same, self.source[:labelled])
        threshold, eer = equal_error_threshold(self.same, self.variant[:labelled])
        return source, threshold, eer

    def auc(self) -> float:
        """The variant's, on the labelled pairs."""
        return roc_auc(self.same, self.variant[: len(self.same)])


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Verdicts:
    """What became of the verdicts by one way to compare.

    Attributes:
        pairs: compared.
        flips: verdicts that flipped, ties aside; `flipped`, the pairs' numbers.
        flips_bound: upper 95 % bound of their share of all such pairs.
        ties: pairs so near to a threshold that they decide nothing; `tie_flips` of them flipped.
        auc, source_auc: of the variant and of the source, on the labelled pairs.
        threshold, source_threshold: at which each was judged.
        eer: equal error rate of the variant at its own calibrated threshold.
        change: largest change of a distance.
    """

    pairs: int
    flips: int
    flips_bound: float
    ties: int
    tie_flips: int
    auc: float
    source_auc: float
    threshold: float
    source_threshold: float
    eer: float
    change: float
    flipped: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        data = dataclasses.asdict(self)
        del data["flipped"]
        return data

    def refusals(
        self, method: Method, limits: Limits, *, names: Sequence[str], distances: Distances, source: str = "PyTorch"
    ) -> list[str]:
        """What is beyond the limits, for people; empty if nothing is.

        Args:
            method: the way to compare.
            limits: the variant's.
            names: of the P pairs.
            distances: that these verdicts were found on.
            source: its name.
        """
        found = []
        if self.flips > limits.flips * self.pairs:
            first = self.flipped[0]
            found.append(
                f"{method}: {self.flips} of {self.pairs} verdicts flip, more than {limits.flips:g} of them, first "
                f"{names[first]}: distance {distances.source[first]:.6g} at threshold {self.source_threshold:.6g} "
                f"becomes {distances.variant[first]:.6g} at {self.threshold:.6g}"
            )
        if abs(self.auc - self.source_auc) > limits.auc:
            found.append(
                f"{method}: the AUC is {self.auc:.6f}, {source}'s {self.source_auc:.6f}, which differs by more than "
                f"{limits.auc:g}"
            )
        return found


def judge(distances: Distances, *, threshold: float, tie: float, source_threshold: float | None = None) -> Verdicts:
    """Compare the verdicts of a variant at the threshold that its bundle holds with the source's at its own.

    Args:
        distances: of the pairs.
        threshold: the variant's.
        tie: see `Limits`.
        source_threshold: None calibrates one on the labelled pairs.
    """
    calibrated, _, eer = distances.thresholds()
    source_threshold = calibrated if source_threshold is None else source_threshold
    flipped = (distances.variant <= threshold) != (distances.source <= source_threshold)
    near = np.minimum(np.abs(distances.variant - threshold), np.abs(distances.source - source_threshold)) <= tie
    counted = np.flatnonzero(flipped & ~near)
    margin = np.abs(distances.variant - threshold)[counted]
    labelled = len(distances.same)
    return Verdicts(
        pairs=len(distances.source),
        flips=len(counted),
        flips_bound=flip_rate_bound(len(counted), len(distances.source)),
        ties=int(near.sum()),
        tie_flips=int((flipped & near).sum()),
        auc=distances.auc(),
        source_auc=roc_auc(distances.same, distances.source[:labelled]),
        threshold=threshold,
        source_threshold=source_threshold,
        eer=eer,
        change=float(np.abs(distances.variant - distances.source).max()),
        flipped=tuple(int(row) for row in counted[np.argsort(-margin, kind="stable")]),
    )
