"""Times as people read them."""

from __future__ import annotations

import pytest
from weaksvr.runtime.clock import clock, clock_span
from weaksvr.runtime.errors import OptionError


@pytest.mark.parametrize(
    ("seconds", "text", "with_tenths"),
    [
        (0.0, "0:00", "0:00.0"),
        (0.3, "0:00", "0:00.3"),
        (12.99, "0:12", "0:12.9"),
        (59.999, "0:59", "0:59.9"),
        (60.0, "1:00", "1:00.0"),
        (3599.95, "59:59", "59:59.9"),
        (3723.4, "1:02:03", "1:02:03.4"),
    ],
)
def test_a_time(seconds: float, text: str, with_tenths: str) -> None:
    assert clock(seconds) == text
    assert clock(seconds, tenths=True) == with_tenths


def test_every_tenth_is_itself() -> None:
    for tick in range(36_100):
        hours, rest = divmod(tick, 36_000)
        expected = f"{rest // 600:02d}:{rest % 600 // 10:02d}.{tick % 10}"
        assert clock(tick / 10, tenths=True) == (f"{hours}:{expected}" if hours else expected.removeprefix("0"))


def test_a_span() -> None:
    assert clock_span(12.2, 18.9) == "0:12-0:18"
    assert clock_span(12.2, 12.6) == "0:12.2-0:12.6"


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf")])
def test_no_time(seconds: float) -> None:
    with pytest.raises(OptionError, match="at least 0"):
        clock(seconds)
