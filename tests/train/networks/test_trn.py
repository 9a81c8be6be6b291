from __future__ import annotations

import math

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from weaksvr.export.graphs import RoleGraph
from weaksvr.export.to_onnx import export_onnx
from weaksvr.runtime.errors import OptionError
from weaksvr.train.networks.trn import RelationNetwork, frame_subsets

B, T, F, D = 3, 6, 10, 7


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = RelationNetwork(F, dim=D, num_frames=T, width=8).eval()
    nn.init.normal_(network.frame_layer.weight)  # the published start would hide what the frames say
    return network


@pytest.mark.parametrize("num_frames", [2, 3, 4, 5, 8, 16, 17, 32])
def test_subsets_are_ordered_spread_and_as_many_as_published(num_frames):
    for scale in range(2, num_frames + 1):
        subsets = frame_subsets(num_frames, scale)
        assert len(subsets) == len(set(subsets)) == min(3, math.comb(num_frames, scale))
        for subset in subsets:
            assert len(subset) == scale
            assert subset[0] >= 0
            assert subset[-1] < num_frames
            gaps = np.diff(subset)
            assert gaps.min() >= 1
            assert gaps.max() - gaps.min() <= 1, "evenly spread"


def test_subsets_are_these():
    """A trained network is bound to them: another choice would change what it computes."""
    assert frame_subsets(16, 16) == (tuple(range(16)),)
    assert frame_subsets(16, 2) == ((1, 9), (0, 15), (6, 14))
    assert frame_subsets(16, 4) == ((0, 4, 8, 12), (0, 5, 10, 15), (3, 7, 11, 15))
    assert frame_subsets(5, 3) == ((0, 1, 3), (0, 2, 4), (1, 3, 4))


def naive(network, features):
    """One video (T, F) in float64 loops over scales, subsets and frames."""
    weights = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}

    def linear(x, name):
        return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]

    frames = [linear(row, "frame_layer") for row in features]
    vector = np.zeros(D)
    for index, scale in enumerate(range(T, 1, -1)):
        for subset in frame_subsets(T, scale):
            joined = np.concatenate([frames[frame] for frame in subset])
            hidden = linear(np.maximum(joined, 0), f"relations.{index}.1")
            vector += linear(np.maximum(hidden, 0), f"relations.{index}.3")
    return np.stack([linear(frame, "frame_head") for frame in frames]), vector


@torch.no_grad()
def test_equals_loops_over_the_subsets(network):
    features = torch.randn(B, T, F)
    frame_features, vectors = network(features)
    assert frame_features.shape == (B, T, D)
    assert vectors.shape == (B, D)
    for row in range(B):
        wanted = naive(network, features[row].double().numpy())
        np.testing.assert_allclose(frame_features[row].numpy(), wanted[0], atol=1e-5)
        np.testing.assert_allclose(vectors[row].numpy(), wanted[1], atol=1e-5)


@torch.no_grad()
def test_knows_the_order_of_the_frames(network):
    features = torch.randn(1, T, F)
    assert float((network(features)[1] - network(features.flip(1))[1]).abs().max()) > 1e-3


@torch.no_grad()
def test_sees_the_same_subsets_at_every_call_and_in_training(network):
    features = torch.randn(B, T, F)
    first = network(features)[1]
    assert torch.equal(first, network(features)[1])
    network.dropout.p = 0.0
    assert torch.equal(first, network.train()(features)[1])


def test_has_the_published_size_start_and_dropout():
    network = RelationNetwork(1024, dim=45, num_frames=16)
    assert sum(parameter.numel() for parameter in network.relations.parameters()) == 9_024_675
    assert network.frame_layer.out_features == 256
    assert float(network.frame_layer.weight.detach().std()) == pytest.approx(0.001, rel=0.02)
    assert not network.frame_layer.bias.any()
    assert network.dropout.p == 0.8
    assert not [name for name in network.state_dict() if "subsets" in name]


def test_exports_with_any_number_of_videos(network):
    graph = RoleGraph(role="temporal", module=network, example=torch.zeros(3, T, F), rows="B")
    session = onnxruntime.InferenceSession(export_onnx(graph, metadata={}).data, providers=["CPUExecutionProvider"])
    for size in (1, 2, 5):
        features = torch.randn(size, T, F)
        found = session.run(None, {"features": features.numpy()})
        with torch.no_grad():
            wanted = network(features)
        for array, tensor in zip(found, wanted, strict=True):
            np.testing.assert_allclose(array, tensor.numpy(), atol=1e-4)


def test_one_frame_is_no_relation():
    with pytest.raises(OptionError, match="num_frames = 1 is too few"):
        RelationNetwork(F, dim=D, num_frames=1)


def test_every_parameter_learns(network):
    frame_features, vectors = network.train()(torch.randn(B, T, F))
    (frame_features.square().sum() + vectors.square().sum()).backward()
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in network.parameters())
