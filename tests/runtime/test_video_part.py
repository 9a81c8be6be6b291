from __future__ import annotations

from pathlib import Path

import pytest
from weaksvr.runtime.errors import OptionError
from weaksvr.runtime.video_part import VideoPart


def test_a_path_is_the_whole_video():
    assert VideoPart.of(Path("a.mp4")) == VideoPart(path="a.mp4")
    part = VideoPart(path="a.mp4", start=1.0)
    assert VideoPart.of(part) is part


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        (None, None, "a.mp4"),
        (2.5, None, "a.mp4 from 2.5 s"),
        (None, 5, "a.mp4 from 0 s to 5 s"),
        (2, 5, "a.mp4 from 2 s to 5 s"),
    ],
)
def test_how_it_is_shown(start, end, shown):
    assert str(VideoPart(path="a.mp4", start=start, end=end)) == shown


@pytest.mark.parametrize("part", [(-1, None), (5, 5), (5, 2), (float("nan"), None), (None, 0), (float("inf"), None)])
def test_parts_that_are_none(part):
    with pytest.raises(OptionError, match=r"^a\.mp4 from .*: start and end must be seconds with 0 <= start < end$"):
        VideoPart(path="a.mp4", start=part[0], end=part[1])
