from __future__ import annotations

import base64
import re

import pytest
from weaksvr.demo.view_model import calibration_view, model_view, rates_at, rates_view

CURVE = [[0.0, 0.0, 1.0], [0.1, 0.05, 0.2], [0.3, 0.55, 0.0], [0.9, 1.0, 0.0]]


def facts(**changes) -> dict:
    calibrated = {
        "pairs": 300,
        "same": 100,
        "auc": 0.9,
        "eer": 0.1,
        "rule": "equal error",
        "evidence": {"curve": CURVE},
    }
    entry = {"threshold": 0.1, "calibrated": calibrated}
    values = {
        "name": "toy",
        "description": "Knows toys.",
        "method": "alignment",
        "device": "cpu",
        "provider": "CPUExecutionProvider",
        "precision": "fp32",
        "sampling": "three-view-16",
        "notes": [],
        "reads_scripts": True,
        "thresholds": {"alignment": entry},
        "picture": "<svg/>",
    }
    return {**values, **changes}


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


@pytest.mark.parametrize(
    ("threshold", "rates"),
    [
        (0.0, (0.0, 1.0)),
        (0.05, (0.025, 0.6)),
        (0.1, (0.05, 0.2)),
        (0.2, (0.3, 0.1)),
        (0.9, (1.0, 0.0)),
        (5.0, (1.0, 0.0)),
    ],
)
def test_rates_lie_on_the_curve(threshold, rates):
    assert rates_at(CURVE, threshold) == pytest.approx(rates)


def test_the_errors_of_a_threshold_are_told_in_pairs():
    text = words(rates_view(facts(), 0.2))
    assert "30.0 % different pairs would pass as the same (60 of 200)" in text
    assert "10.0 % same pairs would be called different (10 of 100)" in text
    assert "model's own" not in text
    assert "At 0.100 (the model's own), of the pairs" in words(rates_view(facts(), 0.1))


def test_what_is_not_known_is_said():
    bare = {"threshold": 0.1, "calibrated": {"pairs": 3, "same": 1, "rule": "equal error"}}
    for thresholds in ({}, {"alignment": bare}, {"vector": bare}):
        assert words(rates_view(facts(thresholds=thresholds), 0.1)).startswith("Unknown")
    assert words(calibration_view(facts(thresholds={}))).startswith("Not calibrated")
    assert "<img" not in calibration_view(facts(picture=""))


def test_the_model_and_its_calibration_are_described():
    text = words(model_view(facts(notes=["the GPU is not used"])))
    for word in ("toy", "Knows toys.", "cpu (CPUExecutionProvider)", "fp32", "the GPU is not used", "moment by moment"):
        assert word in text
    html = calibration_view(facts())
    assert "Found on 300 pairs of videos, 100 of them the same: equal error." in words(html)
    assert base64.b64encode(b"<svg/>").decode() in html


def test_what_comes_from_outside_is_escaped():
    text = "<script>alert(1)</script>"
    html = model_view(facts(name=text, description=text, notes=[text], provider=text))
    assert "<script" not in html
