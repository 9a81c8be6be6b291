"""Pictures drawn from numbers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weaksvr.runtime.errors import OptionError
from weaksvr.runtime.pictures import PATTERNS, clean, patterns, scale, share, swatch, symbol, time_axis
from weaksvr.runtime.thresholds import SameProbability

distances = st.floats(0, 2)


@given(distances, distances, st.none() | st.tuples(distances, distances).map(lambda pair: tuple(sorted(pair))))
def test_everything_on_the_scale_is_in_its_picture(distance, threshold, interval):
    curve = SameProbability(intercept=3.0, slope=20.0)
    svg = ET.fromstring(scale(distance, threshold, interval=interval, probability=curve))
    width = float(svg.get("viewBox").split()[2])
    marks = {each.get("class"): each for each in svg.iter() if each.get("class")}
    limit = float(re.match(r"M([\d.]+) ", marks["w-limit"].get("d"))[1])
    here = float(re.match(r"M([\d.]+) ", marks["w-here"].get("d"))[1])
    assert all(0 <= place <= width for place in (limit, here))
    assert (here <= limit + 0.1) if distance <= threshold else (here >= limit - 0.1)
    assert marks["w-value"].text == f"distance {distance:.4f}"
    assert f"{threshold:.4f}" in svg.get("aria-label")
    assert ("w-between" in marks) is (interval is not None)


def test_without_a_calibration_there_is_no_curve():
    assert "w-curve" not in scale(0.1, 0.2)


@pytest.mark.parametrize(
    ("chance", "words"),
    [(0, "below 1 %"), (0.004, "below 1 %"), (0.5, "50 %"), (0.999, "above 99 %"), (1, "above 99 %")],
)
def test_a_chance_is_never_certain(chance, words):
    assert share(chance) == words


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (3, ["0:00.0", "0:00.5", "0:01.0", "0:01.5", "0:02.0", "0:02.5", "0:03.0"]),
        (11.9, ["0:00", "0:02", "0:04", "0:06", "0:08", "0:10"]),
        (620, ["0:00", "2:00", "4:00", "6:00", "8:00", "10:00"]),
    ],
)
def test_an_axis_has_round_times(end, expected):
    assert re.findall(r">([\d:.]+)</text>", time_axis(end, left=0, right=100, y=0)) == expected


@given(st.floats(0, 1e5), st.floats(0.01, 1e6))
def test_an_axis_never_has_many_times(start, length):
    ticks = re.findall(r'x="([\d.]+)"', time_axis(start + length, left=0, right=100, y=0, start=start))
    assert len(ticks) <= 9
    assert all(0 <= float(tick) <= 100.05 for tick in ticks)


def test_patterns_swatches_and_symbols():
    ids = re.findall(r'id="w-(\w+)"', patterns())
    assert sorted(ids) == sorted(PATTERNS)
    assert "a &lt; b" in swatch("slanted", "a < b")
    assert 'aria-hidden="true"' in symbol("undecided")
    with pytest.raises(OptionError, match="symbol 'x' is not known"):
        symbol("x")


def test_texts_are_escaped_and_nothing_is_hidden():
    assert clean('<b a="1">\'&\u202e\ud800\n') == "&lt;b a=&quot;1&quot;&gt;&#x27;&amp;\\u202e\\ud800\\n"
