"""What runs in a worker process: a model, one request after another, and limits that the kernel enforces.

What comes back over the pipe is JSON, which cannot carry code, however a video may have mistreated this process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import signal
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from ..runtime.errors import WeakSVRError
from .limits import Limits

__all__ = ["ModelOptions", "work"]

OUT_OF_MEMORY: Final = "the videos need more memory than this page may use; take shorter or smaller ones"
_SPARE_CPU_SECONDS: Final = 10
_SIGNS_OF_NO_MEMORY: Final = (
    "can't start new thread",
    "bad_alloc",
    "cannot allocate memory",
    "failed to allocate",
    "out of memory",
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ModelOptions:
    """What a worker opens: `gallery`, and the rest as `runtime.load` takes it."""

    bundle: str | None = None
    backend: str = "onnxruntime"
    device: str = "auto"
    precision: str = "auto"
    sampling: str | None = None
    num_threads: int | None = None
    gallery: str | None = None


def work(connection: Connection, options: ModelOptions, limits: Limits) -> None:
    """Answer requests until the other end of the pipe is closed: the whole life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt from the terminal is the parent's to handle
    with contextlib.suppress(EOFError, OSError):
        try:
            answerer = _prepare(options, limits)
        except WeakSVRError as error:
            _send(connection, {"failed": str(error)})
            return
        at_rest = _address_space()
        if answerer.model.backend.device == "cpu":
            _limit_memory(at_rest + limits.memory_bytes)
        _send(connection, {"ready": answerer.facts()})
        while True:
            request = json.loads(connection.recv_bytes())
            _limit_cpu(limits, options.num_threads or os.cpu_count() or 1)
            reply = _answer(answerer, request, connection)
            # What a request leaves behind is taken from the next one, which may be somebody else's.
            grown = _address_space() > at_rest + limits.memory_bytes // 2
            _send(connection, {"spent": True, **reply} if grown else reply)


def _prepare(options: ModelOptions, limits: Limits) -> Any:
    from ..runtime.verify import load
    from .answers import Answerer

    wanted = dataclasses.asdict(options)
    gallery = wanted.pop("gallery")
    answerer = Answerer(load(**wanted), limits, gallery=gallery)
    answerer.warm_up()
    return answerer


def _answer(answerer: Any, request: Mapping[str, Any], connection: Connection) -> dict[str, Any]:
    """The reply to a request; `spent` tells that this process should not go on."""
    try:
        return {"answer": answerer.answer(request, say=lambda stage: _send(connection, {"stage": stage}))}
    except Exception as error:  # noqa: BLE001 - whatever a video brings about, the page must be told
        if isinstance(error, MemoryError) or _is_out_of_memory(error):
            return {"error": OUT_OF_MEMORY, "spent": True}
        if isinstance(error, WeakSVRError):
            return {"error": str(error)}
        return {"error": f"unexpected {type(error).__name__} while working on the videos; try others", "spent": True}


def _is_out_of_memory(error: BaseException) -> bool:
    """Threads that cannot start, decoders and networks that cannot allocate say so in words alone."""
    text = str(error).lower()
    return any(sign in text for sign in _SIGNS_OF_NO_MEMORY)


def _send(connection: Connection, document: Mapping[str, Any]) -> None:
    connection.send_bytes(json.dumps(document, allow_nan=False).encode())


def _address_space() -> int:
    """Bytes of address space that this process has; 0 where that is not told."""
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def _limit_memory(total_bytes: int) -> None:
    """Bound the address space, where it is told how much there is."""
    if not _address_space():
        return
    import resource

    _lower(resource.RLIMIT_AS, total_bytes)
    _lower(resource.RLIMIT_CORE, 0)


def _limit_cpu(limits: Limits, threads: int) -> None:
    """Bound this request's CPU time, in case that nobody is left to stop it. The hard limit stays as it is."""
    if importlib.util.find_spec("resource") is None:
        return
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = usage.ru_utime + usage.ru_stime
    _lower(resource.RLIMIT_CPU, int(used + limits.seconds * threads) + _SPARE_CPU_SECONDS)


def _lower(kind: int, value: int) -> None:
    """Set a soft limit, within the hard one that is there."""
    import resource

    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
