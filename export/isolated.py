"""ONNX Runtime or TensorRT in a process of its own, so that a crash inside it becomes an error with a name."""

from __future__ import annotations

import contextlib
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import IO, Any, Self

from numpy.typing import NDArray

from ..runtime.errors import ExportError
from .draft import Draft

__all__ = ["Child", "IsolatedBackend"]

_PATIENCE_SECONDS = 1800.0


class Child:
    """A process that works on one task at a time; see `child` for the tasks.

    Args:
        what: what it works on, for errors, e.g. `fp16 on the CPU`.
        library: that works there, for errors.
        patience_seconds: a task that gives no sign of life for longer is given up.
    """

    def __init__(
        self, what: str, *, library: str = "ONNX Runtime", patience_seconds: float = _PATIENCE_SECONDS
    ) -> None:
        self.what = what
        self._library = library
        self._patience = patience_seconds
        self._late = False
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__package__}.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
        )

    @property
    def process_id(self) -> int:
        """Of the child."""
        return self._process.pid

    def call(
        self, doing: str, task: str, *arguments: Any, report: Callable[[int, int], None] = lambda _done, _total: None
    ) -> Any:
        """Have a task done.

        Args:
            doing: what is being done, for errors.
            task: a name that the child knows.
            arguments: for it.
            report: called with (parts done, parts in all) where the task says how far it is.

        Raises:
            ExportError: if it fails, the process dies or takes too long.
        """
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise ExportError(f"{self.what}: {doing}: the process has no pipes")
        try:
            pickle.dump((task, arguments), process.stdin)
            process.stdin.flush()
            succeeded, result = self._answer(process.stdout)
            while succeeded is None:
                report(*result)
                succeeded, result = self._answer(process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            raise ExportError(f"{self.what}: {doing}: {self._end()}") from error
        if not succeeded:
            raise ExportError(f"{self.what}: {doing}: {result}")
        return result

    def _answer(self, stream: IO[bytes]) -> tuple[bool | None, Any]:
        timer = threading.Timer(self._patience, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            answer: tuple[bool | None, Any] = pickle.load(stream)
        finally:
            timer.cancel()
        return answer

    def _give_up(self) -> None:
        self._late = True
        self._process.kill()

    def _end(self) -> str:
        """Why the process is gone."""
        status = self._process.wait()
        if self._late:
            return f"no answer within {self._patience:g} s; the process was ended"
        if status < 0:
            with contextlib.suppress(ValueError):
                return f"{self._library} crashed the process ({signal.Signals(-status).name})"
        self._printed.seek(0)
        lines = self._printed.read().decode(errors="replace").strip().splitlines()
        return f"the process ended with status {status}" + (f": {lines[-1]}" if lines else "")

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._printed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class IsolatedBackend:
    """A `Backend` whose networks run in a child, by ONNX Runtime or as TensorRT engines.

    Attributes:
        device, provider, precision: as in effect.
        optimization: which rewrites of the graph are made, `all` or, by ONNX Runtime, `basic`.
        seconds: that the networks have run so far, without the way to the child and back.
    """

    def __init__(self, child: Child, bundle: Draft, *, precision: str) -> None:
        task = "open_engines" if bundle.manifest.engines else "open"
        self.precision = precision
        self.seconds = 0.0
        self._child = child
        self.device: str
        self.provider: str
        self.optimization: str
        self.device, self.provider, self.optimization = child.call("loading the networks", task, bundle, precision)

    def run(self, role: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `Backend.run`. Raises `ExportError`."""
        outputs: dict[str, NDArray[Any]]
        outputs, seconds = self._child.call(f"running the {role} network", "run", role, inputs)
        self.seconds += seconds
        return outputs
