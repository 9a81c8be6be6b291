"""From a checkpoint of the published code to a verdict."""

from __future__ import annotations

import copy
import json

import numpy as np
import open_clip
import pytest
import torch
from click.testing import CliRunner
from official_networks import SMALL, SMALL_CLIP, OfficialNetwork, random_state
from weaksvr.export.export import ExportOptions, export_run
from weaksvr.export.inputs import Request, inputs_of
from weaksvr.runtime import load
from weaksvr.runtime.errors import OptionError, WeakSVRError
from weaksvr.runtime.preprocess import normalize
from weaksvr.train.checkpoint import load_checkpoint, save_checkpoint
from weaksvr.train.commands.evaluate import command
from weaksvr.train.import_checkpoint import PUBLISHED_CLIP, import_checkpoint

CLIP = "weaksvr-test-exported"


@pytest.fixture(scope="module")
def state():
    return random_state(SMALL, seed=2)


@pytest.fixture(scope="module")
def run(state, tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")
    (folder / f"{CLIP}.json").write_text(json.dumps(SMALL_CLIP))
    open_clip.add_model_config(folder / f"{CLIP}.json")
    torch.save({"epoch": 7, "auc_value": np.float64(0.8081), "model_state_dict": state}, folder / "best_model.tar")
    return import_checkpoint(folder / "best_model.tar", folder / "csv", clip=CLIP).out


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    return export_run(run, tmp_path_factory.mktemp("uncalibrated") / "bundle")[0]


def test_without_pairs_it_has_no_threshold_and_compares_as_published(bundle):
    manifest = bundle.manifest
    assert manifest.name == "csv"
    assert manifest.thresholds == ()
    assert manifest.default_method == "vector"
    assert manifest.description.startswith("The published WeakSVR checkpoint best_model.tar, imported;")
    assert manifest.training["imported"]["reported"] == {"epoch": 7, "auc_value": 0.8081}
    assert set(manifest.training["config"]) == {"model", "data"}


def test_the_bundle_computes_what_the_published_network_computes(bundle, state, dataset):
    model = load(bundle.path, device="cpu")
    sampled = model.embedder.read(dataset.val[0].video)
    views = np.stack([normalize(view, model.embedder.preprocess) for view in sampled.frames])
    frame_features, vectors = OfficialNetwork(state, SMALL).encode_video(torch.from_numpy(views))
    embedding = model.embedder.embed_sampled(sampled)
    expected = vectors.mean(dim=0).numpy()
    assert np.abs(embedding.vector - expected).max() <= 1e-5 * np.abs(expected).max()
    flat = frame_features.flatten(0, 1).numpy()
    order = np.argsort(sampled.indices.ravel(), kind="stable")
    assert np.abs(embedding.frame_features - flat[order]).max() <= 1e-5 * np.abs(flat).max()


def test_it_verifies_with_a_threshold_that_is_given(bundle, dataset):
    model = load(bundle.path, device="cpu")
    first, second = (clip.video for clip in dataset.val[:2])
    assert model.verify(first, first, threshold=0.01).same
    assert 0 < model.verify(first, second, threshold=0.01).distance <= 2
    with pytest.raises(WeakSVRError, match="threshold"):
        model.verify(first, second)


def test_pairs_calibrate_it(run, data, tmp_path):
    videos = [data / f"videos/val/000{number}.mp4" for number in range(3)]
    pairs = tmp_path / "few.csv"
    pairs.write_text(f"video_a,video_b,same\n{videos[0]},{videos[1]},1\n{videos[0]},{videos[2]},0\n")
    manifest = export_run(run, tmp_path / "bundle", pairs_file=pairs)[0].manifest
    assert {threshold.method for threshold in manifest.thresholds} == {"vector", "alignment"}
    assert manifest.checks["pairs_from"] == "few.csv"


def test_a_second_export_can_tell_that_nothing_has_changed(run, tmp_path):
    checkpoint = load_checkpoint(run)
    record = copy.deepcopy(dict(checkpoint.record))
    record["config"]["model"]["clip"] = PUBLISHED_CLIP  # whose configuration lies where it is looked for
    save_checkpoint(tmp_path, checkpoint.model, record)
    request = Request(run=tmp_path, pretrained=None, pairs_file=None, tokenizer_file=None, identity={}, options={})
    found = inputs_of(request)
    assert found.unknown == ""
    assert found.networks


def test_it_is_evaluated_like_any_run(run, data):
    result = CliRunner().invoke(command, [str(run), "--data", str(data), "--split", "val", "--json"])
    assert result.exit_code == 0, result.output
    assert set(json.loads(result.stdout)["methods"]) == {"vector", "alignment"}


def test_other_precisions_need_pairs(run, tmp_path):
    with pytest.raises(OptionError, match=r"fp16, int8 and TensorRT engines need pairs of videos .* --pairs FILE"):
        export_run(run, tmp_path / "bundle", options=ExportOptions(fp16=True))
    assert not (tmp_path / "bundle").exists()
