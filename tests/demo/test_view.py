from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from weaksvr.demo.view import busy_view, error_view, note_view, table, verify_view
from weaksvr.runtime.pictures import scale, share

RESULT = {
    "verdict": "same",
    "same": True,
    "distance": 0.0429,
    "threshold": 0.13,
    "margin": 0.0871,
    "probability": 0.989,
    "method": "alignment",
    "device": "cpu",
    "provider": "CPUExecutionProvider",
    "precision": "fp32",
    "sampling": "three-view-16",
    "bundle": "toy",
    "notes": [],
    "explanation": None,
}
PICTURE = "data:image/jpeg;base64,AAAA"


def column(second: float, apart: float) -> dict:
    return {
        "seconds_a": second,
        "seconds_b": second + 1,
        "apart": apart,
        "picture_a": PICTURE,
        "picture_b": PICTURE,
    }


def answer(**changes) -> dict:
    columns = [column(2.0, 0.01), column(75.0, 0.4)]
    return {"result": {**RESULT, **changes}, "columns": columns, "unlike_from": 0.13}


def words(html: str) -> str:
    """What a reader sees."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_the_verdict_is_the_first_thing_one_reads():
    assert words(verify_view(answer())).startswith("Same procedure Both videos show the same steps, in the same order.")
    different = {"verdict": "different", "same": False, "distance": 0.3, "margin": -0.17, "probability": 0.001}
    assert words(verify_view(answer(**different))).startswith("Different procedures The videos do not show")
    undecided = words(verify_view(answer(verdict="undecided")))
    assert undecided.startswith("Undecided ")
    assert "A clear call" not in undecided


def test_verdicts_differ_in_shape_not_in_colour_alone():
    shapes = {
        re.search(r"<svg.*?</svg>", verify_view(answer(verdict=verdict)))[0]
        for verdict in ("same", "different", "undecided")
    }
    assert len(shapes) == 3


@pytest.mark.parametrize(
    ("margin", "call"), [(0.0871, "A clear call."), (0.01, "A close call"), (-0.01, "A close call")]
)
def test_a_close_call_is_said(margin, call):
    assert call in words(verify_view(answer(margin=margin, same=margin >= 0)))


@pytest.mark.parametrize(
    ("chance", "text"), [(0.989, "99 %"), (0.9999, "above 99 %"), (0.0001, "below 1 %"), (0.5, "50 %")]
)
def test_a_chance_is_never_certainty(chance, text):
    assert share(chance) == text
    assert f"procedure is {text}." in words(verify_view(answer(probability=chance)))


def test_without_a_calibrated_chance_there_is_none():
    assert "chance" not in verify_view(answer(probability=None)).lower()


def test_moments_that_are_unlike_are_marked_by_a_sign_a_word_and_a_frame():
    html = verify_view(answer())
    assert [re.search(r"[=≠] \w+", words(item))[0] for item in re.findall(r"<li.*?</li>", html)] == [
        "= alike",
        "≠ unlike",
    ]
    assert html.count('class="w-is-unlike"') == 1
    assert 'alt="Video A at 1:15"' in html
    assert 'alt="Video B at 1:16"' in html
    assert "1 of 2 are marked ≠" in words(html)


def test_without_a_calibration_no_moment_is_called_unlike():
    html = verify_view({**answer(), "unlike_from": None})
    assert "≠" not in words(html)
    assert html.count("<figure>") == 4


def test_differences_are_told_in_words():
    difference = {"kind": "swapped", "text": "in B, <b> comes before what A shows"}
    text = verify_view(answer(explanation={"summary": "the videos part in 1 place", "differences": [difference]}))
    assert "Where they differ The videos part in 1 place. swapped in B, &lt;b&gt; comes before what A shows" in words(
        text
    )


def marks(svg: str) -> dict[str, float]:
    """Where distance and threshold stand in the picture."""
    root = ET.fromstring(svg)
    paths = {path.get("class"): float(re.match(r"M([\d.]+)", path.get("d"))[1]) for path in root.findall("path")}
    return {"distance": paths["w-here"], "threshold": paths["w-limit"]}


@pytest.mark.parametrize("distance", [0.0, 0.05, 0.13, 0.131, 0.2, 0.9])
def test_the_scale_is_well_formed_and_in_proportion(distance):
    places = marks(scale(distance, 0.13))
    zero = marks(scale(0.0, 0.13))["distance"]
    assert (places["distance"] - zero) / (places["threshold"] - zero) == pytest.approx(distance / 0.13, abs=0.01)
    assert zero <= places["distance"] < 680


def test_a_scale_with_the_threshold_at_zero():
    assert marks(scale(0.1, 0.0))["threshold"] == marks(scale(0.0, 0.13))["distance"]
    ET.fromstring(scale(0.0, 0.0))


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_what_comes_from_outside_is_escaped(text):
    explanation = {"summary": text, "differences": [{"kind": text, "text": text}]}
    views = [
        error_view(text),
        note_view(text, text),
        busy_view(text, ahead=0),
        table([(text, text)]),
        verify_view(answer(bundle=text, notes=[text], sampling=text, device=text, explanation=explanation)),
    ]
    for view in views:
        assert "<script" not in view
        assert "<img src=x" not in view


def test_an_error_is_its_one_line():
    assert words(error_view("Video A: is an empty file, not a video")) == (
        "This did not work Video A: is an empty file, not a video"
    )
    assert 'role="alert"' in error_view("x")


@pytest.mark.parametrize(
    ("ahead", "text"),
    [
        (0, "Looking at both videos …"),
        (1, "Waiting: 1 request is served before yours"),
        (7, "Waiting: 7 requests are served before yours"),
    ],
)
def test_who_waits_is_told_for_how_many(ahead, text):
    assert words(busy_view("looking at both videos", ahead=ahead)) == text
