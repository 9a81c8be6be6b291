"""Where the page hands its requests in, and how it waits for them without holding up others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..runtime.errors import OptionError, WeakSVRError
from .limits import Limits
from .uploads import UploadFolder
from .view import busy_view, error_view, note_view
from .worker import StoppedError, WorkerPool

__all__ = ["FIRST", "SECOND", "Desk", "trouble_view"]

FIRST: Final = "Video A"
SECOND: Final = "Video B"
_LOOK_SECONDS: Final = 0.2


class Desk:
    """Hands requests to the workers.

    Args:
        pool: the workers.
        folder: where the videos lie.
    """

    def __init__(self, pool: WorkerPool, folder: UploadFolder) -> None:
        self.pool = pool
        self.folder = folder
        self.limits: Limits = pool.limits

    def request(self, task: str, videos: Sequence[tuple[str, str | None]], **needed: Any) -> dict[str, Any]:
        """A request of the videos' labels and paths.

        Raises:
            OptionError: if a video was not given.
            VideoError: if a video is no longer there.
        """
        for label, path in videos:
            if path is None:
                raise OptionError(f"{label}: is missing; upload one, record one, or take an example")
        taken = [{"path": self.folder.take(path or "", label), "label": label} for label, path in videos]
        return {"task": task, "videos": taken, **needed}

    async def answer(self, request: Mapping[str, Any], *, owner: str) -> dict[str, Any]:
        """The answer to a request. Given up if whoever waits for it goes away.

        Raises:
            WeakSVRError: whatever went wrong, as one line.
        """
        ticket = self.pool.submit(request, owner=owner)
        try:
            return await asyncio.wrap_future(ticket.future)
        finally:
            self.pool.cancel(ticket)

    async def views(self, request: Mapping[str, Any], *, owner: str) -> AsyncIterator[str | dict[str, Any]]:
        """What to show meanwhile, each once, and at last the answer.

        Raises:
            WeakSVRError: as `answer` does.
        """
        ticket = self.pool.submit(request, owner=owner)
        try:
            future, shown = asyncio.wrap_future(ticket.future), ""
            while not future.done():
                view = busy_view(ticket.stage, ahead=self.pool.ahead(ticket))
                if view != shown:
                    shown = view
                    yield view
                await asyncio.wait([future], timeout=_LOOK_SECONDS)
            yield future.result()
        finally:
            self.pool.cancel(ticket)

    def cancel(self, owner: str) -> None:
        """Give up all that an owner handed in."""
        self.pool.cancel_all(owner)

    def example(self, name: str) -> Path:
        """The path of an example clip."""
        return self.folder.examples[name]


def trouble_view(error: WeakSVRError) -> str:
    """An error as the page shows it; being cancelled is none."""
    if isinstance(error, StoppedError) and str(error) == "cancelled":
        return note_view("Cancelled", "Nothing is being worked on. The videos are still there.")
    return error_view(str(error))
