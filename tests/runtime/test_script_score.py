from __future__ import annotations

import itertools

import numpy as np
import pytest
from weaksvr.runtime.alignment import monotonic_viterbi
from weaksvr.runtime.embedder import TextEmbedding, VideoEmbedding
from weaksvr.runtime.errors import OptionError
from weaksvr.runtime.script_score import paragraph_scores, script_scores, step_scores

RNG = np.random.default_rng(0)


def unit(values):
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def text_of(sentences, paragraph=None):
    steps = tuple(f"step {k}" for k in range(len(sentences)))
    paragraph = sentences.mean(axis=0) if paragraph is None else paragraph
    return TextEmbedding(steps=steps, sentence_features=np.float32(sentences), paragraph_feature=np.float32(paragraph))


def video_of(frames, name="a.mp4"):
    count = len(frames)
    return VideoEmbedding(
        path=name,
        vector=np.float32(frames.mean(axis=0) if count else np.ones(frames.shape[1])),
        frame_features=np.float32(frames),
        indices=np.arange(count),
        times_seconds=np.arange(float(count)),
    )


@pytest.mark.parametrize(("frames", "steps"), [(1, 1), (5, 1), (5, 5), (12, 4), (48, 7)])
def test_steps_are_those_of_the_viterbi_path(frames, steps):
    H, S = RNG.normal(size=(6, frames, 8)), RNG.normal(size=(steps, 8))
    found = step_scores(H, S)
    for video, scores in zip(H, found, strict=True):
        cosines = unit(video) @ unit(S).T
        path = monotonic_viterbi(cosines, visit_every_step=True)
        np.testing.assert_allclose(scores, [cosines[path == k, k].mean() for k in range(steps)], atol=1e-12)


def test_the_path_is_the_best_of_all():
    H, S = RNG.normal(size=(1, 6, 4)), RNG.normal(size=(3, 4))
    cosines = unit(H[0]) @ unit(S).T
    best = max(
        (np.repeat(np.arange(3), np.diff([0, *cuts, 6])) for cuts in itertools.combinations(range(1, 6), 2)),
        key=lambda path: cosines[np.arange(6), path].sum(),
    )
    np.testing.assert_allclose(step_scores(H, S)[0], [cosines[best == k, k].mean() for k in range(3)], atol=1e-12)


def test_more_steps_than_frames():
    S = np.eye(6)
    H = np.stack([S[0] + S[1] + S[2], S[3] + S[4] + S[5]])[None]
    np.testing.assert_allclose(step_scores(H, S), np.full((1, 6), 1 / np.sqrt(3)))


def test_a_video_that_follows_the_script_is_first_however_long_a_step_takes():
    S = np.eye(4)
    follows = S[[0, 1, 1, 1, 1, 1, 1, 2, 3, 3]]
    swapped = S[[0, 2, 1, 1, 1, 1, 1, 1, 3, 3]]
    missing = S[[0, 1, 1, 1, 1, 1, 1, 1, 3, 3]]
    short = S[[0, 1, 2, 3]]
    scores, steps = script_scores([video_of(frames) for frames in (missing, follows, swapped, short)], text_of(S))
    np.testing.assert_allclose(scores[[1, 3]], 1.0)
    assert (scores[[0, 2]] < 0.9).all()
    assert steps.shape == (4, 4)
    np.testing.assert_allclose(scores, 0.8 * steps.mean(axis=1) + 0.2 * steps.min(axis=1))


def test_many_videos_are_scored_like_each_alone(monkeypatch):
    monkeypatch.setattr("weaksvr.runtime.script_score._VALUES_AT_ONCE", 500)
    H, S = RNG.normal(size=(23, 9, 8)), RNG.normal(size=(5, 8))
    np.testing.assert_array_equal(step_scores(H, S), np.concatenate([step_scores(H[i : i + 1], S) for i in range(23)]))


def test_vector_is_the_cosine_with_the_paragraph():
    vectors, paragraph = RNG.normal(size=(4, 8)), RNG.normal(size=8)
    videos = [video_of(vector[None]) for vector in vectors]
    scores, steps = script_scores(videos, text_of(np.eye(8), paragraph), method="vector")
    expected = vectors @ paragraph / np.linalg.norm(vectors, axis=1) / np.linalg.norm(paragraph)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert steps is None
    np.testing.assert_allclose(paragraph_scores(vectors * 1e200, paragraph * 1e-200), expected)


@pytest.mark.parametrize("method", ["vector", "alignment"])
def test_no_video_has_no_score(method):
    assert script_scores([], text_of(np.eye(3)), method=method)[0].shape == (0,)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: script_scores([], text_of(np.eye(2)), method="x"), "method 'x' is not known"),
        (lambda: script_scores([video_of(np.empty((0, 2)))], text_of(np.eye(2))), "at least one frame"),
        (lambda: step_scores(np.ones((1, 2, 3)), np.ones((2, 4))), "3 and 4 dimensions come from different models"),
        (lambda: step_scores(np.ones((2, 3)), np.ones((2, 3))), r"must be \(B, T, D\)"),
        (lambda: step_scores(np.ones((1, 2, 3)), np.ones((0, 3))), "not empty"),
        (lambda: step_scores(np.zeros((1, 2, 3)), np.ones((2, 3))), "zero vector"),
        (lambda: step_scores(np.full((1, 2, 3), np.nan), np.ones((2, 3))), "NaN or infinite"),
        (lambda: paragraph_scores(np.ones((1, 3)), np.full(3, np.inf)), "NaN or infinite"),
    ],
)
def test_what_is_refused(call, match):
    with pytest.raises(OptionError, match=match):
        call()
