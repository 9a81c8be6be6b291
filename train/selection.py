"""Which epoch of a run is kept: the best on validation, or, as the published program does, the best on the test set.

A number of the very set that chose the epoch is too good. So whatever shows a run that was selected on the test set
says so, in the words of `OPTIMISTIC`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final, Literal

from .config import OptimConfig

__all__ = ["OPTIMISTIC", "Selection", "selected_on"]

OPTIMISTIC: Final = "selected on the test set: optimistic, as published"

SelectedOn = Literal["val", "test"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What epochs are compared by.

    Attributes:
        split: whose pairs decide, also the key of their AUCs in an epoch's line.
        method: whose AUC decides; the other one breaks ties.
    """

    split: SelectedOn
    method: Literal["alignment", "vector"]

    @classmethod
    def of(cls, config: OptimConfig) -> Selection:
        return cls(split=config.select, method=config.select_method)

    @property
    def place(self) -> str:
        """The split, for people."""
        return "the test set" if self.split == "test" else "validation"

    @property
    def record(self) -> dict[str, str]:
        """What every line of the metrics, the checkpoint and the document of a run say about it."""
        return {"selected_on": self.split, "selected_by": self.method}

    def improves(self, line: Mapping[str, Any], best: Mapping[str, Any] | None) -> bool:
        """Whether an epoch's line is better than the best one so far; one without an evaluation never is."""
        if line[self.split] is None:
            return False
        return best is None or self._rank(line) > self._rank(best)

    def _rank(self, line: Mapping[str, Any]) -> tuple[float, float]:
        other = "vector" if self.method == "alignment" else "alignment"
        return line[self.split][f"auc_{self.method}"], line[self.split][f"auc_{other}"]


def selected_on(training: Mapping[str, Any]) -> SelectedOn | None:
    """What chose the epoch of a model, from the record of its checkpoint or the training facts of its bundle.

    Returns:
        None where nothing is known: the model was imported, or not trained by us. Runs that do not say it are of the
        time when there was validation alone.
    """
    if "metrics" not in training:
        return None
    return "test" if training.get("selected_on") == "test" else "val"
