from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from weaksvr.export.gate import BATCH_SIZES, MAX_DIFFERENCE, check_pairs, check_roles
from weaksvr.export.to_onnx import export_onnx
from weaksvr.runtime.alignment import vector_distance
from weaksvr.runtime.backends.ort import OrtBackend
from weaksvr.runtime.embedder import Embedder
from weaksvr.runtime.errors import ExportError
from weaksvr.runtime.metrics import equal_error_threshold, roc_auc
from weaksvr.train.torch_backend import TorchBackend

TEXTS = ["stamp the card", "use the ruler", "stamp the card,use the ruler", "drill a hole in the board"]


@pytest.fixture
def vit(exports):
    return exports["vit"]


@pytest.fixture
def on_pairs(dataset):
    return {"clips": dataset.val, "pairs": dataset.val_pairs}


@pytest.mark.parametrize("name", ["workbench", "vit"])
def test_an_honest_export_passes(exports, frames, on_pairs, tmp_path, name):
    source, exported = exports[name].source, exports[name].embedder(tmp_path / "bundle")
    by_role = check_roles(source, exported, frames[name], TEXTS)
    assert set(by_role) == {"vision", "temporal", "text"}
    assert all(0 < value < MAX_DIFFERENCE / 5 for value in by_role.values())
    seen = []
    report = check_pairs(source, exported, **on_pairs, progress=lambda *parts: seen.append(parts))
    assert seen == [(done, 6) for done in range(7)]
    assert (report.num_videos, report.num_pairs, report.num_same) == (6, 9, 1)
    assert set(report.max_difference) == {"video_vector", "frame_features"}
    assert all(0 < value < MAX_DIFFERENCE / 2 for value in report.max_difference.values())
    assert json.loads(json.dumps(report.to_json()))["methods"]["vector"]["flips"] == 0
    clips, pairs = on_pairs.values()
    vectors = {clip.video: exported.embed(clip.video).vector for clip in clips}
    distances = [vector_distance(vectors[pair.video_a], vectors[pair.video_b]) for pair in pairs]
    same = [pair.same for pair in pairs]
    found = report.methods["vector"]
    assert found.auc == roc_auc(same, distances)
    assert (found.threshold, found.eer) == pytest.approx(equal_error_threshold(same, distances))


def other_weights(vit, change, *roles):
    """Exports of the vit's networks after `change`, to stand in for those of the vit itself."""
    graphs = vit.changed(change).graphs
    return {role: export_onnx(graphs[role], metadata={}) for role in roles}


def change_everywhere(model):
    model.vision.ln_post.bias.add_(0.01)
    model.temporal.frame_head.weight[3, 3] += 0.01
    model.text.clip.text_projection.mul_(1.001)


@pytest.fixture(scope="module")
def wrong_networks(exports):
    return other_weights(exports["vit"], change_everywhere, "vision", "temporal", "text")


@pytest.mark.parametrize(
    ("role", "output"), [("vision", "features"), ("temporal", "frame_features"), ("text", "text_features")]
)
def test_a_network_with_other_weights_is_refused(vit, wrong_networks, frames, tmp_path, role, output):
    broken = vit.embedder(tmp_path / "bundle", **{role: wrong_networks[role]})
    with pytest.raises(ExportError, match=f"the {role} network, {output}, batch of 1: the export differs from PyTorch"):
        check_roles(vit.source, broken, frames["vit"], TEXTS)


class WrongBeyond(OrtBackend):
    """Runs rows beyond the 32nd wrongly, as a graph with a fixed size inside may do."""

    def run(self, role, inputs):
        outputs = super().run(role, inputs)
        for array in outputs.values():
            array[32:] = array[:1]
        return outputs


def test_an_error_of_large_batches_alone_is_found(vit, frames, tmp_path):
    exported = vit.embedder(tmp_path / "bundle")
    exported.backend = WrongBeyond(vit.bundle(tmp_path / "bundle"), device="cpu")
    with pytest.raises(ExportError, match=f"batch of {max(BATCH_SIZES)}: the export differs"):
        check_roles(vit.source, exported, frames["vit"], TEXTS)


def a_thousandth(model):
    for parameter in model.temporal.frame_head.parameters():
        parameter.mul_(1e-3)


def a_thousandth_and_a_bit(model):
    a_thousandth(model)
    model.temporal.frame_head.weight.mul_(1.001)


def test_small_features_are_checked_as_strictly(vit, frames, on_pairs, tmp_path):
    source = vit.changed(a_thousandth).source
    right = vit.embedder(tmp_path / "right", **other_weights(vit, a_thousandth, "temporal"))
    wrong = vit.embedder(tmp_path / "wrong", **other_weights(vit, a_thousandth_and_a_bit, "temporal"))
    check_roles(source, right, frames["vit"], TEXTS)
    report = check_pairs(source, right, **on_pairs)
    assert 0 < report.max_difference["frame_features"] < 1e-7
    with pytest.raises(ExportError, match="temporal network, frame_features"):
        check_roles(source, wrong, frames["vit"], TEXTS)
    with pytest.raises(ExportError, match=r"frame_features: the export differs from PyTorch by .*e-0[567], more than"):
        check_pairs(source, wrong, **on_pairs)


def test_other_preprocessing_is_refused_though_every_network_is_right(vit, frames, on_pairs, tmp_path):
    exported = vit.embedder(tmp_path / "bundle")
    exported.preprocess = dataclasses.replace(exported.preprocess, mean=(0.5, 0.5, 0.5))
    check_roles(vit.source, exported, frames["vit"], TEXTS)
    first = on_pairs["pairs"][0].video_a
    with pytest.raises(ExportError, match=f"{first}: video_vector: the export differs from PyTorch by .*nothing was"):
        check_pairs(vit.source, exported, **on_pairs)


def no_number(model):
    model.temporal.frame_head.bias.fill_(torch.nan)


def test_weights_that_are_no_numbers_are_named_as_such(vit, frames, tmp_path):
    exported = vit.embedder(tmp_path / "bundle")
    with pytest.raises(ExportError, match="PyTorch itself computes values that are no numbers; train the model again"):
        check_roles(vit.changed(no_number).source, exported, frames["vit"], TEXTS)


def test_an_export_that_computes_no_numbers_is_refused(vit, frames, tmp_path):
    exported = vit.embedder(tmp_path / "bundle")
    exported.backend = TorchBackend(vit.changed(no_number).checkpoint.model, torch.device("cpu"))
    with pytest.raises(ExportError, match="the export differs from PyTorch by nan"):
        check_roles(vit.source, exported, frames["vit"], TEXTS)


class Longer(OrtBackend):
    """Gives every row twice as many dimensions."""

    def run(self, role, inputs):
        return {name: np.repeat(array, 2, axis=-1) for name, array in super().run(role, inputs).items()}


def test_another_shape_is_refused(vit, frames, tmp_path):
    exported = vit.embedder(tmp_path / "bundle")
    exported.backend = Longer(vit.bundle(tmp_path / "bundle"), device="cpu")
    with pytest.raises(ExportError, match=r"the export gives shape \(1, 48\), PyTorch \(1, 24\)"):
        check_roles(vit.source, exported, frames["vit"], TEXTS)


class Collapsed:
    """Says nearly the same of every video: all that differs is a hundred-thousandth, drawn from `seed`."""

    device, provider, precision = "cpu", "test", "fp32"

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def run(self, role, inputs):
        if role == "vision":
            return {"features": inputs["frames"].mean((2, 3))}
        B, T = inputs["features"].shape[:2]
        vectors = 1 + 1e-5 * self.rng.normal(size=(B, 3)).astype(np.float32)
        return {"frame_features": np.repeat(vectors[:, None], T, axis=1), "video_vector": vectors}


def test_an_auc_that_rounding_decides_is_refused(vit, on_pairs):
    source, exported = (
        Embedder(Collapsed(seed), sampling=vit.source.sampling, preprocess=vit.source.preprocess) for seed in (1, 2)
    )
    with pytest.raises(ExportError, match=r"PyTorch's [\d.]+: the model hardly tells the videos apart"):
        check_pairs(source, exported, **on_pairs)


def test_the_default_is_the_better_way_and_of_equals_the_alignment(vit, on_pairs):
    report = check_pairs(vit.source, vit.source, **on_pairs)
    assert set(report.max_difference.values()) == {0.0}
    for vector, alignment, best in ((0.9, 0.8, "vector"), (0.8, 0.9, "alignment"), (1.0, 1.0, "alignment")):
        methods = {
            "vector": dataclasses.replace(report.methods["vector"], auc=vector),
            "alignment": dataclasses.replace(report.methods["alignment"], auc=alignment),
        }
        assert dataclasses.replace(report, methods=methods).default_method == best
