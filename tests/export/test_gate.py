from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from weaksvr.export.calibration import CalibrationData
from weaksvr.export.gate import Gate, Variant
from weaksvr.export.limits import DEFAULT_LIMITS
from weaksvr.export.probes import BATCH_SIZES, compare_network, make_probes
from weaksvr.export.to_onnx import export_onnx
from weaksvr.runtime.alignment import vector_distance
from weaksvr.runtime.backends.ort import OrtBackend
from weaksvr.runtime.embedder import Embedder
from weaksvr.runtime.errors import ExportError
from weaksvr.runtime.metrics import equal_error_threshold, roc_auc
from weaksvr.train.torch_backend import TorchBackend

TEXTS = ["stamp the card", "use the ruler", "stamp the card,use the ruler", "drill a hole in the board"]
FP32 = DEFAULT_LIMITS["fp32"]


@pytest.fixture(scope="module")
def calibration(dataset):
    return CalibrationData(pairs=dataset.val_pairs, clips=dataset.val, texts=TEXTS, source="test pairs")


@pytest.fixture(scope="module")
def stages():
    return []


@pytest.fixture(scope="module")
def gates(exports, calibration, tmp_path_factory, stages):
    """A gate for each kind of network, all pairs of the 6 videos."""
    found = {}
    for name, exported in exports.items():
        manifest = exported.bundle(tmp_path_factory.mktemp("bundle") / "b").manifest
        manifest = dataclasses.replace(manifest, files=(), tokenizer=None)
        found[name] = Gate(
            exported.source, manifest, calibration, num_pairs=100, progress=lambda *stage: stages.append(stage)
        )
    return found


def judged(gate, networks, *, thresholds=None, limits=FP32):
    """The gate's report on networks that are said to be fp32."""
    with gate.running(Variant(precision="fp32", networks=networks)) as running:
        alone = gate.check_networks(running)
        (measured,) = gate.measure([running])
        own = {method: found.thresholds()[1] for method, found in measured.distances.items()}
        return gate.report(running, alone, measured, thresholds={**own, **(thresholds or {})}, limits=limits)


@pytest.fixture(scope="module")
def reports(gates, exports):
    return {name: judged(gate, exports[name].networks) for name, gate in gates.items()}


@pytest.mark.parametrize("name", ["workbench", "vit"])
def test_an_honest_export_passes(reports, name):
    report = reports[name]
    assert report.refusals == ()
    assert (report.device, report.provider, report.optimization) == ("cpu", "CPUExecutionProvider", "all")
    assert {difference.what for difference in report.networks} == {
        "the vision network, features",
        "the temporal network, frame_features",
        "the temporal network, video_vector",
        "the text network, text_features",
    }
    assert {difference.what for difference in report.videos} == {"video_vector", "frame_features"}
    for difference in (*report.networks, *report.videos):
        assert 0 < difference.relative < FP32.difference / 5
        assert difference.cosine > 1 - 1e-7
    for found in report.verdicts.values():
        assert (found.pairs, found.flips, found.tie_flips) == (15, 0, 0)
    assert report.milliseconds > 0
    assert json.loads(json.dumps(report.to_json()))["methods"]["vector"]["flips"] == 0


def test_what_it_measures_is_what_the_runtime_computes(reports, exports, dataset, calibration, tmp_path):
    found = reports["vit"].verdicts["vector"]
    exported = exports["vit"].embedder(tmp_path / "bundle")
    vectors = {clip.video: exported.embed(clip.video).vector for clip in dataset.val}
    distances = [vector_distance(vectors[pair.video_a], vectors[pair.video_b]) for pair in calibration.pairs]
    same = [pair.same for pair in calibration.pairs]
    assert found.auc == roc_auc(same, distances)
    assert (found.threshold, found.eer) == pytest.approx(equal_error_threshold(same, distances))


def test_every_video_is_decoded_once(reports, gates, stages):
    assert stages[:7] == [("comparing fp32 with PyTorch on 6 videos, 15 pairs", done, 6) for done in range(7)]
    assert gates["vit"].num_videos == 6
    assert len({frozenset((pair.video_a, pair.video_b)) for pair in gates["vit"].pairs}) == 15


def with_weights(network, change):
    """The network after `change` of its first square weight, to be given as numpy array and returned."""
    model = onnx.load_from_string(network.data)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim == 2 and values.shape[0] == values.shape[1]:
            tensor.CopyFrom(numpy_helper.from_array(change(values.copy()), tensor.name))
            return dataclasses.replace(network, data=model.SerializeToString())
    raise AssertionError("no square weight")


@pytest.mark.parametrize(
    ("role", "row"), [("vision", "frame "), ("temporal", "4 frames from frame "), ("text", "prompt '")]
)
def test_a_transposed_weight_is_refused(gates, exports, role, row):
    networks = exports["vit"].networks
    wrong = with_weights(networks[role], lambda values: np.ascontiguousarray(values.T))
    report = judged(gates["vit"], {**networks, role: wrong})
    assert report.refusals[0].startswith(f"fp32: the {role} network, ")
    assert f"differs from PyTorch by {report.networks[0].absolute:.3g}" in report.refusals[0] or role != "vision"
    assert row in report.refusals[0]


def no_number(values):
    values[0, 0] = np.nan
    return values


def test_a_weight_that_is_no_number_is_refused(gates, exports):
    gate, networks = gates["vit"], exports["vit"].networks
    wrong = {**networks, "temporal": with_weights(networks["temporal"], no_number)}
    with gate.running(Variant(precision="fp32", networks=wrong)) as running:
        (frames, vectors) = gate.check_networks(running)["temporal"]
        said = frames.refusals(FP32) + vectors.refusals(FP32)
        assert "the temporal network, frame_features: computes values that are no numbers" in said[0]
        with pytest.raises(ExportError, match=r"fp32: .*the temporal network .*computed values that are no numbers"):
            gate.measure([running])


def test_a_wrong_mean_is_refused_though_every_network_is_right(exports, calibration, gates):
    exported = exports["vit"]
    manifest = gates["vit"]._manifest
    wrong = dataclasses.replace(manifest, preprocess=dataclasses.replace(manifest.preprocess, mean=(0.5, 0.5, 0.5)))
    gate = Gate(exported.source, wrong, calibration, num_pairs=1, progress=lambda *_: None)
    report = judged(gate, exported.networks)
    assert [text for difference in report.networks for text in difference.refusals(FP32)] == []
    assert "fp32: video_vector: differs from PyTorch by" in report.refusals[0]
    assert any("fp32: frame_features: differs from PyTorch by" in text for text in report.refusals)


def test_a_missing_causal_mask_is_refused(gates, exports):
    vit = exports["vit"]
    graphs = vit.changed(lambda model: model.text.clip.attn_mask.zero_()).graphs
    networks = {**vit.networks, "text": export_onnx(graphs["text"], metadata={})}
    report = judged(gates["vit"], networks)
    assert report.refusals[0].startswith("fp32: the text network, text_features: differs from PyTorch by")
    assert "at prompt '" in report.refusals[0]


def test_a_threshold_off_by_one_decimal_is_refused(gates, exports, reports):
    right = reports["vit"].verdicts["vector"].threshold
    report = judged(gates["vit"], exports["vit"].networks, thresholds={"vector": right / 10})
    assert "fp32: vector: " in report.refusals[0]
    assert f"at {right / 10:.6g}" in report.refusals[0]
    assert report.verdicts["alignment"].flips == 0


class WrongBeyond(OrtBackend):
    """Runs rows beyond the 32nd wrongly, as a graph with a fixed size inside may do."""

    def run(self, role, inputs):
        outputs = super().run(role, inputs)
        for array in outputs.values():
            array[32:] = array[:1]
        return outputs


def test_an_error_of_large_batches_alone_is_found(exports, dataset, tmp_path):
    vit = exports["vit"]
    broken = WrongBeyond(vit.bundle(tmp_path / "bundle"), device="cpu")
    for probe in make_probes(vit.source, dataset.val, TEXTS):
        for difference in compare_network(vit.source.backend, broken, probe):
            assert f"batch of {max(BATCH_SIZES)}" in difference.where
            assert difference.refusals(FP32)


def test_without_videos_networks_are_compared_on_noise(exports):
    probes = {probe.role: probe for probe in make_probes(exports["vit"].source, (), TEXTS)}
    assert probes["vision"].rows.shape == (64, 3, 32, 32)
    assert probes["vision"].names[3] == "frame 3 of noise"
    assert probes["temporal"].rows.shape == (64, 4, 24)
    assert probes["text"].names[4] == "prompt 'stamp the card'"


class Collapsed:
    """Says nearly the same of every video: all that differs is a hundred-thousandth, drawn from `seed`."""

    device, provider, precision, optimization, seconds = "cpu", "test", "fp32", "all", 0.0

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def run(self, role, inputs):
        if role == "vision":
            return {"features": inputs["frames"].mean((2, 3))}
        B, T = inputs["features"].shape[:2]
        vectors = 1 + 1e-5 * self.rng.normal(size=(B, 3)).astype(np.float32)
        return {"frame_features": np.repeat(vectors[:, None], T, axis=1), "video_vector": vectors}


def test_an_auc_that_rounding_decides_is_refused(exports, calibration, gates):
    vit = exports["vit"]
    source, exported = (
        Embedder(Collapsed(seed), sampling=vit.source.sampling, preprocess=vit.source.preprocess) for seed in (1, 2)
    )
    gate = Gate(source, gates["vit"]._manifest, calibration, num_pairs=1, progress=lambda *_: None)
    with gate.running(Variant(precision="fp32", networks=vit.networks)) as running:
        collapsed = dataclasses.replace(running, embedder=exported)
        (measured,) = gate.measure([collapsed])
        thresholds = {method: found.thresholds()[1] for method, found in measured.distances.items()}
        report = gate.report(collapsed, {}, measured, thresholds=thresholds, limits=FP32)
    assert any("the AUC is" in text for text in report.refusals)


def test_weights_that_are_no_numbers_are_named_as_such(exports, dataset):
    def no_bias(model):
        model.temporal.frame_head.bias.fill_(np.nan)

    vit = exports["vit"]
    source = vit.changed(no_bias).source
    temporal = next(probe for probe in make_probes(source, dataset.val, TEXTS) if probe.role == "temporal")
    with pytest.raises(ExportError, match="PyTorch itself computes values that are no numbers; train the model again"):
        compare_network(source.backend, TorchBackend(vit.checkpoint.model, vit.source.backend._device), temporal)
