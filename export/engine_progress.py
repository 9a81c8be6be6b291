"""How far a build is, from the phases that TensorRT reports: each has steps, and may be part of a step of another."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

__all__ = ["PhaseTree"]


@dataclasses.dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class PhaseTree:
    """The phases that are under way. TensorRT reports them from several threads.

    Args:
        report: called with (parts done, parts in all) of the outermost phase when that changes; never goes back.
    """

    PARTS = 1000

    def __init__(self, report: Callable[[int, int], None]) -> None:
        self._report = report
        self._phases: dict[str, _Phase] = {}
        self._said = -1
        self._lock = threading.Lock()

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins."""
        with self._lock:
            if parent not in self._phases:
                self._said = -1
            self._phases[name] = _Phase(parent, max(steps, 1))
            self._tell(name)

    def step(self, name: str, step: int) -> None:
        """A step of a phase is done; steps count from 0."""
        with self._lock:
            if name in self._phases:
                self._phases[name].done = step + 1
                self._tell(name)

    def finish(self, name: str) -> None:
        """A phase ends, be all its steps done or not."""
        with self._lock:
            self._phases.pop(name, None)

    def _tell(self, name: str) -> None:
        outermost, share = name, self._own(name)
        while (parent := self._phases[outermost].parent) in self._phases:
            above = self._phases[parent]
            outermost, share = parent, min(1.0, (above.done + share) / above.steps)
        parts = int(share * self.PARTS)
        if parts > self._said:
            self._said = parts
            self._report(parts, self.PARTS)

    def _own(self, name: str) -> float:
        return min(1.0, self._phases[name].done / self._phases[name].steps)
