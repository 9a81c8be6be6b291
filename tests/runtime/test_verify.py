from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from weaksvr.runtime import alignment
from weaksvr.runtime.bundle import Bundle, write_bundle
from weaksvr.runtime.errors import BundleError, BundleIntegrityError, BundleNotFoundError, OptionError, VideoError
from weaksvr.runtime.script import Script
from weaksvr.runtime.thresholds import SameProbability
from weaksvr.runtime.verify import distance, load


@pytest.fixture(scope="module")
def model(toy_bundle):
    return load(toy_bundle, device="cpu")


@pytest.mark.parametrize("method", ["vector", "alignment"])
def test_verdicts(model, videos, method):
    limit = {"vector": 0.25, "alignment": 0.02}[method]
    for path, same in ((videos.first, True), (videos.again, True), (videos.other, False)):
        result = model.verify(videos.first, path, method=method)
        assert result.same is same
        assert (result.threshold, result.method) == (limit, method)
        assert result.margin == pytest.approx(limit - result.distance)
        assert (result.distance <= limit) is same
    assert model.verify(videos.first, videos.first, method=method).distance == pytest.approx(0, abs=1e-6)


def test_distances_are_those_of_the_embeddings(model, videos):
    a, b = model.embed(videos.first), model.embed(videos.other)
    unit = [v.vector / np.linalg.norm(v.vector) for v in (a, b)]
    assert distance(a, b, method="vector") == pytest.approx(np.linalg.norm(unit[0] - unit[1]), abs=1e-6)
    expected = alignment.alignment_distance(a.frame_features, b.frame_features)
    assert distance(a, b, method="alignment") == expected
    assert model.verify(videos.first, videos.other, method="alignment").distance == expected


def test_what_was_in_effect_is_reported(model, videos):
    result = model.verify(videos.first, videos.again)
    assert result.method == "vector"  # the bundle's default
    assert (result.device, result.provider, result.precision) == ("cpu", "CPUExecutionProvider", "fp32")
    assert (result.sampling, result.bundle, result.notes) == ("uniform-4", "toy", ())
    document = json.loads(json.dumps(result.to_json()))
    assert document.pop("schema") == "weaksvr.verify/1"
    assert document == {**dataclasses.asdict(result), "notes": []}
    assert document["explanation"] is None


@pytest.mark.parametrize("method", ["vector", "alignment"])
def test_an_explanation_changes_nothing_else(model, videos, method):
    bare = model.verify(videos.first, videos.other, method=method)
    explained = model.verify(videos.first, videos.other, method=method, explain=True)
    assert dataclasses.replace(explained, explanation=None) == bare
    assert explained.explanation.verdict is bare.same
    assert explained.to_json()["explanation"] == explained.explanation.to_dict()
    named = model.verify(videos.first, videos.other, script=Script.of(["take the cup", "pour water"]))
    assert named.explanation.steps == ("take the cup", "pour water")


def test_a_script_needs_a_text_network(toys, tmp_path, videos):
    silent = load(toys.write(tmp_path / "out"), device="cpu")
    silent.embedder.tokenizer = None
    with pytest.raises(BundleError, match="the model has no text network; use one that was exported with it"):
        silent.verify(videos.first, videos.other, script=Script.of(["stir"]))


def test_a_threshold_of_zero_is_a_threshold(model, videos):
    result = model.verify(videos.first, videos.again, threshold=0)
    assert result.threshold == 0.0
    assert result.same is (result.distance == 0)
    assert model.verify(videos.first, videos.other, threshold=2).same


def test_a_probability_never_contradicts_the_verdicts(toys, tmp_path, videos):
    entry = toys.threshold("vector", 0.25, probability=SameProbability(intercept=2.0, slope=8.0))
    model = load(toys.write(tmp_path / "out", thresholds=(entry, toys.threshold("alignment", 0.02))), device="cpu")
    results = [model.verify(videos.first, other) for other in (videos.first, videos.again, videos.other)]
    for result in results:
        assert result.probability == pytest.approx(1 / (1 + np.exp(8 * result.distance - 2)))
    ranked = sorted(results, key=lambda result: result.distance)
    assert [result.probability for result in ranked] == sorted((r.probability for r in results), reverse=True)
    assert [result.same for result in ranked] == [True, True, False]
    swapped = model.verify(videos.other, videos.first)
    assert (swapped.distance, swapped.probability) == (results[2].distance, results[2].probability)
    assert model.verify(videos.first, videos.again, threshold=0).probability == results[1].probability
    assert model.verify(videos.first, videos.again, method="alignment").probability is None  # not calibrated with one


def test_every_sampling_has_thresholds_of_its_own(toys, tmp_path, videos):
    entries = (toys.threshold("vector", 0.25), toys.threshold("vector", 0.5, sampling="segment-4"))
    path = toys.write(tmp_path / "out", thresholds=entries)
    for sampling, limit in ((None, 0.25), ("uniform", 0.25), ("segment", 0.5)):
        result = load(path, device="cpu", sampling=sampling).verify(videos.first, videos.again)
        assert (result.threshold, result.sampling) == (limit, f"{sampling or 'uniform'}-4")
    with pytest.raises(BundleError, match=r"and sampling three-view-4; .*weaksvr-calibrate"):
        load(path, device="cpu", sampling="three-view").verify(videos.first, videos.again)
    with pytest.raises(OptionError, match="sampling policy 'random' is not known"):
        load(path, device="cpu", sampling="random")


@pytest.mark.parametrize("threshold", [-0.1, float("nan"), float("inf")])
def test_thresholds_that_cannot_be_meant(model, threshold):
    with pytest.raises(OptionError, match="must be a finite number of at least 0"):
        model.verify("not even looked for", "x", threshold=threshold)


def test_methods_that_are_not_known(model):
    with pytest.raises(OptionError, match="method 'guess' is not known; use one of vector, alignment"):
        model.verify("a", "b", method="guess")
    with pytest.raises(OptionError, match="method 'guess' is not known"):
        model.verify("a", "b", method="guess", threshold=1)


def test_a_bundle_that_was_not_calibrated(toys, tmp_path, videos):
    path = toys.write(tmp_path / "out", thresholds=(toys.threshold("vector", 0.5, sampling="three-view-4"),))
    model = load(path)
    with pytest.raises(BundleError, match=r"no threshold for method vector, precision fp32 and sampling uniform-4; .*"):
        model.verify("not even looked for", "x")
    with pytest.raises(BundleError, match="weaksvr-calibrate"):
        model.verify(videos.first, videos.again, method="alignment")
    assert model.verify(videos.first, videos.again, threshold=1).same


def test_a_bundle_without_any_threshold(toys, tmp_path, videos):
    model = load(toys.write(tmp_path / "out", thresholds=()))
    message = r"out: is uncalibrated, .*; give --threshold X, or calibrate it with weaksvr-calibrate --pairs FILE$"
    with pytest.raises(BundleError, match=message):
        model.verify("not even looked for", "x")
    assert model.verify(videos.first, videos.again, threshold=1).same


def test_which_bundle_there_is_none(tmp_path, monkeypatch):
    with pytest.raises(BundleNotFoundError, match=r"nowhere: no bundle there \(looked for .*manifest\.json\)$"):
        load(tmp_path / "nowhere")
    monkeypatch.setattr("weaksvr.runtime.verify.DEFAULT_BUNDLE", tmp_path / "default")
    with pytest.raises(BundleNotFoundError, match="this installation has no default bundle"):
        load()


def test_the_default_bundle_is_the_one_in_the_package(toy_bundle, monkeypatch):
    monkeypatch.setattr("weaksvr.runtime.verify.DEFAULT_BUNDLE", toy_bundle)
    assert load().bundle.path == toy_bundle


def test_a_changed_network_is_found_when_it_is_loaded(own_bundle, videos):
    path = next(own_bundle.glob("temporal.*"))
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    model = load(own_bundle, device="cpu")
    with pytest.raises(BundleIntegrityError, match="was changed"):
        model.verify(videos.first, videos.again)


def test_a_tokenizer_that_is_none_matters_for_texts_alone(toys, tmp_path, videos):
    broken = dataclasses.replace(toys.tokenizer(), data=b"\xff\xfe")
    write_bundle(tmp_path / "out", toys.manifest(), toys.networks(), tokenizer=broken)
    model = load(tmp_path / "out", device="cpu")
    assert model.verify(videos.first, videos.again).same
    with pytest.raises(BundleIntegrityError, match=r"tokenizer\..*not UTF-8"):
        model.embed_text(["stir"])


def test_a_video_in_which_the_network_sees_nothing(model, videos):
    seen = model.embed(videos.first)
    blind = dataclasses.replace(seen, vector=np.zeros_like(seen.vector))
    with pytest.raises(VideoError, match=r"first\.mp4: the network sees nothing in it"):
        distance(seen, blind, method="vector")
    assert distance(seen, blind, method="alignment") == pytest.approx(0, abs=1e-6)
    features = seen.frame_features.copy()
    features[2] = 0
    with pytest.raises(VideoError, match="the network sees nothing in it"):
        distance(dataclasses.replace(seen, frame_features=features), seen, method="alignment")


def test_embeddings_of_different_models(model, videos):
    seen = model.embed(videos.first)
    short = dataclasses.replace(seen, vector=seen.vector[:3], frame_features=seen.frame_features[:, :3])
    with pytest.raises(OptionError, match="embeddings of 5 and 3 dimensions come from different models"):
        distance(seen, short, method="vector")


def test_a_damaged_video_is_used_and_named(model, videos, tmp_path):
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(videos.first.read_bytes()[:-4])  # the header comes first; of the last picture, a bit is missing
    notes = model.embedder.read(damaged).notes
    assert notes
    result = model.verify(videos.first, damaged)
    assert result.same
    assert result.notes == tuple(f"{damaged}: {note}" for note in notes)


def test_open_bundles_are_values(toy_bundle):
    assert Bundle.open(toy_bundle) == load(toy_bundle).bundle
