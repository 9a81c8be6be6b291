from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from weaksvr.runtime.errors import BundleError, DataError, OptionError, VideoError, VideoNotFoundError
from weaksvr.runtime.evaluate import embed_videos, evaluate, pair_distances
from weaksvr.runtime.manifest import Clip, Dataset, MatchingItem, Pair
from weaksvr.runtime.script import Script
from weaksvr.runtime.verify import distance, load


@pytest.fixture(scope="module")
def model(toy_bundle):
    return load(toy_bundle, device="cpu")


@pytest.fixture(scope="module")
def dataset(videos, tmp_path_factory):
    tea = ("take the cup", "pour water", "stir")
    clips = tuple(
        Clip(video=video, steps=steps, procedure=name)
        for video, steps, name in (
            (videos.first, tea, "tea.1"),
            (videos.again, tea, "tea.1"),
            (videos.other, ("pour water", "stir"), "tea.2"),
        )
    )
    pairs = (
        Pair(video_a=videos.first, video_b=videos.again, same=True),
        Pair(video_a=videos.other, video_b=videos.other, same=True),
        Pair(video_a=videos.first, video_b=videos.other, same=False, kind="drop"),
        Pair(video_a=videos.other, video_b=videos.again, same=False, kind="swap"),
    )
    matching = (
        MatchingItem(steps=tea, videos=(videos.first, videos.other), answer=0),
        MatchingItem(steps=("stir",), videos=(videos.other, videos.again, videos.first), answer=0),
    )
    folder = tmp_path_factory.mktemp("data")
    return Dataset(folder=folder, test=clips, test_pairs=pairs, val=clips, val_pairs=pairs[:3], matching=matching)


SAME = np.array([True, True, False, False])


def test_the_numbers(model, dataset):
    thresholds = {"vector": 0.25, "alignment": 10.0}
    result = evaluate(model.embedder, dataset, thresholds=thresholds)
    assert (result.split, result.num_videos, result.num_pairs, result.num_same) == ("test", 3, 4, 2)
    embeddings = {clip.video: model.embed(clip.video) for clip in dataset.test}
    for method in ("vector", "alignment"):
        pairs = [(embeddings[pair.video_a], embeddings[pair.video_b]) for pair in dataset.test_pairs]
        expected = np.array([distance(a, b, method=method) for a, b in pairs])
        found = pair_distances(embeddings, dataset.test_pairs, method=method)
        np.testing.assert_allclose(found, expected, atol=1e-9)
        numbers = result.methods[method]
        assert numbers.auc == roc_auc_score(SAME, -expected)
        assert set(numbers.auc_by_kind) == {"drop", "swap"}
        assert numbers.threshold == thresholds[method]
        assert numbers.accuracy == np.mean((expected <= thresholds[method]) == SAME)
        assert numbers.false_same == np.mean(expected[~SAME] <= thresholds[method])
        assert numbers.false_different == np.mean(expected[SAME] > thresholds[method])
        assert 0 <= numbers.eer <= 1
    assert result.methods["alignment"].false_same == 1.0
    squared = pair_distances(embeddings, dataset.test_pairs, method="vector") ** 2
    assert result.wdr == pytest.approx(np.mean(squared[~SAME] / 1) / np.mean(squared[SAME]))  # one step was dropped
    assert result.notes == ()


def test_matching(model, dataset):
    result = evaluate(model.embedder, dataset)
    hits = []
    for question in dataset.matching:
        text = model.embed_text(question.steps).paragraph_feature
        vectors = [model.embed(video).vector for video in question.videos]
        cosines = [v @ text / np.linalg.norm(v) / np.linalg.norm(text) for v in vectors]
        hits.append(int(np.argmax(cosines)) == question.answer)
    assert (result.matching_accuracy, result.num_matching) == (np.mean(hits), 2)
    assert set(result.matching) == {"vector", "alignment"}
    assert result.matching["vector"].accuracy[1] == result.matching_accuracy
    best = [model.match(Script.of(question.steps), question.videos, top=1) for question in dataset.matching]
    right = [
        found.scripts[0].videos[0].video == str(question.videos[question.answer])
        for found, question in zip(best, dataset.matching, strict=True)
    ]
    assert result.matching["alignment"].accuracy[1] == np.mean(right)
    assert set(result.to_json()["matching"]) == {"vector", "alignment"}
    assert evaluate(model.embedder, dataset, matching=False).matching_accuracy is None
    validation = evaluate(model.embedder, dataset, split="val")
    assert (validation.split, validation.num_pairs, validation.num_matching) == ("val", 3, 0)


def test_without_thresholds_there_is_no_accuracy(model, dataset):
    for numbers in evaluate(model.embedder, dataset, matching=False).methods.values():
        assert numbers.threshold is numbers.accuracy is numbers.false_same is numbers.false_different is None
    only = evaluate(model.embedder, dataset, matching=False, thresholds={"vector": 0.0}).methods
    assert only["vector"].threshold == 0.0
    assert only["vector"].accuracy is not None
    assert only["alignment"].accuracy is None


def test_json(model, dataset):
    result = evaluate(model.embedder, dataset, thresholds={"vector": 0.25})
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert document["schema"] == "weaksvr.evaluate/1"
    assert document["methods"]["vector"]["auc_by_kind"] == dict(result.methods["vector"].auc_by_kind)
    assert document["methods"]["alignment"]["accuracy"] is None
    assert document["wdr"] == result.wdr


def test_every_video_is_embedded_once_with_its_part(model, dataset, videos):
    calls, steps = [], []

    class Spy:
        def embed(self, path, *, start=None, end=None):
            calls.append((path, start, end))
            return model.embed(path, start=start, end=end)

        def embed_text(self, texts):
            return model.embed_text(texts)

    part = dataclasses.replace(dataset.test[0], start=0.5, end=2.0)
    changed = dataclasses.replace(dataset, test=(part, *dataset.test[1:]))
    evaluate(Spy(), changed, progress=lambda done, total: steps.append((done, total)))
    assert calls == [(videos.first, 0.5, 2.0), (videos.again, None, None), (videos.other, None, None)]
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_no_wdr_is_explained(model, dataset):
    unknown = evaluate(model.embedder, dataclasses.replace(dataset, test=()), matching=False)
    assert unknown.wdr is None
    assert unknown.notes == ("no WDR: the steps of some videos are not known",)
    clips = tuple(dataclasses.replace(clip, steps=("stir",)) for clip in dataset.test)
    equal = evaluate(model.embedder, dataclasses.replace(dataset, test=clips), matching=False)
    assert equal.notes == ("no WDR: some pairs of different procedures have equal steps",)
    pairs = dataset.test_pairs[1:]
    frozen = evaluate(model.embedder, dataclasses.replace(dataset, test_pairs=pairs), matching=False)
    assert frozen.notes == ("no WDR: the videos of all same pairs are equal",)


def test_data_that_tells_nothing(model, dataset):
    for pairs, counts in (((), "0 and 0"), (dataset.test_pairs[:2], "2 and 0"), (dataset.test_pairs[2:], "0 and 2")):
        with pytest.raises(
            DataError, match=f"the test split needs pairs that are the same and that differ; .*{counts}"
        ):
            evaluate(model.embedder, dataclasses.replace(dataset, test_pairs=pairs))
    with pytest.raises(OptionError, match="split 'train' has no pairs; use val or test"):
        evaluate(model.embedder, dataset, split="train")


def test_videos_that_cannot_be_used(model, dataset, videos):
    missing = Pair(video_a=videos.first, video_b=videos.first.with_name("none.mp4"), same=True)
    with pytest.raises(VideoNotFoundError, match=r"none\.mp4"):
        evaluate(model.embedder, dataclasses.replace(dataset, test_pairs=(*dataset.test_pairs, missing)))

    class Blind:
        def embed(self, path, *, start=None, end=None):
            seen = model.embed(path, start=start, end=end)
            return dataclasses.replace(seen, vector=np.zeros_like(seen.vector))

    with pytest.raises(VideoError, match=r"first\.mp4: the network sees nothing in it"):
        embed_videos(Blind(), [videos.first])


def test_damage_is_noted(model, dataset, videos, tmp_path):
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(videos.first.read_bytes()[:-4])
    pairs = (*dataset.test_pairs, Pair(video_a=cut, video_b=videos.again, same=True))
    result = evaluate(model.embedder, dataclasses.replace(dataset, test_pairs=pairs), matching=False)
    assert any(note.startswith(f"{cut}: ") for note in result.notes)


def test_matching_needs_a_text_network(model, dataset):
    embedder = model.embedder
    without = type(embedder)(embedder.backend, sampling=embedder.sampling, preprocess=embedder.preprocess)
    with pytest.raises(BundleError, match="no text network"):
        evaluate(without, dataset)


def test_many_pairs_are_compared_in_parts(model, videos):
    embeddings = embed_videos(model.embedder, [videos.first, videos.other])
    pairs = [Pair(video_a=videos.first, video_b=videos.other, same=False)] * 600
    for method in ("vector", "alignment"):
        found = pair_distances(embeddings, pairs, method=method)
        assert found.shape == (600,)
        expected = distance(embeddings[videos.first], embeddings[videos.other], method=method)
        np.testing.assert_allclose(found, expected, atol=1e-9)
    assert pair_distances(embeddings, [], method="vector").shape == (0,)
