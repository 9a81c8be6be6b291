"""From a checkpoint of SVIP, which knows no texts, to a verdict."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from official_svip import SMALL, OfficialSvip, random_state
from weaksvr.export import probes
from weaksvr.export.export import export_run
from weaksvr.export.inputs import Request, inputs_of
from weaksvr.export.source import run_source
from weaksvr.runtime import load
from weaksvr.runtime.commands.match import match
from weaksvr.runtime.commands.timeline import timeline
from weaksvr.runtime.commands.verify import verify
from weaksvr.runtime.errors import BundleError, OptionError
from weaksvr.runtime.preprocess import normalize
from weaksvr.train.import_checkpoint import import_checkpoint

SIZES = {**SMALL, "frames": 2}
NO_TEXTS = "the model has no text network; use one that was exported with it"


@pytest.fixture(scope="module")
def state():
    return random_state(SIZES, seed=6)


@pytest.fixture(scope="module")
def run(state, tmp_path_factory):
    folder = tmp_path_factory.mktemp("svip")
    torch.save({"epoch": 59, "loss": 0.5, "model_state_dict": state}, folder / "epoch_59.tar")
    return import_checkpoint(folder / "epoch_59.tar", folder / "cat").out


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "BATCH_SIZES", (1, 2))  # as it is, this ResNet-50 takes minutes on a CPU
        return export_run(run, tmp_path_factory.mktemp("uncalibrated") / "bundle")[0]


@pytest.fixture(scope="module")
def model(bundle):
    return load(bundle.path, device="cpu")


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    file = tmp_path_factory.mktemp("script") / "script.txt"
    file.write_text("take the cup\npour water\n")
    return file


def test_the_bundle_compares_by_vector_and_knows_no_texts(bundle):
    manifest = bundle.manifest
    assert [file.role for file in manifest.files] == ["vision", "temporal"]
    assert manifest.tokenizer is None
    assert (manifest.default_method, manifest.thresholds) == ("vector", ())
    assert manifest.description.startswith("The published SVIP checkpoint epoch_59.tar, imported;")
    assert (manifest.preprocess.height, manifest.preprocess.width) == (180, 320)


def test_the_bundle_computes_what_svip_computes(model, state, dataset):
    sampled = model.embedder.read(dataset.val[0].video)
    views = np.stack([normalize(view, model.embedder.preprocess) for view in sampled.frames])
    wanted = OfficialSvip(state, SIZES).encode_video(torch.from_numpy(views))
    found = model.embedder.embed_sampled(sampled)
    expected = wanted["v"].mean(0).numpy()
    assert np.abs(found.vector - expected).max() <= 1e-5 * np.abs(expected).max()
    flat = wanted["narrow"].flatten(0, 1).numpy()
    order = np.argsort(sampled.indices.ravel(), kind="stable")
    assert np.abs(found.frame_features - flat[order]).max() <= 1e-5 * np.abs(flat).max()


def test_it_verifies_by_vector_with_a_threshold_that_is_given(bundle, dataset):
    first, second = (str(clip.video) for clip in dataset.val[:2])
    arguments = [first, second, "--bundle", str(bundle.path), "--threshold", "0.5", "--json", "--device", "cpu"]
    result = CliRunner().invoke(verify, arguments, standalone_mode=False)
    document = json.loads(result.stdout)
    assert document["method"] == "vector"
    assert 0 < document["distance"] <= 2
    assert result.return_value == (0 if document["distance"] <= 0.5 else 1)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (verify, ["{video}", "{video}", "--explain", "--script", "{script}", "--threshold", "0.5"]),
        (match, ["{script}", "{video}"]),
        (timeline, ["{script}", "{video}"]),
    ],
    ids=["verify", "match", "timeline"],
)
def test_what_needs_texts_is_refused_in_one_line(bundle, dataset, script, command, arguments):
    filled = [argument.format(video=dataset.val[0].video, script=script) for argument in arguments]
    options = ["--bundle", str(bundle.path), "--device", "cpu"]
    result = CliRunner().invoke(command, [*filled, *options], standalone_mode=False)
    assert isinstance(result.exception, BundleError)
    assert str(result.exception) == NO_TEXTS
    assert result.stdout == ""


def test_a_tokenizer_is_refused(run, tmp_path):
    with pytest.raises(OptionError, match=r"tokenizer\.json: the model has no text tower, so no tokenizer belongs to"):
        run_source(run, tokenizer_file=tmp_path / "tokenizer.json")


def test_what_its_export_depends_on_can_be_told(run):
    request = Request(run=run, pretrained=None, pairs_file=None, tokenizer_file=None, identity={}, options={})
    found = inputs_of(request)
    assert found.unknown == ""
    assert found.networks
