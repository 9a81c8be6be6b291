"""Work on uploads in processes that can be killed: first come, first served, under limits, one harming no other.

Each worker process holds a model and is served by a thread of this process, which sends it one request at a time,
passes on how far it is, and kills it when the time is over, when the request is cancelled, or when it says that it
should not go on. A new process takes its place.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any, Final

from ..runtime.errors import BundleError, WeakSVRError
from .child import ModelOptions, work
from .limits import Limits

__all__ = ["CRASHED", "StoppedError", "Ticket", "WorkerPool"]

CRASHED: Final = (
    "a video made the program that reads it crash; it is damaged, of a kind that cannot be read, or needs more memory "
    "than this page may use"
)
"""Libraries that get no memory raise nothing at times, but end the process."""

WAITING: Final = "waiting"
_POLL_SECONDS: Final = 0.05
_START_SECONDS: Final = 120.0
_MAX_REPLY_BYTES: Final = 16 * 2**20


class StoppedError(WeakSVRError):
    """A request that was not finished: refused, cancelled, or stopped."""


class Ticket:
    """A request that was handed in.

    Attributes:
        owner: who handed it in.
        future: of the answer, a JSON object; or of a `WeakSVRError`.
        stage: what is being done for it.
    """

    def __init__(self, request: Mapping[str, Any], owner: str) -> None:
        self.request = request
        self.owner = owner
        self.future: Future[dict[str, Any]] = Future()
        self.stage = WAITING
        self.cancelled = threading.Event()
        self.future.set_running_or_notify_cancel()  # from here on only the pool ends it


class _Process:
    """A worker process that is ready, and this end of its pipe."""

    def __init__(self, options: ModelOptions, limits: Limits) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=work, args=(theirs, options, limits), name="weaksvr-demo-worker", daemon=True
        )
        self.process.start()
        theirs.close()
        self.facts = self._wait_until_ready()

    def _wait_until_ready(self) -> dict[str, Any]:
        try:
            if not self.connection.poll(_START_SECONDS):
                raise BundleError(f"a worker process did not start within {_START_SECONDS:g} seconds; try again")
            reply = _receive(self.connection)
        except (EOFError, OSError) as error:
            self.kill()
            raise BundleError("a worker process ended while it loaded the model; run weaksvr-doctor") from error
        except BaseException:
            self.kill()
            raise
        if "ready" not in reply:
            self.kill()
            raise BundleError(str(reply.get("failed")))
        facts: dict[str, Any] = reply["ready"]
        return facts

    def kill(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()
        self.process.close()


class WorkerPool:
    """Worker processes and the queue before them. A context manager.

    Args:
        options: of the model.
        limits: of every request.
        workers: processes, which is how many requests are worked on at a time.

    Attributes:
        facts: what the page says of the model, as a worker found it.

    Raises:
        BundleError: if a worker cannot load the model.
    """

    def __init__(self, options: ModelOptions, limits: Limits, *, workers: int = 1) -> None:
        self.limits = limits
        self._options = options
        self._changed = threading.Condition()
        self._queue: deque[Ticket] = deque()
        self._running: set[Ticket] = set()
        self._closed = False
        first = _Process(options, limits)
        self.facts = first.facts
        starts: list[_Process | None] = [first, *([None] * (workers - 1))]
        self._threads = [
            threading.Thread(target=self._serve, args=(start,), name=f"weaksvr-demo-{number}", daemon=True)
            for number, start in enumerate(starts)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, request: Mapping[str, Any], *, owner: str = "") -> Ticket:
        """Hand in a request; see `answers.Answerer` for what it holds.

        Raises:
            StoppedError: if too many wait already.
        """
        ticket = Ticket(request, owner)
        with self._changed:
            if self._closed:
                raise StoppedError("this page is being shut down; try again later")
            if len(self._queue) >= self.limits.waiting:
                raise StoppedError(f"{len(self._queue)} requests wait already, which is the limit; try again later")
            self._queue.append(ticket)
            self._changed.notify()
        return ticket

    def ahead(self, ticket: Ticket) -> int:
        """How many wait before this one; 0 if it is its turn."""
        with self._changed:
            return self._queue.index(ticket) if ticket in self._queue else 0

    def cancel(self, ticket: Ticket) -> None:
        """Forget a request that waits; kill the worker of one that is worked on. Nothing if it is done."""
        with self._changed:
            ticket.cancelled.set()
            if ticket in self._queue:
                self._queue.remove(ticket)
                ticket.future.set_exception(_cancelled())

    def cancel_all(self, owner: str) -> None:
        """`cancel` all requests of an owner."""
        with self._changed:
            tickets = [ticket for ticket in (*self._queue, *self._running) if ticket.owner == owner]
        for ticket in tickets:
            self.cancel(ticket)

    def close(self) -> None:
        """Cancel everything and end the workers."""
        with self._changed:
            self._closed = True
            tickets = [*self._queue, *self._running]
            self._changed.notify_all()
        for ticket in tickets:
            self.cancel(ticket)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _serve(self, process: _Process | None) -> None:
        """The life of a thread that serves one worker: it is started again where it is not there."""
        while True:
            if process is None and not self._closed:
                with contextlib.suppress(WeakSVRError):  # said to the next request, which tries again
                    process = _Process(self._options, self.limits)
            ticket = self._next()
            if ticket is None:
                if process is not None:
                    process.kill()
                return
            try:
                process = process or _Process(self._options, self.limits)
                reply = self._exchange(process, ticket)
            except WeakSVRError as error:
                reply = {"failure": error, "spent": True}
            with self._changed:
                self._running.discard(ticket)
            _settle(ticket, reply)
            if reply.get("spent") and process is not None:
                process.kill()
                process = None

    def _next(self) -> Ticket | None:
        """The next request, None when the pool is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            if self._closed:
                return None
            ticket = self._queue.popleft()
            self._running.add(ticket)
            return ticket

    def _exchange(self, process: _Process, ticket: Ticket) -> dict[str, Any]:
        """Send a request and wait for the reply. Raises `StoppedError` if there will be none."""
        deadline = time.monotonic() + self.limits.seconds
        ticket.stage = "starting"
        if ticket.cancelled.is_set():
            raise _cancelled()
        try:
            process.connection.send_bytes(json.dumps(ticket.request).encode())
            while True:
                if process.connection.poll(_POLL_SECONDS):
                    reply = _receive(process.connection)
                    if "stage" not in reply:
                        return reply
                    ticket.stage = str(reply["stage"])
                if ticket.cancelled.is_set():
                    raise _cancelled()
                if time.monotonic() > deadline:
                    raise StoppedError(
                        f"stopped after {self.limits.seconds:g} seconds, the limit of this page; take shorter videos"
                    )
        except (EOFError, OSError) as error:
            raise StoppedError(CRASHED) from error


def _receive(connection: Connection) -> dict[str, Any]:
    """A JSON object from a worker. Raises `EOFError` or `OSError` if there is none."""
    try:
        document = json.loads(connection.recv_bytes(_MAX_REPLY_BYTES))
    except ValueError as error:
        raise OSError("a worker sent what is no JSON") from error
    if not isinstance(document, dict):
        raise OSError("a worker sent what is no JSON object")
    return document


def _settle(ticket: Ticket, reply: Mapping[str, Any]) -> None:
    if "answer" in reply:
        ticket.future.set_result(reply["answer"])
    elif "failure" in reply:
        ticket.future.set_exception(reply["failure"])
    else:
        ticket.future.set_exception(WeakSVRError(str(reply.get("error"))))


def _cancelled() -> StoppedError:
    return StoppedError("cancelled")
