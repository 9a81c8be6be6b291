from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from weaksvr.runtime import load
from weaksvr.runtime.errors import DataError, OptionError, VideoNotFoundError
from weaksvr.runtime.gallery import Gallery
from weaksvr.runtime.gallery_search import add_videos, gallery_key, search_gallery
from weaksvr.runtime.identity import content_hash
from weaksvr.runtime.script import Script

TEA = Script.of(["take the cup", "pour water", "stir"])


@pytest.fixture(scope="module")
def model(toy_bundle):
    return load(toy_bundle, device="cpu")


@pytest.fixture(scope="module")
def clips(videos):
    return [str(video) for video in (videos.first, videos.again, videos.other)]


@pytest.fixture
def gallery(model, clips, tmp_path):
    opened = Gallery.create(str(tmp_path / "gallery"), gallery_key(model))
    result = add_videos(opened, model, clips, frames=True, metadata={"site": "A"})
    assert (result.added, result.duplicates, result.failures, result.size) == (3, (), (), 3)
    return opened


@pytest.mark.parametrize("method", ["vector", "alignment"])
def test_by_video_it_is_what_verify_says(gallery, model, clips, method):
    found = search_gallery(gallery, model, clips[0], method=method)
    expected = {clip: model.verify(clips[0], clip, method=method).distance for clip in clips}
    assert [hit.entry.video for hit in found.hits] == sorted(clips, key=expected.__getitem__)
    for hit in found.hits:
        assert hit.distance == pytest.approx(expected[hit.entry.video], abs=1e-6)
        assert hit.score is None
    assert found.hits[0].entry.video == clips[0]
    assert (found.exact, found.size, found.candidates) == (True, 3, None if method == "vector" else 3)


@pytest.mark.parametrize("method", ["vector", "alignment"])
def test_by_script_it_is_what_match_says(gallery, model, clips, method):
    found = search_gallery(gallery, model, TEA, method=method)
    expected = model.match(TEA, clips, method=method).scripts[0].videos
    assert [hit.entry.video for hit in found.hits] == [video.video for video in expected]
    assert [hit.score for hit in found.hits] == pytest.approx([video.score for video in expected], abs=1e-6)
    assert all(hit.distance is None for hit in found.hits)


def test_alignment_looks_at_the_nearest_vectors(gallery, model, clips):
    nearest = {hit.entry.video for hit in search_gallery(gallery, model, clips[1], top=2).hits}
    found = search_gallery(gallery, model, clips[1], method="alignment", top=1, candidates=2)
    assert (len(found.hits), found.candidates) == (1, 2)
    assert found.hits[0].entry.video in nearest


def test_duplicates_and_failures(gallery, model, clips, tmp_path):
    copy, new, bad = (tmp_path / name for name in ("copy.mp4", "new.mp4", "bad.mp4"))
    shutil.copy(clips[0], copy)
    new.write_bytes(Path(clips[0]).read_bytes() + b"\0")
    bad.write_text("no video")
    seen = []
    given = [copy, new, new.with_name("no.mp4"), bad, clips[2]]
    shutil.copy(new, tmp_path / "twice.mp4")
    result = add_videos(gallery, model, [*given, tmp_path / "twice.mp4"], report=seen.append)
    assert (result.added, result.size) == (1, 4)
    assert result.duplicates == (str(copy), clips[2], str(tmp_path / "twice.mp4"))
    assert [path for path, _ in result.failures] == [str(new.with_name("no.mp4")), str(bad)]
    assert len(seen) == 3
    document = result.to_dict()
    assert json.loads(json.dumps(document)) == document
    assert document["schema"] == "weaksvr.gallery-add/1"


def test_without_features_of_frames(model, clips, tmp_path):
    opened = Gallery.create(str(tmp_path / "plain"), gallery_key(model))
    add_videos(opened, model, clips)
    assert len(search_gallery(opened, model, clips[0]).hits) == 3
    for query in (clips[0], TEA):
        with pytest.raises(DataError, match=r"holds no features of the frames of .*; add it with --frames"):
            search_gallery(opened, model, query, method="alignment")


def test_another_model(gallery, toys, tmp_path, clips):
    other = load(toys.write(tmp_path / "other", seed=1), device="cpu")
    for call in (
        lambda: search_gallery(gallery, other, clips[0]),
        lambda: add_videos(gallery, other, clips),
    ):
        with pytest.raises(DataError, match="holds embeddings of another model"):
            call()
    with pytest.raises(DataError, match="cannot be compared with them"):
        Gallery.open(gallery.uri, key=gallery_key(other))


def test_a_threshold_is_no_other_model(gallery, toys, tmp_path, clips):
    other = load(toys.write(tmp_path / "other", thresholds=()), device="cpu")
    assert search_gallery(gallery, other, clips[0]).hits[0].entry.video == clips[0]


def test_nothing_is_found(gallery, model, clips, tmp_path):
    for query in (clips[0], TEA):
        for method in ("vector", "alignment"):
            assert search_gallery(gallery, model, query, method=method, where={"site": "B"}).hits == ()


def test_the_document(gallery, model):
    document = search_gallery(gallery, model, TEA, top=1).to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["schema"] == "weaksvr.gallery-search/1"
    assert set(document["hits"][0]) == {
        "rank",
        "distance",
        "score",
        "video",
        "content",
        "metadata",
        "duration_seconds",
    }


def test_what_is_refused(gallery, model, clips):
    for options, match in (
        ({"method": "best"}, "method 'best' is not known"),
        ({"top": 0}, "must be at least 1"),
        ({"candidates": 0}, "must be at least 1"),
    ):
        with pytest.raises(OptionError, match=match):
            search_gallery(gallery, model, clips[0], **options)
    with pytest.raises(VideoNotFoundError, match="no such file"):
        search_gallery(gallery, model, "no.mp4")


def test_the_hash_of_a_folder_is_that_of_its_frames(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in (1, 2, 10):
            (tmp_path / name / f"{number}.jpg").write_bytes(bytes([number]))
    (tmp_path / "b" / ".DS_Store").write_text("x")
    same = content_hash(tmp_path / "a")
    assert content_hash(tmp_path / "b") == same
    (tmp_path / "b" / "10.jpg").rename(tmp_path / "b" / "3.jpg")
    assert content_hash(tmp_path / "b") != same
    with pytest.raises(VideoNotFoundError, match="no such file or folder"):
        content_hash(tmp_path / "c")


def test_vectors_are_stored_with_length_one(gallery, model, clips):
    entries = {entry.video: entry.vector for entry in gallery.entries()}
    vector = model.embed(clips[0]).vector
    np.testing.assert_allclose(entries[clips[0]], vector / np.linalg.norm(vector), atol=1e-6)
