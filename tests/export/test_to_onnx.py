from __future__ import annotations

import collections
import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from weaksvr.export.graphs import RoleGraph, role_graphs
from weaksvr.export.to_onnx import OPSET, export_onnx
from weaksvr.runtime.errors import ExportError
from weaksvr.runtime.preprocess import normalize

ROLES = ("vision", "temporal", "text")
MODELS = ("workbench", "vit")


def rows_of(exported, role, frames, dataset):
    """64 different rows of real input."""
    model = exported.checkpoint.model
    if role == "text":
        steps = [*dict.fromkeys(step for clip in (*dataset.train, *dataset.val) for step in clip.steps)]
        texts = [*steps, *(",".join(clip.steps) for clip in dataset.val), "", "a " * 100]
        return exported.source.tokenizer([texts[row % len(texts)] for row in range(64)])
    pixels = normalize(frames[:64], model.preprocess)
    assert len(pixels) == 64
    if role == "vision":
        return pixels
    with torch.no_grad():
        features = model.vision(torch.from_numpy(pixels)).numpy()
    return np.stack([np.roll(features, -row, axis=0)[: model.sampling.num_frames] for row in range(64)])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("role", ROLES)
def test_equals_pytorch_on_every_batch_size(exports, frames, dataset, name, role):
    exported = exports[name]
    rows = rows_of(exported, role, frames[name], dataset)
    session = onnxruntime.InferenceSession(exported.networks[role].data, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert given.type == ("tensor(int64)" if role == "text" else "tensor(float)")
    outputs = []
    for size in (1, 2, 7, 64):
        found = session.run(None, {given.name: rows[:size]})
        with torch.no_grad():
            wanted = exported.graphs[role].module(torch.from_numpy(rows[:size]))
        wanted = [wanted] if isinstance(wanted, torch.Tensor) else wanted
        assert len(found) == len(wanted)
        for array, tensor in zip(found, wanted, strict=True):
            assert array.shape == tuple(tensor.shape)
            assert len(array) == size
            assert np.abs(array - tensor.numpy()).max() < 1e-4
        outputs.append(found)
    for array in outputs[-1]:
        assert np.ptp(array, axis=0).max() > 1e-2, "the rows must differ for the comparison to mean anything"


@pytest.mark.parametrize("role", ROLES)
def test_the_first_dimension_is_a_symbol_and_the_others_are_numbers(exported, role):
    network = exported.networks[role]
    graph = onnx.load_from_string(network.data).graph
    symbol = "B" if role == "temporal" else "N"
    for values, specs in ((graph.input, network.inputs), (graph.output, network.outputs)):
        assert [value.name for value in values] == [spec.name for spec in specs]
        for value, spec in zip(values, specs, strict=True):
            sides = value.type.tensor_type.shape.dim
            assert (sides[0].HasField("dim_param"), sides[0].dim_param) == (True, symbol)
            assert all(side.HasField("dim_value") and side.dim_value > 0 for side in sides[1:])
            assert spec.shape == (symbol, *(side.dim_value for side in sides[1:]))
    spec = exported.checkpoint.model.preprocess
    if role == "vision":
        assert network.inputs[0].shape == ("N", 3, spec.height, spec.width)
    if role == "text":
        assert network.inputs[0].dtype == "int64"
        assert network.inputs[0].shape == ("N", exported.checkpoint.model.context_length)


def test_layer_norm_and_gelu_are_single_operators(exported):
    kinds = collections.Counter()
    for network in exported.networks.values():
        proto = onnx.load_from_string(network.data)
        assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", OPSET)]
        assert not proto.functions
        kinds.update(node.op_type for node in proto.graph.node)
    modules = [module for graph in exported.graphs.values() for module in graph.module.modules()]
    assert kinds["Gelu"] == sum(isinstance(module, nn.GELU) for module in modules) > 0
    assert kinds["LayerNormalization"] == sum(isinstance(module, nn.LayerNorm) for module in modules) > 0
    assert kinds["Erf"] == 0


def test_each_file_is_whole_valid_and_described(exported, tmp_path):
    for role, network in exported.networks.items():
        proto = onnx.load_from_string(network.data)
        onnx.checker.check_model(proto, full_check=True)
        assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in proto.graph.initializer)
        assert {entry.key: entry.value for entry in proto.metadata_props}.keys() == {"weaksvr.name"}
        weights = sum(tensor.numel() * 4 for tensor in exported.graphs[role].module.parameters())
        assert weights * 0.99 < len(network.data) < weights * 1.05 + 60_000
    assert sorted(path.name.split(".")[0] for path in exported.bundle(tmp_path).path.iterdir()) == [
        "manifest",
        "temporal",
        "text",
        "tokenizer",
        "vision",
    ]


def test_nothing_in_a_file_tells_about_the_machine(exported):
    for network in exported.networks.values():
        assert b".py" not in network.data
        assert b"stack_trace" not in network.data


def test_the_same_network_gives_the_same_bytes(exports):
    exported = exports["vit"]
    again = export_onnx(role_graphs(exported.checkpoint.model)["temporal"], metadata={"weaksvr.name": "vit"})
    assert again.data == exported.networks["temporal"].data


class Branching(nn.Module):
    def forward(self, frames):
        return frames.mean((2, 3)) if frames.sum() > 0 else frames.amax((2, 3))


class FixedBatch(nn.Module):
    def forward(self, frames):
        return frames.mean((2, 3)).reshape(3, 3) * torch.ones(3, 3)


class TwiceTheBatch(nn.Module):
    def forward(self, frames):
        return torch.cat([frames, frames]).mean((2, 3))


class DoublePrecision(nn.Module):
    def forward(self, frames):
        return frames.mean((2, 3)).double()


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Branching(), "the vision network cannot be exported to ONNX: Could not guard on data-dependent"),
        (FixedBatch(), r"the vision network cannot be exported to ONNX: frames has shape \(3, 3, 8, 8\) in the graph"),
        (TwiceTheBatch(), r"features has shape \(2\*N, 3\) in the graph; its first dimension must be N"),
        (DoublePrecision(), "the vision network has features in float64, but needs float32"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_exported(module, message, capfd):
    graph = RoleGraph(role="vision", module=module.eval(), example=torch.zeros(3, 3, 8, 8), rows="N")
    with pytest.raises(ExportError, match=message) as caught:
        export_onnx(graph, metadata={})
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_more_weights_than_a_file_holds_are_refused_at_once(exports):
    huge = nn.Linear(2**15, 2**14, device="meta")
    graph = dataclasses.replace(exports["vit"].graphs["vision"], module=huge)
    with pytest.raises(ExportError, match=r"the vision network has 2\.0 GiB of weights, but one ONNX file holds 2 GiB"):
        export_onnx(graph, metadata={})


def test_the_networks_are_in_evaluation_mode(exports):
    model = exports["vit"].checkpoint.model.train()
    assert not any(module.training for graph in role_graphs(model).values() for module in graph.module.modules())
