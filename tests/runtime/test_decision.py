from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weaksvr.runtime.abstention import Abstention
from weaksvr.runtime.decision import EXIT_CODES, Judge
from weaksvr.runtime.embedder import VideoEmbedding
from weaksvr.runtime.familiarity import describe_videos
from weaksvr.runtime.thresholds import Calibration, SameProbability, Threshold

D = 6


def frames(seed, direction):
    rng = np.random.default_rng(seed)
    return (np.eye(D)[direction] + 0.1 * rng.normal(size=(5, D))).astype(np.float32)


def video(name, features):
    return VideoEmbedding(
        path=name, vector=features[0], frame_features=features, indices=np.arange(5), times_seconds=np.arange(5.0)
    )


KNOWN = describe_videos([frames(seed, 0) for seed in range(40)], [seed // 8 for seed in range(40)])
ALIKE, STRANGE = video("alike.mp4", frames(3, 0)), video("strange.mp4", frames(100, 1))
DISTANCES = st.floats(0, 2)


def judge(threshold, *, band=None, given_one=False):
    entry = Threshold(
        method="vector",
        precision="fp32",
        sampling="uniform-4",
        threshold=0.5,
        calibrated=Calibration(pairs=10, same=5, auc=0.9, eer=0.1, rule="x"),
        probability=SameProbability(intercept=2.0, slope=4.0),
        abstention=None if band is None else Abstention(low=band[0], high=band[1], familiarity=KNOWN),
    )
    return Judge(method="vector", threshold=threshold, calibrated=entry, given=given_one)


@given(found=DISTANCES, other=DISTANCES, threshold=DISTANCES, abstains=st.booleans(), strange=st.booleans())
def test_nothing_contradicts_anything(found, other, threshold, abstains, strange):
    videos = (ALIKE, STRANGE if strange else ALIKE)
    one = judge(threshold, band=(0.4, 0.6) if abstains else None, given_one=True)
    decision, second = one.decide(found, videos), one.decide(other, videos)
    assert decision.same is (found <= threshold) is (decision.margin >= 0)
    assert decision.verdict == ("undecided" if strange and abstains else "same" if decision.same else "different")
    assert EXIT_CODES[decision.verdict] == {"same": 0, "different": 1, "undecided": 3}[decision.verdict]
    assert bool(decision.reasons) is (decision.verdict == "undecided")
    if found <= other:
        assert decision.probability >= second.probability
        assert decision.margin >= second.margin
        assert decision.same >= second.same
    assert one.decide(found, videos[::-1]).verdict == decision.verdict


@given(found=DISTANCES)
def test_the_interval_leaves_open_what_the_threshold_may_decide(found):
    decision = judge(0.5, band=(0.4, 0.6)).decide(found, (ALIKE, ALIKE))
    assert decision.verdict == ("same" if found < 0.4 else "different" if found > 0.6 else "undecided")
    assert decision.same is (found <= 0.5)


def test_a_threshold_of_ones_own_is_never_left_open():
    assert judge(0.5, band=(0.4, 0.6), given_one=True).decide(0.5, (ALIKE, ALIKE)).verdict == "same"
    zero = judge(0.0, band=(0.4, 0.6), given_one=True)
    assert zero.decide(0.0, (ALIKE, ALIKE)).verdict == "same"
    assert zero.decide(1e-300, (ALIKE, ALIKE)).verdict == "different"


def test_reasons_name_the_video_once():
    decision = judge(0.5, band=(0.4, 0.6)).decide(0.45, (STRANGE, STRANGE))
    assert decision.reasons == (
        "undecided: the distance is within 0.4000 to 0.6000, where the threshold may lie as far as its calibration can "
        "tell",
        "undecided: strange.mp4 is unlike the videos that the calibration saw",
    )


def test_without_a_calibration_there_is_no_probability():
    decision = Judge(method="vector", threshold=0.5, calibrated=None, given=True).decide(0.5, (ALIKE, STRANGE))
    assert (decision.verdict, decision.probability) == ("same", None)
    assert decision.margin == pytest.approx(0)
