from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weaksvr.runtime.embedder import TextEmbedding, VideoEmbedding
from weaksvr.runtime.errors import OptionError, VideoError
from weaksvr.runtime.explain import explain
from weaksvr.runtime.script import read_script
from weaksvr.runtime.verify import load

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EYE = np.eye(12, dtype=np.float32)
STEPS = ("take the cup", "pour the tea", "add sugar", "stir", "drink")


def video(order, *, each=8, noise=0.05, seed=0, path="a.mp4"):
    """A video that shows the things of `order`, each for `each` frames, four frames a second."""
    rng = np.random.default_rng(seed)
    rows = EYE[np.repeat(order, each)]
    features = (rows + noise * rng.normal(size=rows.shape)).astype(np.float32)
    times = np.arange(len(features)) / 4
    return VideoEmbedding(
        path=path,
        vector=features.mean(axis=0),
        frame_features=features,
        indices=np.arange(len(features)),
        times_seconds=times,
    )


def script(steps=STEPS, rows=None):
    features = EYE[: len(steps)] if rows is None else EYE[rows]
    return TextEmbedding(steps=tuple(steps), sentence_features=features, paragraph_feature=features.mean(axis=0))


def kinds(explanation):
    return [each.kind for each in explanation.differences]


A = video([0, 1, 2, 3, 4])  # two seconds each

PLANTED = {
    "swapped": ([0, 2, 1, 3, 4], "swapped", (2, 4), (4, 6), (4, 6), (2, 4), (2,), (3,)),
    "far swapped": ([0, 3, 2, 1, 4], "swapped", (2, 4), (6, 8), (6, 8), (2, 4), (2,), (4,)),
    "moved": ([0, 2, 3, 1, 4], "swapped", (2, 4), (6, 8), (4, 8), (2, 6), (2,), (3, 4)),
    "missing": ([0, 1, 3, 4], "missing", (4, 6), None, None, None, (3,), ()),
    "extra": ([0, 1, 7, 2, 3, 4], "extra", None, (4, 6), None, None, (), ()),
    "repeated": ([0, 1, 2, 3, 1, 4], "repeated", None, (8, 10), (2, 4), (2, 4), (2,), ()),
    "replaced": ([0, 1, 7, 3, 4], "replaced", (4, 6), (4, 6), None, None, (3,), ()),
}


@pytest.mark.parametrize("case", PLANTED)
@pytest.mark.parametrize("named", [False, True])
def test_planted_differences(case, named):
    order, kind, a, b, other_a, other_b, steps, other_steps = PLANTED[case]
    found = explain(A, video(order, seed=1), script=script() if named else None)
    (difference,) = found.differences
    assert difference.kind == kind
    spans = (difference.a, difference.b, difference.other_a, difference.other_b)
    for span, expected in zip(spans, (a, b, other_a, other_b), strict=True):
        assert (span is None) == (expected is None)
        if span is not None and expected is not None:
            assert span == pytest.approx(expected, abs=0.2)
    assert (difference.steps, difference.other_steps) == ((steps, other_steps) if named else ((), ()))


TEXTS = {
    "swapped": (
        "in B, what A shows at 0:03-0:05 (B 0:01-0:03) comes before what A shows at 0:01-0:03 (B 0:03-0:05)",
        "steps 2 and 3 are swapped in B: 'add sugar' (A 0:03-0:05, B 0:01-0:03) comes before 'pour the tea' "
        "(A 0:01-0:03, B 0:03-0:05)",
    ),
    "moved": (
        "in B, what A shows at 0:03-0:07 (B 0:01-0:05) comes before what A shows at 0:01-0:03 (B 0:05-0:07)",
        "steps 2, 3 and 4 are swapped in B: 'add sugar' and 'stir' (A 0:03-0:07, B 0:01-0:05) come before "
        "'pour the tea' (A 0:01-0:03, B 0:05-0:07)",
    ),
    "missing": ("A 0:03-0:05 has no counterpart in B", "step 3 'add sugar' (A 0:03-0:05) is missing in B"),
    "extra": ("B 0:03-0:05 has no counterpart in A", "B 0:03-0:05 has no counterpart in A"),
    "repeated": (
        "B 0:07-0:09 shows once more what is at B 0:01-0:03; A shows it at 0:01-0:03 and not once more",
        "step 2 'pour the tea' is done once more in B (0:07-0:09, besides 0:01-0:03) than in A (0:01-0:03)",
    ),
    "replaced": (
        "A 0:03-0:05 and B 0:03-0:05, in the same place of the order, show different things",
        "in B, something else (B 0:03-0:05) is done in place of step 3 'add sugar' (A 0:03-0:05)",
    ),
}


@pytest.mark.parametrize("case", TEXTS)
def test_words(case):
    other = video(PLANTED[case][0], seed=1)
    for named, text in zip((None, script()), TEXTS[case], strict=True):
        (difference,) = explain(A, other, script=named).differences
        assert difference.text == text


def test_words_from_the_other_side():
    other = video(PLANTED["replaced"][0], seed=1)
    (difference,) = explain(other, A, script=script()).differences
    assert difference.text.startswith("in A, something else (A 0:03-0:05) is done in place of step 3 'add sugar' (B ")
    assert sorted(kinds(explain(A, video([0, 1, 4, 3, 4], seed=1)))) == ["missing", "repeated"]
    (difference,) = explain(video([0, 1, 3]), video([0, 2, 3]), script=script()).differences
    assert difference.text == (
        "in B, step 3 'add sugar' (B 0:01-0:03) is done in place of step 2 'pour the tea' (A 0:01-0:03)"
    )
    (difference,) = explain(video([0, 7, 1, 3]), video([0, 1, 7, 3]), script=script()).differences
    assert difference.text == (
        "in B, step 2 'pour the tea' (A 0:03-0:05, B 0:01-0:03) comes before something else "
        "(A 0:01-0:03, B 0:03-0:05), in A after it"
    )


def test_equal_texts_of_a_script_are_named_together():
    named = script(("take", "stir", "take"), [0, 1, 0])
    (difference,) = explain(video([0, 1, 0, 5]), video([0, 1, 5]), script=named).differences
    assert difference.kind == "repeated"
    assert "step 1 or 3 'take' is done once more in A" in difference.text


def test_the_same_video_has_no_difference():
    found = explain(A, video([0, 1, 2, 3, 4], each=6, seed=3), same=True)
    assert (found.differences, found.summary) == ((), "no difference stands out")
    assert [(each.moved, len(each.times) >= 8) for each in found.aligned] == [(False, True)] * 5
    assert [each.start for each in found.shown_a[1:]] == [each.end for each in found.shown_a[:-1]]


def test_counterparts_cover_all_frames_of_both():
    found = explain(A, video([0, 2, 1, 3, 4], seed=1))
    assert [each.moved for each in found.aligned] == [False, True, True, False, False]
    for side in (0, 1):
        assert {times[side] for each in found.aligned for times in each.times} == set(A.times_seconds)
    for each in found.aligned:
        assert all(one[0] <= two[0] and one[1] <= two[1] for one, two in zip(each.times, each.times[1:], strict=False))


@pytest.mark.parametrize(
    ("order", "same", "summary"),
    [
        ([0, 1, 3, 4], False, "the videos part in 1 place"),
        ([0, 1, 3, 4], None, "the videos part in 1 place"),
        ([0, 1, 3, 4], True, "the distance is within the threshold, yet the videos seem to part in 1 place"),
        ([0, 1, 2, 3, 4], True, "no difference stands out"),
        ([0, 1, 2, 3, 4], None, "no difference stands out"),
        ([0, 2, 1, 3, 7, 4], False, "the videos part in 2 places"),
    ],
)
def test_the_summary_does_not_contradict_the_verdict(order, same, summary):
    assert explain(A, video(order, seed=1), same=same).summary == summary


def test_a_difference_without_a_place_is_admitted():
    other = video([0, 1, 2, 3, 4], seed=1)
    features = other.frame_features.copy()
    features[16:24, 9] += 0.8  # the third thing looks otherwise, but not otherwise enough
    found = explain(A, dataclasses.replace(other, frame_features=features), same=False)
    assert found.differences == ()
    assert found.summary.startswith(
        "the distance is over the threshold, but no single place stands out; least alike are A 0:0"
    )
    for start, end in found.most_unlike:
        assert 3.5 < start < end < 6.5


def test_to_dict_is_plain_json():
    found = explain(A, video([0, 2, 1, 7, 4], seed=1), same=False, script=script())
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document == found.to_dict()
    assert document["steps"] == list(STEPS)
    swapped, replaced = document["differences"]
    assert (swapped["kind"], swapped["steps"], swapped["other_steps"]) == ("swapped", [2], [3])
    assert swapped["a"] == {"start": 1.875, "end": 3.875}
    assert (replaced["kind"], replaced["other_a"]) == ("replaced", None)
    assert document["shown_a"][0] == {"start": 0.0, "end": 1.875, "label": 0, "step": 1}
    assert set(document["most_unlike"]) == {"a", "b"}
    assert {"a", "b", "moved", "times"} == set(document["aligned"][0])


ORDERS = st.lists(st.integers(0, 6), min_size=1, max_size=7)


@settings(max_examples=60, deadline=None)
@given(ORDERS, ORDERS, st.integers(0, 99), st.sampled_from([None, True, False]), st.booleans())
def test_exchanging_the_videos_changes_nothing_but_the_names(first, second, seed, same, named):
    a, b = video(first, each=5, noise=0.2, seed=seed), video(second, each=4, noise=0.2, seed=seed + 1)
    steps = script() if named else None
    found, other = explain(a, b, same=same, script=steps), explain(b, a, same=same, script=steps)
    assert other == found.exchanged()
    assert found == found.exchanged().exchanged()
    opposite = {"missing": "extra", "extra": "missing"}
    assert kinds(other) == [opposite.get(kind, kind) for kind in kinds(found)]
    assert [(each.b, each.a) for each in other.differences if each.kind != "swapped"] == [
        (each.a, each.b) for each in found.differences if each.kind != "swapped"
    ]
    assert [(each.other_b, each.other_a) for each in other.differences if each.kind == "swapped"] == [
        (each.a, each.b) for each in found.differences if each.kind == "swapped"
    ]


@settings(max_examples=40, deadline=None)
@given(ORDERS, st.integers(0, 99))
def test_a_video_does_not_differ_from_itself(order, seed):
    a = video(order, each=4, noise=0.5, seed=seed)
    found = explain(a, a, same=True)
    assert found.differences == ()
    assert all(x == y for each in found.aligned for x, y in each.times)


def test_hostile_videos():
    one = video([3], each=1)
    found = explain(one, A, same=False)
    assert {"extra"} == set(kinds(found))
    assert found.shown_a[0].start == found.shown_a[0].end == 0.0
    still = dataclasses.replace(A, times_seconds=np.zeros(len(A.indices)))  # one frame, taken over and over
    assert explain(still, A).differences == ()


def test_errors():
    narrow = dataclasses.replace(A, frame_features=A.frame_features[:, :5], vector=A.vector[:5])
    with pytest.raises(OptionError, match=r"of \[5, 12\] dimensions come from different models; use one model"):
        explain(A, narrow)
    with pytest.raises(OptionError, match="from different models"):
        explain(narrow, narrow, script=script())
    with pytest.raises(OptionError, match=r"alike = 1.5 must be a cosine, from -1 to 1"):
        explain(A, A, alike=1.5)
    blind = A.frame_features.copy()
    blind[3] = 0
    with pytest.raises(VideoError, match=r"a\.mp4: the network sees nothing in a frame .* use another video"):
        explain(A, dataclasses.replace(A, frame_features=blind))


def test_the_examples_both_ways():
    model = load(device="cpu")
    paths = [EXAMPLES / "assembly_1.mp4", EXAMPLES / "assembly_swapped.mp4"]
    a, b = (model.embed(path) for path in paths)
    texts = model.embed_text(read_script(EXAMPLES / "assembly_1.txt").texts)
    forth, back = explain(a, b, same=False, script=texts), explain(b, a, same=False, script=texts)
    assert back == forth.exchanged()
    rows = map(json.loads, (EXAMPLES / "boundaries.jsonl").read_text().splitlines())
    true = {row["video"]: row["steps"] for row in rows}
    (difference,) = forth.differences
    for path, first, second in (
        (paths[0], difference.a, difference.other_a),
        (paths[1], difference.other_b, difference.b),
    ):
        for span, step in ((first, true[path.name][1]), (second, true[path.name][2])):
            assert span == pytest.approx((step["start"], step["end"]), abs=0.5)
