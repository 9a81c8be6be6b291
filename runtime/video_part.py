"""A video, or what it shows from one time to another."""

from __future__ import annotations

import dataclasses
import math
import os

from .errors import OptionError

__all__ = ["VideoPart"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class VideoPart:
    """What is looked at of a video: the frames that are displayed in [start, end) seconds.

    Attributes:
        path: a video file, or a folder of frames.
        start, end: seconds; None is the video's own start or end.

    Raises:
        OptionError: if `start` and `end` do not bound a part.
    """

    path: str
    start: float | None = None
    end: float | None = None

    def __post_init__(self) -> None:
        first = 0.0 if self.start is None else self.start
        last = math.inf if self.end is None else self.end
        if not (0 <= first < last and math.isfinite(first)):
            raise OptionError(f"{self}: start and end must be seconds with 0 <= start < end")

    def __str__(self) -> str:
        """The path, and the part if it is not the whole: `a.mp4 from 2 s to 5 s`."""
        first = f" from {self.start or 0:g} s" if (self.start, self.end) != (None, None) else ""
        return f"{self.path}{first}" + ("" if self.end is None else f" to {self.end:g} s")

    @classmethod
    def of(cls, video: str | os.PathLike[str] | VideoPart) -> VideoPart:
        """The whole video of a path; a part as it is."""
        return video if isinstance(video, VideoPart) else cls(path=os.fsdecode(video))
