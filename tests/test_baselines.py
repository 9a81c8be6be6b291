"""The baselines as models of ours: each is trained, evaluated, exported and verified with, like the main network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from weaksvr.export.export import ExportOptions, export_run
from weaksvr.export.limits import overridden
from weaksvr.runtime import load
from weaksvr.runtime.errors import OptionError
from weaksvr.runtime.evaluate import evaluate
from weaksvr.runtime.manifest import read_dataset
from weaksvr.train.checkpoint import load_checkpoint
from weaksvr.train.config import override
from weaksvr.train.datasets.workbench.writer import make_dataset
from weaksvr.train.engine import train
from weaksvr.train.evaluate import checkpoint_embedder
from weaksvr.train.model import WeakSVR
from weaksvr.train.presets import preset

FRAMES = 8
NETWORKS = {
    "cat": ["model.network=cat", "model.vision=weaksvr_thin_resnet_maps"],
    "trn": ["model.network=trn", "model.vision=weaksvr_resnet"],
    "swin": ["model.vision=weaksvr_swin", "model.depth=0", "model.hidden_layer=true"],
    "vit": ["model.vision=weaksvr_vit"],
    "s3d-g": ["model.network=s3d-g", "model.vision=pixels", "model.network_width=0.125"],
    "video-swin": ["model.network=video-swin-small", "model.vision=pixels"],
}
WEAK = ["loss.script_negatives=0", "loss.fine=none"]
SUPERVISED = ["data.pairs=true", "loss.class_weight=1", "loss.sequence_weight=1", "loss.coarse_weight=0", *WEAK]
NO_TEXT = ["model.text=none", "model.dim=32"]
WORDS = ["model.text=words", "model.dim=32", "loss.coarse=mil-nce", *WEAK]
TRAININGS = {
    "cat": [*SUPERVISED, *NO_TEXT],
    "trn": [*SUPERVISED, *NO_TEXT],
    "swin": [*SUPERVISED],
    "vit": WEAK,
    "s3d-g": [*WORDS, "optim.epochs=60", "optim.eval_every=60"],  # until batch normalisation has its statistics
    "video-swin": WEAK,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Two training videos of each of four procedures."""
    folder = tmp_path_factory.mktemp("baselines") / "data"
    make_dataset(folder, train=10, val=6, test=0, takes=2, seed=3, size=64)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("frames")


def settings(name: str, cache: Path):
    small = [
        f"data.num_frames={FRAMES}",
        "data.batch_size=4",
        "data.workers=0",
        f"data.cache={cache}",
        "optim.epochs=1",
    ]
    return override(preset("workbench"), [*small, *NETWORKS[name], *TRAININGS[name]])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_baseline_goes_the_whole_road(data, cache, tmp_path, name):
    torch.set_num_threads(1)
    summary = train(data, tmp_path / "run", settings(name, cache), device="cpu")
    checkpoint = load_checkpoint(summary.out)
    embedder = checkpoint_embedder(checkpoint, device=torch.device("cpu"))
    trained = evaluate(embedder, read_dataset(data, require_train=False), split="val", matching=False)
    # Networks that were trained for seconds are badly conditioned: their rounding is larger than that of real ones.
    options = ExportOptions(gate_pairs=20, limits=overridden(["fp32.difference=0.001"]))
    bundle, report = export_run(summary.out, tmp_path / "bundle", options=options)
    assert [precision.name for precision in report.precisions] == ["fp32"]
    model = load(bundle.path, device="cpu")
    exported = evaluate(model.embedder, read_dataset(data, require_train=False), split="val", matching=False)
    for method, result in trained.methods.items():
        assert result.auc == pytest.approx(exported.methods[method].auc)
    videos = [data / "videos" / "val" / f"000{index}.mp4" for index in range(2)]
    result = model.verify(*videos)
    assert np.isfinite(result.distance)
    assert result.same is (result.distance <= result.threshold)
    own = [embedder.embed(video).vector for video in videos]
    theirs = [model.embedder.embed(video).vector for video in videos]
    np.testing.assert_allclose(own, theirs, atol=1e-3 * np.abs(own).max())
    has_text = json.loads((bundle.path / "manifest.json").read_text())["tokenizer"] is not None
    assert has_text is (checkpoint.config.model.text != "none")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["model.network=cat", "model.vision=weaksvr_resnet"],
            "network = cat takes whole maps, which weaksvr_resnet does",
        ),
        (["model.network=cat"], "network = cat takes whole maps, which weaksvr-tiny does not give"),
    ],
)
def test_networks_that_do_not_fit_their_image_tower(changes, message):
    with pytest.raises(OptionError, match=message):
        WeakSVR(override(preset("workbench"), changes))


@pytest.mark.parametrize("changes", [["model.network=s3d-g"], ["model.vision=pixels"]])
def test_whole_clips_and_frames_are_not_mixed(changes):
    with pytest.raises(OptionError, match="take whole clips, with vision = pixels"):
        override(preset("workbench"), changes)
