from __future__ import annotations

import json

import numpy as np
import pytest
from weaksvr.runtime.abstention import Abstention, Familiarity
from weaksvr.runtime.errors import BundleError, OptionError
from weaksvr.runtime.familiarity import MIN_VIDEOS, describe_videos, knows, strangeness
from weaksvr.runtime.thresholds import Calibration, Threshold

D = 6


def frames(seed, *, centre, count=24, spread=0.2):
    rng = np.random.default_rng(seed)
    return [(centre + spread * rng.normal(size=(5, D))).astype(np.float32) for _ in range(count)]


@pytest.fixture(scope="module")
def known():
    return describe_videos(frames(0, centre=np.eye(D)[0]), [number // 6 for number in range(24)])


def test_videos_of_the_kind_are_known_and_others_are_not(known):
    alike, other = frames(1, centre=np.eye(D)[0]), frames(2, centre=np.eye(D)[1])
    assert np.mean([knows(known, video) for video in alike]) > 0.9
    assert not any(knows(known, video) for video in other)
    assert known.videos == 24


def test_strangeness_is_what_the_normal_distribution_says(known):
    """The oracle builds the whole covariance matrix and inverts it."""
    directions = np.array(known.directions)
    rest = np.eye(D) - directions.T @ directions
    covariance = directions.T @ np.diag(known.variances) @ directions + known.rest * rest
    video = frames(3, centre=np.eye(D)[2])[0].astype(float)
    offset = video / np.linalg.norm(video, axis=1, keepdims=True) - known.mean
    expected = np.mean([np.sqrt(row @ np.linalg.inv(covariance) @ row / D) for row in offset])
    assert strangeness(known, video.astype(np.float32)) == pytest.approx(expected, rel=1e-3)


def test_the_limit_comes_from_groups_that_were_held_out():
    """Two kinds of videos, each a group: with its own kind held out a video is strange, and so the limit is higher."""
    both = frames(4, centre=np.eye(D)[0]) + frames(5, centre=np.eye(D)[1]) + frames(6, centre=np.eye(D)[2])
    by_kind = describe_videos(both, [number // 24 for number in range(72)])
    mixed = describe_videos(both, [number % 4 for number in range(72)])
    assert by_kind.limit > 1.5 * mixed.limit
    assert describe_videos(both, [0] * 72).limit < by_kind.limit  # one group: single videos are held out


def test_length_is_nothing_that_is_known(known):
    video = frames(7, centre=np.eye(D)[0])[0]
    assert strangeness(known, 100 * video) == pytest.approx(strangeness(known, video))
    assert not knows(known, np.zeros((5, D), np.float32))


def test_json_and_back(known):
    found = Abstention.from_json(json.loads(json.dumps(Abstention(low=0.1, high=0.2, familiarity=known).to_json())))
    assert found == Abstention(low=0.1, high=0.2, familiarity=known)


def test_too_few_videos_and_equal_ones():
    with pytest.raises(OptionError, match=rf"7 videos are too few .* at least {MIN_VIDEOS}, or without --abstain"):
        describe_videos(frames(0, centre=np.eye(D)[0], count=7), [0] * 7)
    with pytest.raises(OptionError, match="all look the same"):
        describe_videos([np.ones((5, D), np.float32)] * 9, [0] * 9)


def test_features_of_another_model(known):
    with pytest.raises(BundleError, match="of 6 dimensions, this one has 5; calibrate the bundle again"):
        knows(known, np.ones((5, 5), np.float32))


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [1.0]},
        {"variances": [0.0, 1.0, 1.0]},
        {"rest": 0.0},
        {"limit": -1.0},
        {"directions": [[1.0]] * 3},
        {"directions": [], "variances": []},
    ],
)
def test_damaged_descriptions(known, change):
    with pytest.raises(BundleError, match="is damaged; calibrate the bundle again"):
        Familiarity.from_json({**known.to_json(), **change})


def test_the_threshold_lies_where_verdicts_are_left_open(known):
    calibrated = Calibration(pairs=10, same=5, auc=0.9, eer=0.1, rule="x")
    with pytest.raises(BundleError, match="must be distances in this order"):
        Abstention(low=0.3, high=0.2, familiarity=known)
    with pytest.raises(BundleError, match="is not where verdicts are left open"):
        Threshold(
            method="vector",
            precision="fp32",
            sampling="uniform-4",
            threshold=0.5,
            calibrated=calibrated,
            abstention=Abstention(low=0.1, high=0.2, familiarity=known),
        )
