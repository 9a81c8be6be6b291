from __future__ import annotations

import json

import pytest
from weaksvr.runtime.errors import BundleError
from weaksvr.runtime.thresholds import Calibration, Evidence, SameProbability, Threshold

INTERVALS = dict.fromkeys(("threshold", "auc", "eer", "false_accept", "false_refuse"), (0.1, 0.2))


def evidence(**changes):
    values = {
        "at": "false-accept=0.01",
        "false_accept": 0.01,
        "false_refuse": 0.25,
        "intervals": INTERVALS,
        "false_accept_bound": 0.02,
        "false_refuse_bound": 0.3,
        "independent_same": 12.5,
        "independent_different": 100.0,
        "resampled": "groups",
        "resamples": 2000,
        "videos": 40,
        "source": "pairs.csv",
        "sha256": "ab",
        "picture": "calibration.00000000.svg",
        "curve": ((0.0, 0.0, 1.0), (0.5, 0.25, 0.5), (1.5, 1.0, 0.0)),
    }
    return Evidence(**{**values, **changes})


def threshold(**changes):
    calibrated = Calibration(pairs=20, same=8, auc=0.9, eer=0.1, rule="a rule", evidence=evidence())
    values = {"method": "vector", "precision": "fp32", "sampling": "uniform-4", "threshold": 0.5}
    probability = SameProbability(intercept=2.0, slope=7.5)
    return Threshold(**{**values, "calibrated": calibrated, "probability": probability, **changes})


def test_it_survives_json():
    entry = threshold()
    assert Threshold.from_json(json.loads(json.dumps(entry.to_json()))) == entry
    assert entry.key == ("vector", "fp32", "uniform-4")


def test_thresholds_of_before_have_neither_evidence_nor_probability():
    old = threshold(calibrated=Calibration(pairs=20, same=8, auc=0.9, eer=0.1, rule="a rule"), probability=None)
    document = old.to_json()
    assert set(document) == {"method", "precision", "sampling", "threshold", "calibrated"}
    assert set(document["calibrated"]) == {"pairs", "same", "auc", "eer", "rule"}
    assert Threshold.from_json(document) == old


def test_evidence_of_before_has_no_curve():
    old = evidence(curve=())
    assert "curve" not in old.to_json()
    assert Evidence.from_json(old.to_json()) == old


@pytest.mark.parametrize(
    "curve", [((0.5, 0.0, 1.0), (0.4, 0.1, 0.9)), ((0.5, 1.1, 0.0),), ((0.5, 0.0, -0.1),), ((0.5, float("nan"), 0.0),)]
)
def test_a_curve_that_cannot_be(curve):
    with pytest.raises(BundleError, match="the curve's thresholds must ascend, and its rates be between 0 and 1"):
        evidence(curve=curve)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["probability"].update(slope=-1.0), "its slope at least 0"),
        (lambda d: d["probability"].update(slope="steep"), "slope is 'steep', but must be of type float"),
        (lambda d: d.update(probability=3), "probability is 3, but must be of type dict"),
        (lambda d: d["calibrated"].update(evidence=[]), r"evidence is \[\], but must be of type dict"),
        (lambda d: d["calibrated"]["evidence"].update(resampled="pairs"), "resampled is 'pairs', but must be groups"),
        (
            lambda d: d["calibrated"]["evidence"]["intervals"].pop("auc"),
            "intervals of threshold, eer, .*, but must be of",
        ),
        (lambda d: d["calibrated"]["evidence"].update(videos=1.5), "videos is 1.5, but must be of type int"),
    ],
)
def test_documents_that_cannot_be_used(change, message):
    document = json.loads(json.dumps(threshold().to_json()))
    change(document)
    with pytest.raises(BundleError, match=message):
        Threshold.from_json(document)
