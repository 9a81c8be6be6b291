from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from official_svip import PUBLISHED, SMALL, OfficialSvip, random_state, shapes_of
from torch import nn
from weaksvr.export.graphs import RoleGraph
from weaksvr.export.to_onnx import export_onnx
from weaksvr.train import map_towers  # noqa: F401 - registers the towers
from weaksvr.train.import_svip import UNUSED, svip_name
from weaksvr.train.networks.cat import CatEncoder

THIN = {"channels": 96, "map_height": 4, "map_width": 4, "dim": 16, "num_frames": 4}
THIN |= {"depth": 2, "width": 32, "heads": 4, "head_dim": 8, "mlp_width": 64, "bottleneck": 16}


def ours_of(state, sizes):
    """The tower and the encoder with SVIP's weights, every one of them in its place."""
    height, width = sizes["map"]
    encoder = CatEncoder(
        channels=2048,
        map_height=height,
        map_width=width,
        dim=sizes["dim"],
        num_frames=sizes["frames"],
        depth=sizes["depth"],
        width=sizes["width"],
        heads=sizes["heads"],
        head_dim=sizes["head_dim"],
        mlp_width=sizes["mlp"],
        bottleneck=sizes["narrow"],
    )
    model = nn.ModuleDict({"vision": timm.create_model("weaksvr_resnet50_maps"), "temporal": encoder}).eval()
    names = {name: svip_name(name) for name in model.state_dict()}
    assert sorted((*names.values(), *UNUSED)) == sorted(state)
    model.load_state_dict({name: state[theirs] for name, theirs in names.items()})
    return model.double()


def worst(ours, theirs):
    """Largest difference, as a share of the largest value."""
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.05
    return float((ours - theirs).abs().max() / theirs.abs().max())


def test_layout_is_the_published_one():
    shapes = shapes_of(PUBLISHED)
    assert len(shapes) == 396
    numbers = sum(
        int(np.prod(shape)) for name, shape in shapes.items() if "running" not in name and "tracked" not in name
    )
    assert round(numbers / 1e6, 2) == 75.70


def test_defaults_are_the_published_sizes():
    encoder = CatEncoder(channels=2048, map_height=6, map_width=10, dim=128, num_frames=16)
    shapes = shapes_of(PUBLISHED)
    for name, tensor in encoder.state_dict().items():
        assert tuple(tensor.shape) == shapes[svip_name(f"temporal.{name}")], name


@pytest.mark.parametrize("depth", [6, 0])
@torch.no_grad()
def test_it_computes_what_svip_computes(depth):
    sizes = {**SMALL, "depth": depth}
    state = random_state(sizes, seed=depth)
    model, oracle = ours_of(state, sizes), OfficialSvip(state, sizes)
    frames = torch.randn(1, sizes["frames"], 3, 180, 320, generator=torch.Generator().manual_seed(1))
    maps = model["vision"](frames.flatten(0, 1).double())
    assert worst(maps, oracle.encode_image(frames.flatten(0, 1)).flatten(1)) < 1e-12
    features = torch.stack([maps, maps.flip(0), 0.5 * maps])
    theirs = oracle.encode_maps(features.unflatten(2, (2048, *sizes["map"])))
    frame_features, vectors = model["temporal"](features)
    assert worst(vectors, theirs["v"]) < 1e-12
    assert worst(model["temporal"].sequence_features(features), theirs["pooled"]) < 1e-12
    if depth:
        assert worst(frame_features, theirs["narrow"]) < 1e-12


@torch.no_grad()
def test_without_transformer_h_is_the_vector_of_a_still_clip():
    encoder = CatEncoder(**{**THIN, "depth": 0}).double()
    features = torch.randn(2, 4, 96 * 16, dtype=torch.float64)
    frame_features, _ = encoder(features)
    assert sorted(encoder.state_dict()) == ["video_head.bias", "video_head.weight"]
    for frame in range(4):
        _, still = encoder(features[:, frame : frame + 1].expand(-1, 4, -1))
        assert worst(frame_features[:, frame], still) < 1e-12


@torch.no_grad()
def test_other_sizes_of_h_get_a_layer_of_their_own():
    plain, other = CatEncoder(**THIN), CatEncoder(**{**THIN, "dim": 24})
    features = torch.randn(3, 4, 96 * 16)
    assert [tuple(tensor.shape) for tensor in other(features)] == [(3, 4, 24), (3, 24)]
    assert sorted(set(other.state_dict()) - set(plain.state_dict())) == ["frame_head.bias", "frame_head.weight"]


def test_every_tensor_learns():
    encoder = CatEncoder(**{**THIN, "dim": 24})
    frame_features, vectors = encoder(torch.randn(2, 4, 96 * 16))
    (frame_features.square().mean() + vectors.square().mean()).backward()
    assert [name for name, value in encoder.named_parameters() if not value.grad.abs().max() > 0] == []


@torch.no_grad()
def test_h_knows_one_frame_alone_and_v_their_order():
    encoder = CatEncoder(**THIN).double()
    features = torch.randn(1, 4, 96 * 16, dtype=torch.float64)
    frame_features, vectors = encoder(features)
    turned, others = encoder(features.flip(1))
    torch.testing.assert_close(turned.flip(1), frame_features)
    assert (others - vectors).abs().max() > 1e-3


@pytest.mark.parametrize("scale", ["model", "head"])
def test_attention_scale(scale):
    encoder = CatEncoder(**THIN, attention_scale=scale)
    assert {block.attention.scale for block in encoder.blocks} == {32**-0.5 if scale == "model" else 8**-0.5}


def test_start_of_the_positions():
    torch.manual_seed(0)
    for std in (1.0, 0.02):
        encoder = CatEncoder(**{**THIN, "width": 512}, position_std=std)
        assert encoder.positions.std().item() == pytest.approx(std, rel=0.1)
        assert encoder.class_token.std().item() == pytest.approx(std, rel=0.1)


@pytest.mark.parametrize("change", [{}, {"depth": 0}, {"dim": 24}])
def test_exports(change):
    encoder = CatEncoder(**{**THIN, **change}).eval()
    example = torch.zeros(3, 4, 96 * 16)
    exported = export_onnx(RoleGraph(role="temporal", module=encoder, example=example, rows="B"), metadata={})
    session = onnxruntime.InferenceSession(exported.data, providers=["CPUExecutionProvider"])
    for videos in (1, 2, 5):
        features = torch.randn(videos, 4, 96 * 16)
        with torch.no_grad():
            wanted = encoder(features)
        found = session.run(None, {exported.inputs[0].name: features.numpy()})
        for ours, theirs in zip(found, wanted, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)
