"""How much one request may cost."""

from __future__ import annotations

import dataclasses
import math

from ..runtime.errors import OptionError

__all__ = ["Limits"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What an upload and the work on it may take; whatever asks for more is refused or stopped.

    Attributes:
        seconds: of work on one request, waiting not counted.
        memory_bytes: of address space that a worker may add to what it has at rest. Linux only, and not on a GPU,
            whose driver reserves address space freely.
        video_seconds: duration of a video.
        video_pixels: area of its frames.
        video_bytes: size of an uploaded file.
        kept_bytes: of all uploads together.
        kept_seconds: age at which an upload is deleted.
        waiting: requests that may wait for a worker.

    Raises:
        OptionError: if one is not above 0.
    """

    seconds: float = 60.0
    memory_bytes: int = 2 * 2**30
    video_seconds: float = 600.0
    video_pixels: int = 3840 * 2160
    video_bytes: int = 200 * 2**20
    kept_bytes: int = 4 * 2**30
    kept_seconds: float = 1800.0
    waiting: int = 100

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0):
                raise OptionError(f"{field.name} = {value} must be a finite number above 0")
