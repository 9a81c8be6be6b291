from __future__ import annotations

import contextlib
import dataclasses
from fractions import Fraction

import av
import numpy as np
import pytest
from weaksvr.runtime.abstention import Abstention
from weaksvr.runtime.errors import BundleError, OptionError, VideoNotFoundError
from weaksvr.runtime.familiarity import describe_videos, strangeness
from weaksvr.runtime.inspection import References, inspect
from weaksvr.runtime.inspection_run import InspectionResult, run_inspection
from weaksvr.runtime.verify import distance, load
from weaksvr.runtime.video_part import VideoPart


@pytest.fixture(scope="module")
def model(toy_bundle):
    return load(toy_bundle, device="cpu", num_threads=1)


@pytest.mark.parametrize("method", ["vector", "alignment"])
def test_the_nearest_reference_decides(model, videos, method):
    references = [videos.other, videos.first]
    recordings = [videos.again, videos.other, videos.first]
    found = list(model.verify_many(references, recordings, method=method, workers=2))
    embedded = {path: model.embed(path) for path in (*references, *recordings)}
    for row, recording in zip(found, recordings, strict=True):
        distances = [distance(embedded[path], embedded[recording], method=method) for path in references]
        nearest = distances.index(min(distances))
        assert (row.recording, row.reference) == (str(recording), str(references[nearest]))
        assert row.distance == min(distances)
        assert (row.verdict, row.error) == ("same", "")
        assert row.margin == row.threshold - row.distance


def test_one_reference_says_what_verify_says(model, videos):
    for recording in (videos.again, videos.other):
        (found,) = model.verify_many([videos.first], [recording])
        result = model.verify(videos.first, recording)
        assert found.verdict == result.verdict
        assert found.distance == pytest.approx(result.distance, abs=1e-6)
        assert (found.threshold, found.probability) == (result.threshold, result.probability)


def test_swapping_the_videos_changes_nothing_but_names(model, videos):
    for method in ("vector", "alignment"):
        one, two = (
            model.verify(*pair, method=method) for pair in ((videos.first, videos.other), (videos.other, videos.first))
        )
        assert dataclasses.replace(one, notes=()) == dataclasses.replace(two, notes=())


def test_of_equally_near_references_the_first_one_is_named(model, videos):
    (found,) = model.verify_many(
        [videos.again, videos.first, VideoPart(path=str(videos.first), start=0)], [videos.first]
    )
    assert found.reference == str(videos.first)


def test_parts_of_recordings_and_references(model, videos):
    part = VideoPart(path=str(videos.first), start=0.6, end=1.8)  # green and blue
    found = list(model.verify_many([part], [part, videos.first], threshold=1e-6))
    assert [row.verdict for row in found] == ["same", "different"]
    assert (found[0].start, found[0].end) == (0.6, 1.8)
    assert found[0].reference == f"{videos.first} from 0.6 s to 1.8 s"
    assert model.verify(videos.first, videos.first, part_a=(0.6, 1.8), part_b=(0.6, 1.8)).distance < 1e-6
    whole, cut = (model.verify(videos.first, videos.first, part_b=part_b) for part_b in ((None, None), (1.2, None)))
    assert cut.distance > whole.distance + 0.01
    with pytest.raises(OptionError, match=r"from 2 s to 1 s: start and end must be seconds"):
        model.verify(videos.first, videos.first, part_b=(2, 1))


def test_a_bad_recording_is_a_result(model, videos, tmp_path):
    (tmp_path / "bad.mp4").write_text("no video")
    beyond = VideoPart(path=str(videos.first), start=100)
    found = list(model.verify_many([videos.first], [tmp_path / "bad.mp4", "none.mp4", beyond, videos.first]))
    assert [row.verdict for row in found] == [None, None, None, "same"]
    assert [bool(row.error) for row in found] == [True, True, True, False]
    assert "none.mp4: no such file" in found[1].error
    assert "first.mp4 from 100 s: has 0 frames, but 4 are needed" in found[2].error
    assert found[1].to_dict() == {
        **dict.fromkeys(("start", "end", "verdict", "reference", "distance", "threshold", "margin")),
        **{"recording": "none.mp4", "probability": None, "error": found[1].error, "notes": []},
    }


def test_references_that_cannot_be_used(model, videos):
    with pytest.raises(VideoNotFoundError, match=r"none\.mp4: no such file"):
        list(model.verify_many([videos.first, "none.mp4"], [videos.first]))
    with pytest.raises(OptionError, match="there is no reference"):
        list(model.verify_many([], [videos.first]))
    with pytest.raises(OptionError, match="method 'guess' is not known"):
        list(model.verify_many(["none.mp4"], [videos.first], method="guess"))
    with pytest.raises(OptionError, match="there are no recordings"):
        run_inspection(References.embed(model, [videos.first]), [])


def test_an_uncalibrated_bundle(toys, tmp_path, videos):
    model = load(toys.write(tmp_path / "out", thresholds=()), device="cpu")
    with pytest.raises(BundleError, match="is uncalibrated"):
        list(model.verify_many([videos.first], [videos.first]))


def test_frames_that_are_far_apart_are_noted(model, videos, tmp_path):
    slow = tmp_path / "slow.mp4"
    with av.open(slow, "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(1, 11))
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((32, 32, 3), 99, np.uint8), format="rgb24")))
        container.mux(stream.encode())
    note = f"{slow}: a frame is looked at every 11.0 s; steps that are shorter may be missed"
    assert model.verify(videos.first, slow).notes == (note,)
    assert [found.notes for found in model.verify_many([videos.first], [slow, videos.first])] == [(note,), ()]
    assert References.embed(model, [slow]).notes == (note,)


def test_recordings_are_taken_as_they_are_needed(model, videos):
    taken = []

    def endless():
        while True:
            taken.append(videos.first)
            yield videos.first

    with contextlib.closing(inspect(References.embed(model, [videos.first]), endless())) as results:
        assert next(results).verdict == "same"
    assert len(taken) < 10


@pytest.mark.parametrize("method", ["vector", "alignment"])
def test_a_bundle_that_abstains(toys, tmp_path, videos, method):
    plain = load(toys.write(tmp_path / "plain"), device="cpu")
    first, again = (
        VideoPart(path=str(videos.first), end=1.2),
        VideoPart(path=str(videos.again), end=1.6),
    )  # red and green
    known = [plain.embed(part.path, end=part.end).frame_features for part in (first, again)]
    familiarity = describe_videos(known * 5, [0] * 10)
    strangest = max(strangeness(familiarity, features) for features in known)
    familiarity = dataclasses.replace(familiarity, limit=2 * strangest)
    limit = plain.threshold(method)
    entry = toys.threshold(method, limit)
    entry = dataclasses.replace(entry, abstention=Abstention(low=limit, high=2.0, familiarity=familiarity))
    model = load(toys.write(tmp_path / "out", thresholds=(entry,)), device="cpu")
    result = model.verify(videos.first, videos.other, method=method, part_a=(None, 1.2))
    assert (result.verdict, result.same) == ("undecided", False)
    assert result.notes[0].startswith(f"undecided: the distance is within {limit:.4f} to 2.0000")
    assert result.notes[1] == f"undecided: {videos.other} is unlike the videos that the calibration saw"
    (found,) = model.verify_many([first], [videos.other], method=method)
    assert (found.verdict, found.notes) == ("undecided", result.notes)
    parts = {"part_a": (None, 1.2), "part_b": (None, 1.6)}
    assert model.verify(videos.first, videos.again, method=method, **parts).verdict == "same"
    own = model.verify(videos.first, videos.again, method=method, threshold=0, **parts)
    assert (own.verdict, own.threshold) == ("different", 0)


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["same", "same"], 0),
        (["same", "undecided"], 3),
        (["undecided", "different", "same"], 1),
        (["different", None], 2),
        ([None, "same"], 2),
    ],
)
def test_exit_codes(model, videos, verdicts, code):
    result = run_inspection(References.embed(model, [videos.first]), [VideoPart(path=str(videos.first))])
    rows = tuple(dataclasses.replace(result.recordings[0], verdict=verdict) for verdict in verdicts)
    changed: InspectionResult = dataclasses.replace(result, recordings=rows)
    assert changed.exit_code == code
    assert sum(changed.counts.values()) == len(verdicts)
    assert changed.to_dict()["failed"] == verdicts.count(None)
