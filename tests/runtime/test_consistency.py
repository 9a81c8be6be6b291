"""Verdict, margin, probability and exit code never contradict one another, and A and B may be exchanged."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weaksvr.runtime import load
from weaksvr.runtime.decision import EXIT_CODES
from weaksvr.runtime.inspection import References
from weaksvr.runtime.inspection_run import run_inspection
from weaksvr.runtime.thresholds import SameProbability
from weaksvr.runtime.video_part import VideoPart

METHODS = ("vector", "alignment")


@pytest.fixture(scope="module")
def case(toys, videos, tmp_path_factory):
    """A calibrated model and the paths of three toy videos."""
    probability = SameProbability(intercept=2.0, slope=8.0)
    entries = tuple(toys.threshold(method, 0.1, probability=probability) for method in METHODS)
    bundle = toys.write(tmp_path_factory.mktemp("consistency") / "bundle", thresholds=entries)
    model = load(bundle, device="cpu")
    return model, [str(path) for path in (videos.first, videos.again, videos.other)]


PLACES = st.integers(0, 2)
THRESHOLDS = st.none() | st.floats(0, 2)


@settings(max_examples=25, deadline=None)
@given(a=PLACES, b=PLACES, method=st.sampled_from(METHODS), threshold=THRESHOLDS, explained=st.booleans())
def test_verify_never_contradicts_itself(case, a, b, method, threshold, explained):
    model, paths = case
    options = {"method": method, "threshold": threshold, "explain": explained}
    one = model.verify(paths[a], paths[b], **options)
    other = model.verify(paths[b], paths[a], **options)
    assert one.same is (one.distance <= one.threshold) is (one.margin >= 0)
    assert one.verdict == ("same" if one.same else "different")
    assert EXIT_CODES[one.verdict] == (0 if one.same else 1)
    assert 0 <= one.probability <= 1
    assert (one.explanation is not None) is explained
    assert other.distance == pytest.approx(one.distance, abs=1e-9)
    if abs(one.margin) > 1e-9:
        assert (other.verdict, other.same) == (one.verdict, one.same)
    if explained:
        assert exchanged(other.explanation) == spans(one.explanation)


def spans(explanation):
    return sorted((part.start, part.end) for part in explanation.shown_a), sorted(
        (part.start, part.end) for part in explanation.shown_b
    )


def exchanged(explanation):
    return spans(dataclasses.replace(explanation, shown_a=explanation.shown_b, shown_b=explanation.shown_a))


@settings(max_examples=8, deadline=None)
@given(order=st.lists(PLACES, min_size=1, max_size=3, unique=True), threshold=THRESHOLDS)
def test_a_list_says_what_verify_says(case, order, threshold):
    model, paths = case
    approved = References.embed(model, [VideoPart(path=paths[0])], threshold=threshold)
    found = run_inspection(approved, [VideoPart(path=paths[place]) for place in order])
    for row, place in zip(found.recordings, order, strict=True):
        alone = model.verify(paths[0], paths[place], threshold=threshold)
        assert (row.verdict, row.distance) == (alone.verdict, pytest.approx(alone.distance, abs=1e-6))
        assert (row.margin, row.probability) == (row.threshold - row.distance, pytest.approx(alone.probability))
    assert found.exit_code == max(EXIT_CODES[row.verdict] for row in found.recordings)
