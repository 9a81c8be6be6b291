from __future__ import annotations

import re

import pytest
from weaksvr.demo.view_timeline import timeline_view
from weaksvr.runtime.timeline import STEP_STATUSES

PICTURE = "data:image/jpeg;base64,AAAA"


def step(text: str, status: str = "found", start: float | None = 1.0, end: float | None = 3.0) -> dict:
    return {"text": text, "status": status, "start": start, "end": end, "confidence": 0.9}


def answer(*steps: dict, **changes) -> dict:
    result = {
        "passed": True,
        "reasons": [],
        "steps": list(steps),
        "repeats": [],
        "unexplained": [],
        "duration_seconds": 10.0,
        "interval_seconds": 0.2,
        "device": "cpu",
        "precision": "fp32",
        "bundle": "toy",
        "notes": [],
    }
    return {"result": {**result, **changes}, "pictures": [None if s["start"] is None else PICTURE for s in steps]}


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_the_verdict_comes_first_with_its_reasons():
    assert words(timeline_view(answer(step("pour")))).startswith("Follows the script Every step was found")
    failed = timeline_view(answer(step("pour"), passed=False, reasons=["step 1 (pour) is missing"]))
    assert words(failed).startswith("Does not follow the script Step 1 (pour) is missing")


@pytest.mark.parametrize("status", STEP_STATUSES)
def test_every_status_has_a_sign_and_a_word(status):
    missing = status == "missing"
    html = timeline_view(answer(step("pour", status, *((None, None) if missing else (1.0, 3.0)))))
    state = re.search(r'<span class="w-state"><b aria-hidden="true">(\S+)</b> ([a-z ]+)</span>', html)
    assert state is not None
    assert ("data-seek" in html) is not missing


def test_statuses_differ_in_sign_and_word():
    texts = {
        re.search(r'w-state">(.*?)</span>', timeline_view(answer(step("x", status))))[1] for status in STEP_STATUSES
    }
    assert len(texts) == len(STEP_STATUSES)


def test_bars_stand_where_the_step_happens():
    again = {"step": 1, "text": "stir", "start": 8.0, "end": 9.0, "confidence": 0.5}
    html = timeline_view(answer(step("pour"), step("stir", "repeated", 3.0, 6.0), repeats=[again]))
    assert re.findall(r'style="left:([\d.]+)%;width:([\d.]+)%"', html) == [
        ("10.00", "20.00"),
        ("30.00", "30.00"),
        ("80.00", "10.00"),
    ]
    assert 'aria-label="done again, 0:08-0:09"' in html


def test_buttons_carry_the_seconds_to_jump_to():
    html = timeline_view(answer(step("pour"), unexplained=[{"start": 4.5, "end": 6.0}]))
    buttons = re.findall(r'<button type="button" class="[a-z-]+" data-seek="([\d.]+)"', html)
    assert buttons == ["1.00", "4.50"]
    assert "Where no step was seen" in words(html)
    assert "0:04-0:06" in words(html)


def test_what_comes_from_outside_is_escaped():
    text = "<script>alert(1)</script>"
    html = timeline_view(answer(step(text), passed=False, reasons=[text], notes=[text], bundle=text))
    assert "<script" not in html
