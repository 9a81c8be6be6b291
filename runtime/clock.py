"""Times as people read them off a player."""

from __future__ import annotations

from .errors import OptionError

__all__ = ["clock", "clock_span"]


def clock(seconds: float, *, tenths: bool = False) -> str:
    """A time as `0:12`, from an hour on as `1:02:03`; with `tenths` as `0:12.3`. Rounded down, as players do.

    Raises:
        OptionError: if it is negative or not finite.
    """
    if not 0 <= seconds < float("inf"):
        raise OptionError(f"{seconds = } must be a finite number of at least 0")
    ticks = int(seconds * 10 + 1e-6)  # so that 0.3 s, which is 2.9999 tenths in binary, is 3 of them
    minutes, tick = divmod(ticks, 600)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02d}" if hours else f"{minute}"
    text += f":{tick // 10:02d}"
    return f"{text}.{tick % 10}" if tenths else text


def clock_span(start: float, end: float) -> str:
    """From when to when, as `0:12-0:18`; with tenths where the two would read the same.

    Raises:
        OptionError: as `clock` does.
    """
    first, last = clock(start), clock(end)
    if first == last:
        first, last = clock(start, tenths=True), clock(end, tenths=True)
    return f"{first}-{last}"
