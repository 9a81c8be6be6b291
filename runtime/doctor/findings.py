"""What an examination says, as values."""

from __future__ import annotations

import dataclasses
from typing import Any, Final, Literal

from ..spec import Method

__all__ = ["Comparison", "Finding", "Report", "State", "Topic", "WouldRun", "cause_of", "problem"]

SCHEMA: Final = "weaksvr.doctor/1"

State = Literal["ok", "warning", "problem"]
Topic = Literal["installed", "bundle", "folders", "would run"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: what it belongs to.
        name: what was looked at, e.g. `onnxruntime`.
        state: `problem` if a command that is installed here would fail, `warning` if one would do less than it could.
        what: what was found, a short phrase.
        why: the cause; empty if all is well.
        remedy: one command line that mends it; empty if all is well. Words in capitals are the user's to fill in.
    """

    topic: Topic
    name: str
    state: State = "ok"
    what: str
    why: str = ""
    remedy: str = ""

    def __post_init__(self) -> None:
        if {bool(self.why), bool(self.remedy)} != {self.state != "ok"}:
            raise ValueError(f"{self.name}: a cause and a remedy belong to a warning or a problem, and to these alone")


def problem(topic: Topic, name: str, what: str, *, why: str, remedy: str) -> Finding:
    """A finding in the state `problem`."""
    return Finding(topic=topic, name=name, state="problem", what=what, why=why, remedy=remedy)


def cause_of(error: str) -> str:
    """The text of one of our errors without its advice, which begins after a semicolon: the remedy stands elsewhere."""
    return error.partition("; ")[0]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A way to compare two videos. `threshold` is None if none was calibrated for what would run."""

    method: Method
    threshold: float | None
    default: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class WouldRun:
    """What `weaksvr-verify` would run with the same bundle, device and precision; it was tried on a black frame.

    Attributes:
        device, provider, precision: as in effect.
        threads: for one network on the CPU.
        sampling: key of the sampling.
        comparisons: one for each way to compare.
        notes: what a verdict would mention, e.g. why the GPU is not used.
    """

    device: str
    provider: str
    precision: str
    threads: int
    sampling: str
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything that an examination found.

    Attributes:
        version: of this package.
        python: version of the interpreter.
        platform: system and processor.
        bundle: the folder that was examined.
        findings: in the order in which they are shown.
        would_run: None if nothing would.
    """

    version: str
    python: str
    platform: str
    bundle: str
    findings: tuple[Finding, ...]
    would_run: WouldRun | None

    @property
    def ready(self) -> bool:
        """Whether there is no problem; warnings do not count."""
        return all(finding.state != "problem" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "ready": self.ready, **dataclasses.asdict(self)}
