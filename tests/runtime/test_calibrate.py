from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from weaksvr.runtime.bundle import DEFAULT_BUNDLE, Bundle
from weaksvr.runtime.bundle_update import write_thresholds
from weaksvr.runtime.calibrate import calibrate, calibrated_threshold, doubts, write_calibration
from weaksvr.runtime.errors import BundleError, DataError, OptionError, OutputError, VideoError
from weaksvr.runtime.manifest import Pair
from weaksvr.runtime.metrics import equal_error_threshold, roc_auc
from weaksvr.runtime.operating_point import EQUAL_ERROR, OperatingPoint
from weaksvr.runtime.verify import load

KEY = {"method": "vector", "precision": "fp32", "sampling": "uniform-4"}
ONE_PERCENT = OperatingPoint(rule="false-accept", rate=0.01)


def apart(same):
    """Pairs of which no two have a video in common."""
    return [Pair(video_a=Path(f"{row}a"), video_b=Path(f"{row}b"), same=bool(kind)) for row, kind in enumerate(same)]


@pytest.fixture
def pairs_file(videos, tmp_path):
    """Pairs of the toy videos: the first two are the same."""
    path = tmp_path / "pairs.csv"
    names = {"first": 1, "again": 1, "other": 2}
    rows = [
        f"{getattr(videos, a)},{getattr(videos, b)},{int(names[a] == names[b])}"
        for a, b in itertools.combinations(names, 2)
    ]
    path.write_text("\n".join(["video_a,video_b,same", *rows, ""]))
    return path


def drawn(seed, *, count=200, apart_by=1.5):
    rng = np.random.default_rng(seed)
    same = np.arange(count) < count // 2
    return same, np.where(same, 5.0, 5.0 + apart_by) + rng.normal(size=count)


def test_the_numbers_are_those_of_the_pairs():
    same, distances = drawn(0)
    entry = calibrated_threshold(distances, apart(same), **KEY)
    threshold, eer = equal_error_threshold(same, distances)
    evidence = entry.calibrated.evidence
    assert (entry.threshold, entry.calibrated.eer) == (threshold, pytest.approx(eer))
    assert entry.calibrated.auc == pytest.approx(roc_auc_score(same, -distances))
    assert evidence.false_accept == np.mean(distances[~same] <= threshold)
    assert evidence.false_refuse == np.mean(distances[same] > threshold)
    assert (entry.calibrated.pairs, entry.calibrated.same, evidence.videos) == (200, 100, 400)
    assert (evidence.resampled, evidence.at) == ("groups", "equal-error")
    assert (evidence.independent_same, evidence.independent_different) == (pytest.approx(100), pytest.approx(100))
    for name, value in {
        "threshold": entry.threshold,
        "auc": entry.calibrated.auc,
        "eer": entry.calibrated.eer,
        "false_accept": evidence.false_accept,
        "false_refuse": evidence.false_refuse,
    }.items():
        low, high = evidence.intervals[name]
        assert low < value < high
    assert evidence.false_accept < evidence.false_accept_bound < evidence.intervals["false_accept"][1] + 0.05


def test_the_curve_tells_the_rates_of_other_thresholds():
    same, distances = drawn(0)
    entry = calibrated_threshold(distances, apart(same), **KEY)
    evidence = entry.calibrated.evidence
    thresholds, accepted, refused = np.array(evidence.curve).T
    assert len(thresholds) == 34
    one_pair = 0.0101  # that lies at the threshold itself, which is rounded
    for threshold, false_accept, false_refuse in evidence.curve:
        assert false_accept == pytest.approx(np.mean(distances[~same] <= threshold), abs=one_pair)
        assert false_refuse == pytest.approx(np.mean(distances[same] > threshold), abs=one_pair)
    own = int(np.argmin(abs(thresholds - entry.threshold)))
    assert (accepted[own], refused[own]) == (evidence.false_accept, evidence.false_refuse)
    assert (accepted[0], refused[0], accepted[-1], refused[-1]) == (0, 1, 1, 0)


def test_the_same_pairs_give_the_same_calibration():
    same, distances = drawn(1, count=40)
    assert calibrated_threshold(distances, apart(same), **KEY) == calibrated_threshold(distances, apart(same), **KEY)


def test_intervals_hold_the_truth_as_often_as_they_say(monkeypatch):
    """Normal distances: the equal error threshold, AUC and rates of all pairs that there could be are known."""
    monkeypatch.setattr("weaksvr.runtime.calibrate.RESAMPLES", 200)
    gap, rounds = 1.5, 120
    truth = {"threshold": 5 + gap / 2, "auc": NormalDist().cdf(gap / 2**0.5), "eer": NormalDist().cdf(-gap / 2)}
    held = dict.fromkeys((*truth, "false_accept", "bound"), 0)
    for seed in range(rounds):
        same, distances = drawn(seed, count=120, apart_by=gap)
        entry = calibrated_threshold(distances, apart(same), **KEY)
        evidence = entry.calibrated.evidence
        accepted = NormalDist(5 + gap, 1).cdf(entry.threshold)
        for name, value in {**truth, "false_accept": accepted}.items():
            low, high = evidence.intervals[name]
            held[name] += low <= value <= high
        held["bound"] += accepted <= evidence.false_accept_bound
    assert {name: count / rounds for name, count in held.items() if count / rounds < 0.9} == {}
    assert held["auc"] / rounds <= 0.99  # an interval that always holds says too little


def test_the_bound_holds_where_pairs_share_videos(monkeypatch):
    """Every video has a share in the distances of its pairs, which makes many pairs worth few."""
    monkeypatch.setattr("weaksvr.runtime.calibrate.RESAMPLES", 100)
    rounds, count = 60, 30
    held = naive = 0
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        rows = [row for row in itertools.combinations(range(count), 2) if sum(row) % 3]
        share = rng.normal(size=count)
        a, b = np.array(rows).T
        same = (a % 2 == 0) & (b % 2 == 0)
        distances = 10 + np.where(same, 0.0, 2.0) + share[a] + share[b] + rng.normal(size=len(rows))
        pairs = [
            Pair(video_a=Path(f"{i}"), video_b=Path(f"{j}"), same=bool(s)) for (i, j), s in zip(rows, same, strict=True)
        ]
        entry = calibrated_threshold(distances, pairs, **KEY)
        evidence = entry.calibrated.evidence
        assert evidence.resampled == "videos"
        true = NormalDist(12, 3**0.5).cdf(entry.threshold)
        held += true <= evidence.false_accept_bound
        alone = calibrated_threshold(distances, apart(same), **KEY).calibrated.evidence
        naive += true <= alone.false_accept_bound
    assert held / rounds >= 0.9
    assert naive / rounds < held / rounds


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.05, 0.2])
def test_a_false_accept_rate_is_kept(rate):
    same, distances = drawn(2, count=400)
    point = OperatingPoint(rule="false-accept", rate=rate)
    entry = calibrated_threshold(distances, apart(same), **KEY, at=point)
    evidence = entry.calibrated.evidence
    assert np.mean(distances[~same] <= entry.threshold) == evidence.false_accept <= rate
    assert (evidence.false_accept, evidence.at) == (pytest.approx(rate), str(point))
    assert entry.calibrated.rule == f"at most {rate} of the different calibration pairs accepted"
    assert evidence.intervals["false_accept"][0] <= rate <= evidence.intervals["false_accept"][1]
    assert evidence.intervals["false_accept"][1] > 0  # also where none was accepted


def test_what_too_few_pairs_cannot_promise():
    same, distances = drawn(3, count=400)
    few = calibrated_threshold(distances, apart(same), **KEY, at=ONE_PERCENT)
    (text,) = doubts(few, ONE_PERCENT)
    assert text.startswith(
        "the 200 different pairs are worth 200 independent ones and show a false accept rate of at most"
    )
    assert text.endswith("too few to promise 0.01, which takes at least 299 independent ones, none of them accepted")
    same, distances = drawn(3, count=1200)
    many = calibrated_threshold(distances, apart(same), **KEY, at=ONE_PERCENT)
    assert many.calibrated.evidence.false_accept_bound < 0.025
    assert doubts(many, ONE_PERCENT)[0].endswith("(95 % confidence): ask for a lower rate to promise 0.01")
    lower = calibrated_threshold(distances, apart(same), **KEY, at=OperatingPoint(rule="false-accept", rate=0.002))
    assert lower.calibrated.evidence.false_accept_bound <= 0.01
    assert doubts(lower, ONE_PERCENT) == doubts(calibrated_threshold(distances, apart(same), **KEY), EQUAL_ERROR) == []


def test_nothing_promises_a_rate_of_zero():
    same, distances = drawn(3, count=100)
    never = OperatingPoint(rule="false-accept", rate=0.0)
    (text,) = doubts(calibrated_threshold(distances, apart(same), **KEY, at=never), never)
    assert text.endswith("of at most 0.058 (95 % confidence): no number of pairs can promise 0")


def test_what_distances_do_not_tell():
    same, distances = drawn(4, count=40, apart_by=0.0)
    assert any(
        "these pairs do not show" in text
        for text in doubts(calibrated_threshold(distances, apart(same), **KEY), EQUAL_ERROR)
    )
    turned = calibrated_threshold(
        -distances + 20, apart(distances > 6), **KEY, at=OperatingPoint(rule="false-accept", rate=0.0)
    )
    assert turned.calibrated.evidence.false_refuse < 1
    reverse = calibrated_threshold(
        distances, apart(distances > 6), **KEY, at=OperatingPoint(rule="false-accept", rate=0.0)
    )
    assert "every same pair is refused at this threshold" in doubts(reverse, EQUAL_ERROR)
    assert reverse.probability.slope == 0


def test_a_rate_that_no_threshold_has():
    with pytest.raises(
        OptionError, match=r"vector: no threshold has a false accept rate of at most 0\.01, as 50\.00% of"
    ):
        calibrated_threshold(np.array([0.0, 0.0, 0.3]), apart([True, False, False]), **KEY, at=ONE_PERCENT)


def test_a_bundle_is_calibrated(own_bundle, videos, pairs_file):
    model = load(own_bundle, device="cpu")
    steps = []
    result = calibrate(model, pairs_file, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    written = write_calibration(result, model.bundle)
    manifest = Bundle.open(own_bundle).manifest
    assert manifest == written.manifest
    assert [entry.key for entry in manifest.thresholds] == [
        ("vector", "fp32", "uniform-4"),
        ("alignment", "fp32", "uniform-4"),
    ]
    for entry in manifest.thresholds:
        same, distances = result.same, result.distances[entry.method]
        assert entry.threshold == equal_error_threshold(same, distances)[0]
        assert entry.calibrated.auc == roc_auc(same, distances)
        evidence = entry.calibrated.evidence
        assert (evidence.source, evidence.videos) == ("pairs.csv", 3)
        assert [report.path for report in manifest.reports] == [evidence.picture]
    assert ET.parse(own_bundle / manifest.reports[0].path).getroot().tag.endswith("svg")
    calibrated = load(own_bundle, device="cpu")
    for other, same in ((videos.again, True), (videos.other, False)):
        verdict = calibrated.verify(videos.first, other)
        assert verdict.same is same
        assert verdict.threshold == manifest.thresholds[0].threshold
        assert verdict.probability == manifest.thresholds[0].probability.at(verdict.distance)
    assert json.loads(json.dumps(result.to_json()))["schema"] == "weaksvr.calibrate/1"


def test_only_what_was_calibrated_changes(own_bundle, pairs_file):
    before = Bundle.open(own_bundle).manifest
    model = load(own_bundle, device="cpu")
    write_calibration(calibrate(model, pairs_file), model.bundle)
    both = Bundle.open(own_bundle).manifest
    once = load(own_bundle, device="cpu", sampling="three-view")
    write_calibration(calibrate(once, pairs_file, methods=("vector",)), once.bundle)
    after = Bundle.open(own_bundle).manifest
    assert after.thresholds[:2] == both.thresholds
    assert after.thresholds[2].key == ("vector", "fp32", "three-view-4")
    assert len(after.reports) == 2
    changed = dataclasses.replace(after, thresholds=before.thresholds, reports=before.reports)
    assert changed == before
    accuracy = OperatingPoint(rule="accuracy")
    write_calibration(calibrate(model, pairs_file, at=accuracy), model.bundle)
    last = Bundle.open(own_bundle).manifest
    assert {entry.calibrated.rule for entry in last.thresholds[:2]} == {accuracy.description}
    pictures = {entry.calibrated.evidence.picture for entry in last.thresholds}
    assert (
        {report.path for report in last.reports} == pictures == {path.name for path in own_bundle.glob("calibration.*")}
    )


def test_a_calibrated_copy(toy_bundle, own_bundle, pairs_file, tmp_path):
    model = load(toy_bundle, device="cpu")
    before = (toy_bundle / "manifest.json").read_bytes()
    result = calibrate(model, pairs_file)
    copy = write_calibration(result, model.bundle, out=tmp_path / "deep" / "copy")
    assert (toy_bundle / "manifest.json").read_bytes() == before
    opened = Bundle.open(copy.path)
    assert opened.manifest.files == model.bundle.manifest.files
    assert [opened.read(file) for file in opened.manifest.files] == [
        model.bundle.read(f) for f in opened.manifest.files
    ]
    own = write_calibration(result, Bundle.open(own_bundle), out=own_bundle)
    assert own.manifest == opened.manifest
    again = write_calibration(result, model.bundle, out=copy.path)
    assert again.manifest == opened.manifest


def test_a_copy_that_cannot_be_finished_leaves_nothing(own_bundle, pairs_file, tmp_path):
    model = load(own_bundle, device="cpu")
    result = calibrate(model, pairs_file)
    path = next(own_bundle.glob("temporal.*"))
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"\x00")
    with pytest.raises(BundleError, match="was changed"):
        write_calibration(result, model.bundle, out=tmp_path / "deep" / "copy")
    assert not (tmp_path / "deep").exists()


def test_folders_that_are_not_written_to(toy_bundle, own_bundle, pairs_file, tmp_path):
    model = load(toy_bundle, device="cpu")
    result = calibrate(model, pairs_file)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    for out, message in (
        (DEFAULT_BUNDLE, "comes with the package and is read-only; write a copy with --out DIR"),
        (tmp_path / "mine", "exists and is not a bundle"),
        (tmp_path / "file" / "deep", "file is not a folder"),
    ):
        with pytest.raises(OutputError, match=message):
            write_calibration(result, model.bundle, out=out)
    opened = Bundle.open(own_bundle)
    fewer = dataclasses.replace(opened.manifest, files=opened.manifest.files[:2], tokenizer=None)
    with pytest.raises(OutputError, match="was replaced while it was calibrated; calibrate it again"):
        write_thresholds(Bundle(own_bundle, fewer), result.thresholds)


BAD_PAIRS = {
    "one kind": (["first,again,1"], "has no pair of different procedures; a threshold needs both kinds"),
    "the other kind": (["first,other,0"], "has no pair of the same procedure; a threshold needs both kinds"),
    "contradiction": (
        ["first,again,1", "again,first,0"],
        "says of again.mp4 and first.mp4 that they are the same and that",
    ),
    "missing": (
        ["first,again,1", "first,none,0"],
        r"its video .*none\.mp4 cannot be read; paths are relative to the pairs",
    ),
    "label": (["first,again,yes"], "same is 'yes'; write 1"),
}


@pytest.mark.parametrize("case", BAD_PAIRS)
def test_pairs_that_cannot_be_used(toy_bundle, videos, tmp_path, case):
    rows, message = BAD_PAIRS[case]
    for name in ("first", "again", "other"):
        shutil.copy(getattr(videos, name), tmp_path)
    path = tmp_path / "pairs.csv"
    lines = ["{}.mp4,{}.mp4,{}".format(*row.split(",")) for row in rows]
    path.write_text("\n".join(["video_a,video_b,same", *lines, ""]))
    with pytest.raises(DataError, match=message):
        calibrate(load(toy_bundle, device="cpu"), path)


def test_a_video_that_cannot_be_used(toy_bundle, videos, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    path = tmp_path / "pairs.csv"
    path.write_text(f"video_a,video_b,same\n{videos.first},{videos.again},1\n{videos.first},text.mp4,0\n")
    with pytest.raises(VideoError, match=r"text\.mp4: "):
        calibrate(load(toy_bundle, device="cpu"), path)


def test_repeated_pairs_count_once(toy_bundle, videos, pairs_file):
    model = load(toy_bundle, device="cpu")
    once = calibrate(model, pairs_file)
    with pairs_file.open("a") as file:
        file.write(f"{videos.again},{videos.first},1\n")
    twice = calibrate(model, pairs_file)
    assert "1 repeated pairs of pairs.csv count once" in twice.notes
    assert [entry.threshold for entry in twice.thresholds] == [entry.threshold for entry in once.thresholds]
    assert twice.thresholds[0].calibrated.pairs == 3
