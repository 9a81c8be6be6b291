from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from weaksvr.runtime.embedder import VideoEmbedding
from weaksvr.runtime.errors import BundleError, DataError, OptionError, VideoError, VideoNotFoundError
from weaksvr.runtime.evaluate import embed_videos, evaluate, pair_distances
from weaksvr.runtime.manifest import Clip, Dataset, MatchingItem, Pair
from weaksvr.runtime.metrics import edit_distance, equal_error_threshold
from weaksvr.runtime.resampling import Links
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
    along = np.array(
        [distance(embeddings[p.video_a], embeddings[p.video_b], method="alignment") for p in dataset.test_pairs]
    )
    assert result.methods["vector"].wdr == result.wdr
    assert result.methods["alignment"].wdr == pytest.approx(np.mean(along[~SAME]) / np.mean(along[SAME]))
    assert (result.groups, result.unit, result.wdr_chance) == (1, "videos", 1.0)


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
    assert document["wdr"] == document["methods"]["vector"]["wdr"] == result.wdr
    assert document["orientation"] == {"positive": "same", "score": "-distance", "perfect": 1.0, "chance": 0.5}
    assert document["methods"]["vector"]["intervals"]["auc"] == list(result.methods["vector"].intervals["auc"])
    assert set(document["matching"]["vector"]) >= {"accuracy", "auc", "question_auc", "published_auc"}


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
    assert (equal.wdr, equal.wdr_chance) == (None, None)
    assert equal.notes == ("no WDR: some pairs of different procedures have equal steps",)
    pairs = dataset.test_pairs[1:]
    frozen = evaluate(model.embedder, dataclasses.replace(dataset, test_pairs=pairs), matching=False)
    assert frozen.notes == (
        "no WDR of vector: the videos of all same pairs are equal",
        "no WDR of alignment: the videos of all same pairs are equal",
    )
    assert "wdr" not in frozen.methods["vector"].intervals


def test_steps_in_other_words_are_noted(model, dataset):
    first, again, other = dataset.test
    words = ("grab the cup", *again.steps[1:])
    result = evaluate(
        model.embedder,
        dataclasses.replace(dataset, test=(first, dataclasses.replace(again, steps=words), other)),
        matching=False,
    )
    note = "WDR: in 1 same pairs the steps are worded differently, so edits count wordings too"
    assert result.notes == (note,)
    assert result.wdr_chance == 1.0  # first and again lack a step of their own in the other video
    assert result.wdr is not None


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


STEPS = ("a", "b", "c", "d")


class Planted:
    """Sees what is in `features`, float (T, D), by the name of the video."""

    def __init__(self, features):
        self.features = features

    def embed(self, path, **_part):
        frames = np.asarray(self.features[path], dtype=np.float32)
        rows = np.arange(len(frames))
        return VideoEmbedding(
            path=str(path), vector=frames.mean(axis=0), frame_features=frames, indices=rows, times_seconds=rows / 10
        )


def planted(tasks, *, noise):
    """Of each task four videos, two of each of two procedures: two same pairs and four different ones."""
    rng = np.random.default_rng(tasks)
    clips, pairs, features = [], [], {}
    for task in range(tasks):
        of_task = rng.normal(size=(1, 8))
        for procedure in range(2):
            steps = STEPS[: 4 - procedure * (1 + task % 3)]
            shown = of_task + rng.normal(size=(1, 8))
            for take in range(2):
                video = Path(f"/{task}.{procedure}.{take}.mp4")
                clips.append(Clip(video=video, steps=steps, procedure=f"{task}.{procedure}"))
                features[video] = shown + noise * rng.normal(size=(3, 8))
        last = clips[-4:]
        pairs += [
            Pair(video_a=a.video, video_b=b.video, same=a.procedure == b.procedure)
            for row, a in enumerate(last)
            for b in last[row + 1 :]
        ]
    dataset = Dataset(folder=Path("/"), test=tuple(clips), test_pairs=tuple(pairs))
    return Planted(features), dataset


@pytest.mark.parametrize(("tasks", "unit"), [(24, "groups"), (6, "videos")])
def test_intervals_equal_those_of_a_loop_over_the_draws(tasks, unit, monkeypatch):
    monkeypatch.setattr("weaksvr.runtime.evaluate.RESAMPLES", 200)
    embedder, dataset = planted(tasks, noise=1.0)
    result = evaluate(embedder, dataset)
    assert (result.groups, result.unit) == (tasks, unit)
    pairs = dataset.test_pairs
    same = np.array([pair.same for pair in pairs])
    steps = {clip.video: clip.steps for clip in dataset.test}
    edits = np.array([edit_distance(steps[pair.video_a], steps[pair.video_b]) for pair in pairs])
    embeddings = {clip.video: embedder.embed(clip.video) for clip in dataset.test}
    draws = np.concatenate(list(Links.of([(p.video_a, p.video_b) for p in pairs]).resamples(same, 200)))
    for method, power in (("vector", 2), ("alignment", 1)):
        distances = pair_distances(embeddings, pairs, method=method)
        found = {"auc": [], "eer": [], "wdr": []}
        for counts in draws:
            rows = np.repeat(np.arange(len(pairs)), counts)
            cost = distances[rows] ** power
            found["auc"].append(roc_auc_score(same, -distances, sample_weight=counts))
            found["eer"].append(equal_error_threshold(same[rows], distances[rows])[1])
            found["wdr"].append((cost / edits[rows].clip(1))[~same[rows]].mean() / cost[same[rows]].mean())
        numbers = result.methods[method]
        for name, values in found.items():
            expected = (np.quantile(values, 0.025, method="lower"), np.quantile(values, 0.975, method="higher"))
            assert numbers.intervals[name] == pytest.approx(expected, abs=1e-9), name
            assert numbers.intervals[name][0] < getattr(numbers, name) < numbers.intervals[name][1]


def test_there_is_no_interval_of_a_wdr_of_one_same_pair():
    embedder, dataset = planted(1, noise=1.0)
    same, *different = sorted(dataset.test_pairs, key=lambda pair: not pair.same)[1:3]
    few = evaluate(embedder, dataclasses.replace(dataset, test_pairs=(same, *different)))
    for numbers in few.methods.values():
        assert numbers.wdr is not None
        assert set(numbers.intervals) == {"auc", "eer"}


def test_perfect_numbers_have_intervals_too():
    embedder, dataset = planted(24, noise=1e-3)
    for numbers in evaluate(embedder, dataset).methods.values():
        assert (numbers.auc, numbers.eer) == (1.0, 0.0)
        low, high = numbers.intervals["auc"]
        assert 0.5 < low < 0.95
        assert high == 1.0
        assert numbers.intervals["eer"][0] == 0.0
        assert 0.0 < numbers.intervals["eer"][1] < 0.3
        assert numbers.wdr > 10
