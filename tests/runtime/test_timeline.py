"""Timelines of videos with planted steps."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from weaksvr.runtime.errors import DataError, OptionError, TooFewFramesError
from weaksvr.runtime.script import Script, ScriptStep
from weaksvr.runtime.step_finding import TimelineSettings
from weaksvr.runtime.timeline import STEP_STATUSES
from weaksvr.runtime.verify import load

# A video of at most 3.6 s is seen as a whole, a longer one in windows; nearly every frame is looked at.
FINE = TimelineSettings(window_seconds=1.2, whole_seconds=3.6, phases=8)


@pytest.fixture(scope="module")
def model(step_bundle):
    return load(step_bundle, device="cpu")


def statuses(result):
    return [step.status for step in result.steps]


def test_a_video_that_follows_its_script(model, step_video):
    result = model.timeline(["take", "pour", "stir"], step_video(None, "take", "pour", None, "stir"), settings=FINE)
    assert (result.passed, result.verdict, result.reasons) == (True, "PASS", ())
    assert statuses(result) == ["found"] * 3
    spans = [(step.start, step.end) for step in result.steps]
    assert np.abs(np.array(spans) - [(1, 2), (2, 3), (4, 5)]).max() <= result.interval_seconds
    assert all(0.9 < step.confidence <= 1 for step in result.steps)
    idle = [(part.start, part.end) for part in result.unexplained]
    assert np.abs(np.array(idle) - [(0, 1), (3, 4)]).max() <= result.interval_seconds
    assert (result.start, result.end) == pytest.approx((0, result.duration_seconds))
    assert len(result.windows) > 1


@pytest.mark.parametrize(
    ("script", "shown", "expected", "reason"),
    [
        (["take", "pour", "stir"], ["take", "stir"], ["found", "missing", "found"], r"step 2 \(pour\) is missing"),
        (["take", "pour"], ["take", "pour", "take"], ["repeated", "found"], r"step 1 \(take\) is repeated, at 0:0[12]"),
        (["take", "take"], ["take", None], ["found", "missing"], "is missing"),
        (["take", "pour", "take"], ["take", "pour", "take"], ["found"] * 3, None),
        (["take", None, "take"], ["take", None, "take"], ["found"] * 2, None),
        (["stir"], ["take", "pour", "take"], ["missing"], "is missing"),
    ],
)
def test_statuses(model, step_video, script, shown, expected, reason):
    result = model.timeline([step for step in script if step], step_video(*shown), settings=FINE)
    assert statuses(result) == expected
    assert result.passed is (reason is None)
    assert reason is None or re.search(reason, "; ".join(result.reasons))


def test_swapped_steps_are_out_of_order(model, step_video):
    result = model.timeline(["take", "pour", "stir"], step_video("take", "stir", "pour"), settings=FINE)
    assert sorted(statuses(result)) == ["found", "found", "out of order"]
    assert not result.passed
    assert all(step.start is not None for step in result.steps)


@pytest.mark.parametrize(
    ("limits", "status", "reason"),
    [
        ({"min_seconds": 0.5, "max_seconds": 1.5}, "found", None),
        ({"min_seconds": 2.5}, "too short", "takes 1.0 s, less than 2.5 s"),
        ({"max_seconds": 0.7}, "too long", "takes 1.0 s, more than 0.7 s"),
    ],
)
def test_times_that_a_step_may_take(model, step_video, limits, status, reason):
    script = Script(steps=(ScriptStep(text="take"), ScriptStep(text="pour", **limits)))
    result = model.timeline(script, step_video("take", "pour", None), settings=FINE)
    assert statuses(result) == ["found", status]
    assert result.reasons == (() if reason is None else (f"step 2 (pour) {reason}",))
    assert (result.steps[1].min_seconds, result.steps[1].max_seconds) == (
        limits.get("min_seconds"),
        limits.get("max_seconds"),
    )


def test_unexplained_time_fails_only_where_it_is_limited(model, step_video):
    video = step_video("take", None, "pour")
    assert model.timeline(["take", "pour"], video, settings=FINE).passed
    strict = TimelineSettings(window_seconds=1.2, whole_seconds=3.6, phases=8, max_unexplained_seconds=0.6)
    result = model.timeline(["take", "pour"], video, settings=strict)
    assert (result.passed, statuses(result)) == (False, ["found", "found"])
    assert result.reasons[0].startswith("nothing of the script happens at 0:0")


def test_a_part_of_a_video(model, step_video):
    video = step_video(None, "take", "pour", None, "stir")
    result = model.timeline(["take", "pour"], video, start=1.0, end=3.0, settings=FINE)
    assert result.passed
    assert (result.start, result.end) == pytest.approx((1.0, 3.0))
    assert result.steps[0].start == pytest.approx(1.0)
    assert not result.unexplained
    rest = model.timeline(["take", "pour"], video, start=3.0, settings=FINE)
    assert statuses(rest) == ["missing", "missing"]


def test_a_script_file(model, step_video, tmp_path):
    file = tmp_path / "script.txt"
    file.write_text("# tea\ntake | max 1.5s\n\npour\n", encoding="utf-8")
    result = model.timeline(file, step_video("take", "pour", None), settings=FINE)
    assert (result.script, result.steps[0].max_seconds, result.passed) == (str(file), 1.5, True)


def test_a_script_longer_than_the_video(model, step_video):
    result = model.timeline(["take", "pour", "stir"] * 4, step_video("take", "pour", None), settings=FINE)
    assert not result.passed
    assert "missing" in statuses(result)
    assert any("the script has 12 steps, more than 3.0 s of video can show" in note for note in result.notes)


def test_steps_too_short_to_be_seen_are_said(model, step_video):
    script = Script(steps=(ScriptStep(text="take", max_seconds=0.1), ScriptStep(text="pour")))
    result = model.timeline(script, step_video("take", "pour", None), settings=FINE)
    assert any(note.startswith("step 1 (take) may take at most 0.1 s, but a step shorter") for note in result.notes)


def test_the_document_says_all(model, step_video):
    result = model.timeline(["take", "pour", "stir"], step_video("take", None, "pour", "take"), settings=FINE)
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert (document["schema"], document["verdict"], document["passed"]) == ("weaksvr.timeline/1", "FAIL", False)
    assert [step["status"] for step in document["steps"]] == statuses(result)
    assert set(document["steps"][0]) == {
        "text", "status", "start", "end", "confidence", "min_seconds", "max_seconds",
    }  # fmt: skip
    assert document["steps"][2]["start"] is None
    assert [again["step"] for again in document["repeats"]] == [0]
    assert document["windows"][0]["start"] == 0.0
    assert document["settings"]["window_seconds"] == 1.2
    assert len(document["times_seconds"]) == len(document["assignment"]) == len(result.times_seconds)
    assert {"device", "provider", "precision", "bundle", "notes", "reasons"} <= set(document)
    times, assignment = np.array(document["times_seconds"]), np.array(document["assignment"])
    for number, step in enumerate(document["steps"]):
        if step["status"] == "found":
            inside = (times > step["start"]) & (times < step["end"])
            assert (assignment[inside] == number).all()
    for part in document["unexplained"]:
        assert (assignment[(times > part["start"]) & (times < part["end"])] == -1).all()


def test_verdict_status_and_reasons_never_contradict(model, step_video):
    rng = np.random.default_rng(1)
    names = ["take", "pour", "stir"]
    shown = [step_video(*order) for order in (("take", "pour", "stir"), ("stir", "take"), ("pour", None, "pour"))]
    for number in range(30):
        script = rng.choice(names, size=rng.integers(1, 5)).tolist()
        result = model.timeline(script, shown[number % 3], settings=FINE)
        assert set(statuses(result)) <= set(STEP_STATUSES)
        assert result.passed == (set(statuses(result)) == {"found"}) == (not result.reasons)
        assert all((step.start is None) == (step.status == "missing") for step in result.steps)
        assert ("repeated" in statuses(result)) <= bool(result.repeats)


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ([], OptionError, "at least one"),
        (["take", " "], OptionError, "has no text"),
        ("none.txt", DataError, "cannot be read"),
    ],
)
def test_scripts_that_cannot_be_meant(model, step_video, script, error, message):
    with pytest.raises(error, match=message):
        model.timeline(script, step_video("take", "pour", None))


def test_a_video_of_one_frame(model, step_video):
    with pytest.raises(TooFewFramesError, match="has 1 frames, but 4 are needed"):
        model.timeline(["take"], step_video("take", rate=1))
