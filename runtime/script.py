"""A procedure in words, as people write it down: one step a line, with the time that it may take if that matters."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path

from .errors import DataError, OptionError

__all__ = ["MAX_SCRIPT_BYTES", "Script", "ScriptStep", "parse_script", "read_script"]

MAX_SCRIPT_BYTES = 1_000_000

_LIMIT = re.compile(r"(min|max)\s*([0-9]+(?:\.[0-9]+)?)\s*s", re.IGNORECASE | re.ASCII)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ScriptStep:
    """One step of a procedure.

    Attributes:
        text: what is done.
        min_seconds, max_seconds: how long it must at least and may at most take; None where that does not matter.

    Raises:
        OptionError: if the text is empty, or the times are no bounds.
    """

    text: str
    min_seconds: float | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise OptionError("a step has no text; say what is done in it")
        for name, value in (("min", self.min_seconds), ("max", self.max_seconds)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise OptionError(f"step {self.text!r}: {name} {value} s must be a finite number of at least 0 seconds")
        if self.min_seconds is not None and self.max_seconds is not None and self.min_seconds > self.max_seconds:
            raise OptionError(
                f"step {self.text!r}: min {self.min_seconds:g} s is longer than max {self.max_seconds:g} s; "
                "swap or correct them"
            )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """The steps of a procedure, in the order in which they are to be done.

    Attributes:
        steps: K steps, at least one.
        path: of the file that it was read from, empty if there is none.

    Raises:
        OptionError: if there is no step.
    """

    steps: tuple[ScriptStep, ...]
    path: str = ""

    def __post_init__(self) -> None:
        if not self.steps:
            raise OptionError("a script without steps says nothing; give at least one")

    @property
    def texts(self) -> tuple[str, ...]:
        """What is done in each of the K steps."""
        return tuple(step.text for step in self.steps)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Script:
        """A script of texts alone. Raises `OptionError` as the parts do."""
        if isinstance(texts, str):
            raise OptionError("steps must be a list of texts, not one text")
        return cls(steps=tuple(ScriptStep(text=text) for text in texts))


def read_script(path: str | os.PathLike[str]) -> Script:
    """Read a script file; see `parse_script`.

    Raises:
        DataError: if it cannot be read as such.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_SCRIPT_BYTES + 1)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise DataError(f"{file}: the script cannot be read: {why}; check the path") from error
    if len(content) > MAX_SCRIPT_BYTES:
        raise DataError(f"{file}: is larger than {MAX_SCRIPT_BYTES} bytes, so not a script; write one step a line")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: is not a text file in UTF-8; save it as such, one step a line") from error
    return parse_script(text, name=str(file))


def parse_script(text: str, *, name: str) -> Script:
    """Read a script: one step a line, blank lines and lines that begin with `#` do not count.

    A line may end in bounds of the step's duration, in any order: `tighten the bolt | min 2s | max 30s`.

    Args:
        text: of the script.
        name: of where it comes from, for errors and as the script's `path`.

    Raises:
        DataError: if there is no step, a bound cannot be read, or the text is not one that people write.
    """
    if "\0" in text:
        raise DataError(f"{name}: holds NUL characters, so it is no text; write one step a line")
    steps = []
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        try:
            steps.append(_step(stripped))
        except OptionError as error:
            raise DataError(f"{name}, line {number}: {error}") from error
    if not steps:
        raise DataError(f"{name}: holds no step; write one step a line")
    return Script(steps=tuple(steps), path=name)


def _step(line: str) -> ScriptStep:
    words, *bounds = (part.strip() for part in line.split("|"))
    limits: dict[str, float] = {}
    for bound in bounds:
        match = _LIMIT.fullmatch(bound)
        if match is None:
            raise OptionError(f"{bound!r} is no duration; write it as in: {words or 'step'} | min 2s | max 30s")
        key = match[1].lower() + "_seconds"
        if key in limits:
            raise OptionError(f"{match[1].lower()} is given twice; give it once")
        limits[key] = float(match[2])
    return ScriptStep(text=words, **limits)
