from __future__ import annotations

import numpy as np
import pytest
from weaksvr.runtime.embed_stage import EmbedStage
from weaksvr.runtime.errors import BundleNotFoundError, OptionError
from weaksvr.runtime.verify import load


def test_a_batch(toy_bundle, videos, tmp_path):
    stage = EmbedStage(toy_bundle, device="cpu", num_threads=2, column="path", frames=True)
    paths = np.array([str(videos.first), str(tmp_path / "no.mp4"), str(videos.other)], dtype=object)
    found = stage({"path": paths, "label": np.array([5, 6, 7])})
    assert found["label"].tolist() == [5, 6, 7]
    assert found["path"] is paths
    assert found["vector"].dtype == found["frame_features"].dtype == np.float32
    assert found["vector"].shape == (3, 5)
    assert found["frame_features"].shape == (3, 4, 5)
    for row, path in ((0, videos.first), (2, videos.other)):
        expected = load(toy_bundle, device="cpu").embed(path)
        np.testing.assert_array_equal(found["vector"][row], expected.vector)
        np.testing.assert_array_equal(found["frame_features"][row], expected.frame_features)
    assert np.isnan(found["vector"][1]).all()
    assert found["error"][[0, 2]].tolist() == ["", ""]
    assert found["error"][1].endswith("no.mp4: no such file or folder; check the path")
    assert found["num_frames"].tolist() == [24, 0, 24]
    np.testing.assert_allclose(found["duration_seconds"], [2.4, np.nan, 2.4], atol=0.01)


def test_frames_only_if_asked_for(toy_bundle, videos):
    found = EmbedStage(toy_bundle)({"video": np.array([str(videos.first)])})
    assert set(found) == {"video", "vector", "num_frames", "duration_seconds", "error"}


def test_an_empty_batch_keeps_its_columns(toy_bundle):
    found = EmbedStage(toy_bundle)({"video": np.array([], dtype=object)})
    assert found["vector"].shape == (0, 5)
    assert found["error"].shape == (0,)


def test_what_cannot_be_meant(toy_bundle):
    with pytest.raises(OptionError, match="the batch has no column 'video'; it has path, label"):
        EmbedStage(toy_bundle)({"path": np.array([]), "label": np.array([])})
    with pytest.raises(OptionError, match="num_threads = 0 must be at least 1"):
        EmbedStage(toy_bundle, num_threads=0)
    with pytest.raises(BundleNotFoundError, match="nowhere: no bundle there"):
        EmbedStage("nowhere")
