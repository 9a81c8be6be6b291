from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from weaksvr.runtime import load
from weaksvr.runtime.corpus import embed_corpus
from weaksvr.runtime.errors import BundleError, DataError, OptionError
from weaksvr.runtime.match import match_videos, read_scripts
from weaksvr.runtime.script import Script
from weaksvr.runtime.script_score import script_scores

TEA = Script.of(["take the cup", "pour water", "stir"])
STIR = Script.of(["stir"])


@pytest.fixture(scope="module")
def model(toy_bundle):
    return load(toy_bundle, device="cpu")


@pytest.fixture(scope="module")
def clips(videos):
    return [videos.first, videos.again, videos.other]


@pytest.fixture
def stored(model, clips, tmp_path):
    """Files of embeddings with and without the features of frames, the last row a failure."""
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    for name, frames in (("frames", True), ("vectors", False)):
        embed_corpus(model, [*map(str, clips), str(bad)], tmp_path / f"{name}.parquet", workers=1, frames=frames)
    return tmp_path


@pytest.mark.parametrize("method", ["vector", "alignment"])
def test_the_ranking_is_that_of_the_scores(model, clips, method):
    result = model.match([TEA, STIR], clips, method=method)
    embeddings = [model.embed(clip) for clip in clips]
    for script, ranking in zip((TEA, STIR), result.scripts, strict=True):
        scores, steps = script_scores(embeddings, model.embed_text(script.texts), method=method)
        order = np.argsort(-scores)
        assert [video.video for video in ranking.videos] == [str(clips[row]) for row in order]
        assert [video.rank for video in ranking.videos] == [1, 2, 3]
        np.testing.assert_allclose([video.score for video in ranking.videos], scores[order], atol=1e-6)
        if steps is not None:
            np.testing.assert_allclose([video.step_scores for video in ranking.videos], steps[order], atol=1e-6)
        assert ranking.steps == script.texts
    assert (result.method, result.num_videos, result.failures) == (method, 3, ())
    assert (result.bundle, result.sampling, result.precision, result.device) == ("toy", "uniform-4", "fp32", "cpu")


def test_alignment_is_the_default(model, clips):
    assert model.match(TEA, clips).method == "alignment"


def test_top_keeps_the_best(model, clips):
    every, best = model.match(TEA, clips), model.match(TEA, clips, top=2)
    assert best.scripts[0].videos == every.scripts[0].videos[:2]
    assert best.num_videos == 3


def test_equal_scores_stay_in_order(model, videos, tmp_path):
    names = [tmp_path / f"{name}.mp4" for name in "cab"]
    for name in names:
        shutil.copy(videos.first, name)
    ranking = model.match(TEA, names).scripts[0]
    assert [video.video for video in ranking.videos] == [str(name) for name in names]


def test_a_bad_video_does_not_stop_the_others(model, clips, tmp_path):
    seen = []
    given = [clips[0], tmp_path / "no.mp4", clips[1]]
    result = match_videos(model, TEA, given, workers=2, report=seen.append)
    assert result.num_videos == len(result.scripts[0].videos) == 2
    ((path, error),) = result.failures
    assert path == str(tmp_path / "no.mp4")
    assert "no such file or folder" in error
    assert [video.error is None for video in seen] == [True, False, True]


def test_all_videos_bad(model, tmp_path):
    result = model.match(TEA, [tmp_path / "no.mp4"])
    assert (result.scripts[0].videos, result.num_videos, len(result.failures)) == ((), 0, 1)


def test_more_videos_than_are_compared_at_a_time(model, clips):
    embeddings = [model.embed(clips[i % 3]) for i in range(3)] * 50
    result = model.match(TEA, embeddings)
    assert result.num_videos == len(result.scripts[0].videos) == 150
    assert len({video.score for video in result.scripts[0].videos[:50]}) == 1


@pytest.mark.parametrize("method", ["vector", "alignment"])
def test_stored_embeddings_are_worth_the_videos(model, clips, stored, method):
    fresh = model.match(TEA, clips, method=method)
    result = model.match(TEA, [stored / "frames.parquet"], method=method)
    assert result.scripts == fresh.scripts
    assert [path for path, _ in result.failures] == [str(stored / "bad.mp4")]
    both = model.match(TEA, [clips[0], stored / "frames.parquet", model.embed(clips[2])], method=method)
    assert both.num_videos == 5


def test_vectors_alone_do_for_vector(model, clips, stored):
    result = model.match(TEA, [stored / "vectors.parquet"], method="vector")
    assert result.scripts == model.match(TEA, clips, method="vector").scripts
    with pytest.raises(DataError, match="holds no features of frames; write it with weaksvr-embed --frames"):
        model.match(TEA, [stored / "vectors.parquet"])


def test_embeddings_of_another_model(toys, stored, tmp_path):
    other = load(toys.write(tmp_path / "other", seed=1), device="cpu")
    with pytest.raises(DataError, match="comes from another model, precision, sampling or version"):
        other.match(TEA, [stored / "frames.parquet"])


@pytest.mark.parametrize("damage", ["absent", "text", "foreign", "cut"])
def test_files_that_hold_no_embeddings(model, stored, damage):
    path = stored / "frames.parquet"
    data = path.read_bytes()
    if damage == "absent":
        path.unlink()
    elif damage == "text":
        path.write_text("no table")
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)
    with pytest.raises(DataError, match="no such file" if damage == "absent" else "is damaged, or not written by"):
        model.match(TEA, [path])


def test_damage_inside_a_file_of_embeddings(model, stored):
    path = stored / "frames.parquet"
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 3] = bytes(len(data) // 3 - 4)
    path.write_bytes(data)
    with pytest.raises(DataError, match="is damaged, or not written by weaksvr-embed"):
        model.match(TEA, [path])


def test_a_video_without_direction_fails_alone(model, clips):
    good = model.embed(clips[0])
    dark = type(good)(
        path="dark.mp4",
        vector=np.zeros_like(good.vector),
        frame_features=np.zeros_like(good.frame_features),
        indices=good.indices,
        times_seconds=good.times_seconds,
    )
    for method in ("vector", "alignment"):
        result = model.match(TEA, [dark, good], method=method)
        assert result.num_videos == 1
        assert "the network sees nothing in it" in result.failures[0][1]


def test_the_document(model, clips, tmp_path):
    document = model.match(TEA, [*clips, tmp_path / "no.mp4"], top=1).to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["schema"] == "weaksvr.match/1"
    assert set(document["scripts"][0]) == {"script", "steps", "videos"}
    assert set(document["scripts"][0]["videos"][0]) == {"video", "rank", "score", "step_scores", "notes"}
    assert set(document["failures"][0]) == {"video", "error"}


def test_scripts_of_a_folder(model, clips, tmp_path):
    (tmp_path / "b.txt").write_text("stir | max 3s\n")
    (tmp_path / "a.txt").write_text("# tea\ntake the cup\npour water\nstir\n")
    for name in ("c.md", ".d.txt"):
        (tmp_path / name).write_text("stir\n")
    scripts = read_scripts(tmp_path)
    assert [script.path for script in scripts] == [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]
    assert read_scripts(tmp_path / "b.txt") == scripts[1:]
    result = model.match([tmp_path / "a.txt", str(tmp_path / "b.txt")], clips)
    assert [(match.script, match.steps) for match in result.scripts] == [(s.path, s.texts) for s in scripts]
    assert model.match(str(tmp_path / "a.txt"), clips).scripts == result.scripts[:1]


def test_what_is_refused(model, clips, tmp_path):
    for arguments, options, match in (
        ((TEA, []), {}, "there are no videos to rank"),
        (([], clips), {}, "there are no scripts"),
        ((TEA, clips), {"top": 0}, "top = 0 must be at least 1"),
        ((TEA, clips), {"method": "best"}, "method 'best' is not known"),
    ):
        with pytest.raises(OptionError, match=match):
            model.match(*arguments, **options)
    with pytest.raises(DataError, match="holds no script"):
        read_scripts(tmp_path)
    with pytest.raises(DataError, match="the script cannot be read"):
        model.match(tmp_path / "no.txt", clips)


def test_without_a_text_network(toys, tmp_path, clips):
    from weaksvr.runtime.bundle import write_bundle

    networks = [network for network in toys.networks() if network.role != "text"]
    write_bundle(tmp_path / "mute", toys.manifest(), networks)
    with pytest.raises(BundleError, match="no text network"):
        load(tmp_path / "mute", device="cpu").match(TEA, clips)
