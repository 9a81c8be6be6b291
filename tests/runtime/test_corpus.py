from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from weaksvr.runtime.corpus import embed_corpus
from weaksvr.runtime.errors import OptionError
from weaksvr.runtime.verify import load


@pytest.fixture(scope="module")
def model(toy_bundle):
    return load(toy_bundle, device="cpu", num_threads=1)


@pytest.fixture
def corpus(videos, tmp_path, monkeypatch):
    """Six videos in the current folder, the fourth of them bad."""
    monkeypatch.chdir(tmp_path)
    for number, video in enumerate((videos.first, videos.again, videos.other) * 2):
        shutil.copy(video, f"{number}.mp4")
    Path("3.mp4").write_text("no video")
    return [f"{number}.mp4" for number in range(6)]


def test_rows_are_what_the_embedder_says(model, corpus):
    seen = []
    result = embed_corpus(model, corpus, "out.parquet", workers=2, frames=True, report=seen.append)
    rows = pq.read_table("out.parquet").to_pylist()
    assert [row["video"] for row in rows] == corpus
    for row in rows:
        if row["video"] == "3.mp4":
            assert row["error"].startswith("3.mp4: is a text file")
            continue
        expected = model.embed(row["video"])
        np.testing.assert_array_equal(np.float32(row["vector"]), expected.vector)
        np.testing.assert_array_equal(np.float32(row["frame_features"]), expected.frame_features)
        assert row["indices"] == expected.indices.tolist()
        assert row["times_seconds"] == expected.times_seconds.tolist()
        assert (row["bundle"], row["precision"], row["sampling"]) == ("toy", "fp32", "uniform-4")
    assert (result.videos, result.embedded, result.reused, len(result.failures)) == (6, 5, 0, 1)
    assert result.failures[0][0] == "3.mp4"
    assert [(step.embedded, step.failed) for step in seen] == [(0, 0), (1, 0), (2, 0), (3, 0), (3, 1), (4, 1), (5, 1)]
    assert [bool(step.failure) for step in seen].index(True) == 4
    assert result.to_json()["failed"] == 1
    assert result.to_json()["schema"] == "weaksvr.embed/1"


def test_a_second_run_embeds_what_is_new_or_was_bad(model, corpus, videos):
    embed_corpus(model, corpus[:5], "out.parquet", workers=2)
    shutil.copy(videos.first, "3.mp4")
    result = embed_corpus(model, corpus, "out.parquet", workers=2)
    assert (result.embedded, result.reused, result.failures) == (2, 4, ())
    again = embed_corpus(model, corpus, "out.parquet", workers=2)
    assert (again.embedded, again.reused, again.videos) == (0, 6, 6)
    fresh = embed_corpus(model, corpus, "out.parquet", workers=2, fresh=True)
    assert (fresh.embedded, fresh.reused) == (6, 0)


def test_a_run_that_was_killed_goes_on_where_it_stopped(model, toy_bundle, corpus):
    program = """
import os, sys
from weaksvr.runtime import embedding_store
from weaksvr.runtime.corpus import embed_corpus
from weaksvr.runtime.verify import load

embedding_store.SECONDS_AT_A_TIME = 0.0  # every row is written at once
bundle, *videos = sys.argv[1:]
kill = lambda step: step.embedded == 3 and os._exit(9)
embed_corpus(load(bundle, device="cpu", num_threads=1), videos, "out.parquet", workers=1, report=kill)
"""
    done = subprocess.run([sys.executable, "-c", program, toy_bundle, *corpus], check=False, timeout=60)
    assert done.returncode == 9
    assert not Path("out.parquet").exists()
    assert len(list(Path("out.parquet.part").glob("*.parquet"))) == 3
    result = embed_corpus(model, corpus, "out.parquet", workers=1)
    assert (result.reused, result.embedded, len(result.failures)) == (3, 2, 1)
    assert pq.read_table("out.parquet")["video"].to_pylist() == corpus
    assert not Path("out.parquet.part").exists()


def test_no_videos(model, tmp_path):
    with pytest.raises(OptionError, match="there are no videos to embed"):
        embed_corpus(model, [], tmp_path / "out.parquet", workers=1)
