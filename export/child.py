"""The process in which ONNX Runtime works during an export; `isolated.Child` starts it and talks to it.

It reads pickled (task, arguments) from stdin and answers each on stdout with (whether it succeeded, result or reason).
torch is never imported here.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..runtime.backends.ort import GPU_ONLY, Optimization, OrtBackend
from ..runtime.bundle import Bundle
from ..runtime.errors import BundleError, DeviceError

__all__ = ["main"]

_BACKENDS: list[OrtBackend] = []


def _open(bundle: Bundle, precision: str) -> tuple[str, str, Optimization]:
    """Get ready to run a bundle's networks in one precision, on the kind of device that it is meant for.

    A precision for GPUs is run on the CPU where no GPU works, with only the rewrites of the graph that are safe there.

    Returns:
        The device, the provider and the rewrites in effect.
    """
    if precision in GPU_ONLY:
        with contextlib.suppress(DeviceError):
            _BACKENDS[:] = [OrtBackend(bundle, device="auto", precision=precision)]
            return _BACKENDS[0].device, _BACKENDS[0].provider, "all"
    optimization: Optimization = "basic" if precision in GPU_ONLY else "all"
    _BACKENDS[:] = [OrtBackend(bundle, device="cpu", precision=precision, optimization=optimization)]
    return _BACKENDS[0].device, _BACKENDS[0].provider, optimization


def _run(role: str, inputs: Mapping[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], float]:
    """The outputs, and the seconds that they took."""
    if not _BACKENDS:
        raise BundleError("no bundle was opened")
    start = time.perf_counter()
    outputs = _BACKENDS[0].run(role, inputs)
    return outputs, time.perf_counter() - start


def _quantize(data: bytes, static: bool, name: str, batches: list[NDArray[Any]]) -> bytes | None:
    from .quantize import quantize

    return quantize(data, static=static, name=name, batches=batches)


_TASKS: Mapping[str, Callable[..., Any]] = {"open": _open, "run": _run, "quantize": _quantize}


def main(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the questions end."""
    while True:
        try:
            task, arguments = pickle.load(questions)
        except EOFError:
            return
        try:
            answer: tuple[bool, Any] = True, _TASKS[task](*arguments)
        except Exception as error:  # noqa: BLE001 - whatever went wrong is told, by the parent
            lines = str(error).strip().splitlines() or [type(error).__name__]
            answer = False, lines[0]
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    np.seterr(all="ignore")
    own = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not stand between the answers
    with os.fdopen(own, "wb") as stream:
        main(sys.stdin.buffer, stream)
