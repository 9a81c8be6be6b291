"""The process in which ONNX Runtime or TensorRT works during an export; `isolated.Child` starts it and talks to it.

It reads pickled (task, arguments) from stdin and answers each on stdout with (whether it succeeded, result or reason),
before which it may say how far it is: (None, (parts done, parts in all)). torch is never imported here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..runtime.backends import Backend
from ..runtime.backends.ort import GPU_ONLY, Optimization, OrtBackend
from ..runtime.errors import BundleError, DeviceError
from .draft import Draft

if TYPE_CHECKING:
    from ..runtime.engine_file import Machine
    from .to_tensorrt import BuildOrder, BuiltEngine

__all__ = ["main"]


@dataclasses.dataclass
class _Opened:
    """What runs a bundle's networks here.

    Attributes:
        artefact: over the bundle's own bytes.
        rounding: over the same networks with rounding written into them, whose outputs are given; None where the
            artefact's own are.
        tried: roles of which the artefact ran.
    """

    artefact: Backend
    rounding: OrtBackend | None = None
    tried: set[str] = dataclasses.field(default_factory=set)

    def run(self, role: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if self.rounding is None:
            return self.artefact.run(role, inputs)
        if role not in self.tried:
            self.artefact.run(role, inputs)
            self.tried.add(role)
        return self.rounding.run(role, inputs)


_OPENED: list[_Opened] = []
_ANSWERS: list[BinaryIO] = []


def _open(bundle: Draft, precision: str) -> tuple[str, str, Optimization]:
    """Get ready to run a bundle's networks in one precision, on the kind of device that it is meant for.

    A precision for GPUs is run on the CPU where no GPU works, with only the rewrites of the graph that are safe there
    and with its rounding written into it.

    Returns:
        The device, the provider and the rewrites in effect.
    """
    if precision not in GPU_ONLY:
        return _opened(_Opened(OrtBackend(bundle, device="cpu", precision=precision)), "all")
    with contextlib.suppress(DeviceError):
        return _opened(_Opened(OrtBackend(bundle, device="auto", precision=precision)), "all")
    from .rounding import with_rounding

    contents = {path: with_rounding(data) for path, data in bundle.contents.items()}
    artefact, rounding = (
        OrtBackend(draft, device="cpu", precision=precision, optimization="basic")
        for draft in (bundle, dataclasses.replace(bundle, contents=contents))
    )
    return _opened(_Opened(artefact, rounding), "basic")


def _open_engines(bundle: Draft, precision: str) -> tuple[str, str, Optimization]:
    """Get ready to run a bundle's TensorRT engines; as `_open`."""
    from ..runtime.backends.trt import TrtBackend

    return _opened(_Opened(TrtBackend(bundle, precision=precision)), "all")


def _opened(opened: _Opened, optimization: Optimization) -> tuple[str, str, Optimization]:
    _OPENED[:] = [opened]
    return opened.artefact.device, opened.artefact.provider, optimization


def _run(role: str, inputs: Mapping[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], float]:
    """The outputs, and the seconds that they took."""
    if not _OPENED:
        raise BundleError("no bundle was opened")
    start = time.perf_counter()
    outputs = _OPENED[0].run(role, inputs)
    return outputs, time.perf_counter() - start


def _quantize(data: bytes, static: bool, name: str, batches: list[NDArray[Any]]) -> bytes | None:
    from .quantize import quantize

    return quantize(data, static=static, name=name, batches=batches)


def _machine() -> Machine:
    from .to_tensorrt import this_machine

    return this_machine()


def _build(order: BuildOrder) -> BuiltEngine:
    from .to_tensorrt import build_engine

    return build_engine(order, lambda done, total: _answer(None, (done, total)))


_TASKS: Mapping[str, Callable[..., Any]] = {
    "open": _open,
    "open_engines": _open_engines,
    "run": _run,
    "quantize": _quantize,
    "machine": _machine,
    "build": _build,
}


def _answer(succeeded: bool | None, result: Any) -> None:
    pickle.dump((succeeded, result), _ANSWERS[0])
    _ANSWERS[0].flush()


def main(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the questions end."""
    _ANSWERS[:] = [answers]
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
        _answer(*answer)


if __name__ == "__main__":
    np.seterr(all="ignore")
    own = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not stand between the answers
    with os.fdopen(own, "wb") as stream:
        main(sys.stdin.buffer, stream)
