"""How far the output of a network is from the one it should have."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import ExportError
from .limits import Limits

__all__ = ["Difference"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Of an output from its source's, which is PyTorch's unless told otherwise, over everything that was compared.

    A row is a frame, a video or a prompt.

    Attributes:
        what: the output, e.g. `the vision network, features`.
        absolute: largest absolute difference.
        relative: largest difference as a share of the root mean square of the source's output.
        cosine: smallest cosine of two rows.
        where: the row with the largest relative difference, and `where_cosine`, with the smallest cosine.
        where_cosine: see `where`.
        finite: whether all values are numbers; if not, the other fields say nothing.
    """

    what: str
    absolute: float
    relative: float
    cosine: float
    where: str
    where_cosine: str
    finite: bool

    @classmethod
    def of(
        cls, what: str, wanted: NDArray[Any], found: NDArray[Any], *, rows: Sequence[str], source: str = "PyTorch"
    ) -> Difference:
        """Compare one output.

        Args:
            what: see the class.
            wanted: the source's, (R, ...).
            found: the variant's.
            rows: names of the R rows.
            source: its name.

        Raises:
            ExportError: if the shapes differ, or the source's own values are no numbers.
        """
        if wanted.shape != found.shape:
            raise ExportError(f"{what}: the export gives shape {found.shape}, {source} {wanted.shape}")
        if not np.isfinite(wanted).all():
            raise ExportError(f"{what}: {source} itself computes values that are no numbers; train the model again")
        left = wanted.reshape(len(rows), -1).astype(np.float64)
        right = found.reshape(len(rows), -1).astype(np.float64)
        bad = ~np.isfinite(right).all(axis=1)
        if bad.any():
            name = rows[int(bad.argmax())]
            return cls(what=what, absolute=0.0, relative=0.0, cosine=1.0, where=name, where_cosine=name, finite=False)
        by_row = np.abs(left - right).max(axis=1)
        scale = float(np.sqrt(np.square(left).mean()))
        cosines = _cosines(left, right)
        absolute = float(by_row.max())
        return cls(
            what=what,
            absolute=absolute,
            relative=absolute / scale if scale else absolute,
            cosine=float(cosines.min()),
            where=rows[int(by_row.argmax())],
            where_cosine=rows[int(cosines.argmin())],
            finite=True,
        )

    def merged(self, other: Difference) -> Difference:
        """The worse of both in every respect."""
        if not (self.finite and other.finite):
            return other if self.finite else self
        further = max(self, other, key=lambda difference: difference.relative)
        turned = min(self, other, key=lambda difference: difference.cosine)
        return dataclasses.replace(
            further,
            absolute=max(self.absolute, other.absolute),
            cosine=turned.cosine,
            where_cosine=turned.where_cosine,
        )

    def refusals(self, limits: Limits, *, source: str = "PyTorch") -> list[str]:
        """What is beyond the limits, for people; empty if nothing is. `source` is the source's name."""
        if not self.finite:
            return [f"{self.what}: computes values that are no numbers (NaN or infinite), first at {self.where}"]
        found = []
        if self.relative > limits.difference:
            found.append(
                f"{self.what}: differs from {source} by {self.absolute:.3g}, {self.relative:.3g} of its size, "
                f"more than {limits.difference:.3g}, at {self.where}"
            )
        if self.cosine < limits.cosine:
            found.append(
                f"{self.what}: has a cosine of {self.cosine:.6f} with {source}'s, less than {limits.cosine:g}, at "
                f"{self.where_cosine}"
            )
        return found


def _cosines(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the rows; 1 where both are 0, 0 where one is."""
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    products = (left * right).sum(axis=1)
    equal = (left == right).all(axis=1)
    return np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1.0), np.where(equal, 1.0, 0.0))
