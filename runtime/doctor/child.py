"""Starts probes in processes of their own and tells how they ended, be it by a crash of a native library."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

__all__ = ["TIME_LIMIT_SECONDS", "Outcome", "Probe"]

TIME_LIMIT_SECONDS: Final = 120.0
"""For one probe. Large networks on slow disks take seconds; what takes longer than this is stuck."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a probe ended.

    Attributes:
        result: what it found; None if it did not get that far.
        kind: name of the exception's class that stopped it; empty if none did.
        library: what was in use when it stopped; empty if none was.
        reason: why there is no result, on one line; empty if there is one.
    """

    result: Mapping[str, Any] | None = None
    kind: str = ""
    library: str = ""
    reason: str = ""


class Probe:
    """A probe that runs in a process of its own. Leaving the context ends it.

    Args:
        arguments: of `probe.main`.
    """

    def __init__(self, *arguments: str) -> None:
        program = f"{__package__}.probe"
        # -P: a file in the working directory must not stand in for a library.
        command = [sys.executable, "-P", "-m", program, *arguments]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        environment.pop("PYTHONFAULTHANDLER", None)  # its pages of stacks would hide what a library said last
        self._process: subprocess.Popen[str] | None = None
        self._trouble = ""
        try:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            self._trouble = f"{sys.executable or 'the interpreter'} cannot be started: {error.strerror or error}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def outcome(self, *, limit_seconds: float = TIME_LIMIT_SECONDS) -> Outcome:
        """Wait for the probe, `limit_seconds` at the most, and tell how it ended."""
        if self._process is None:
            return Outcome(reason=self._trouble)
        stuck = False
        try:
            out, printed = self._process.communicate(timeout=limit_seconds)
        except subprocess.TimeoutExpired:
            stuck = True
            self._process.kill()
            out, printed = self._process.communicate()
        doing, library = "starting", ""
        for message in _messages(out):
            doing, library = message.get("doing", doing), message.get("library", library)
            if "result" in message:
                return Outcome(result=message["result"])
            if "error" in message:
                kind, text = message["error"]
                return Outcome(kind=kind, library=library, reason=f"{doing}: {text}")
        ending = f"not done after {limit_seconds:g} s" if stuck else _death(self._process.returncode, printed)
        return Outcome(library=library, reason=f"{doing}: {ending}")


def _messages(out: str) -> Iterator[dict[str, Any]]:
    """What the probe said, line by line; the last one may be cut off."""
    for line in out.splitlines():
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict):
                yield message


def _death(code: int, printed: str) -> str:
    """How a process ended that left no word."""
    lines = printed.strip().splitlines()
    said = f" ({lines[-1].strip()})" if lines else ""
    if code >= 0:
        return f"the process ended with exit code {code}{said}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"the process crashed with {name}{said}"
