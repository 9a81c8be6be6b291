"""One small model of every family that `benchmarks/bench_architectures.py` lists, with its own kinds of layers."""

from __future__ import annotations

import collections
import functools
import json

import numpy as np
import onnx
import onnxruntime
import open_clip
import pytest
import torch
from timm.layers import GELUTanh
from timm.models import register_model
from timm.models.fastvit import FastVit, RepConditionalPosEnc
from timm.models.vision_transformer import VisionTransformer
from timm.models.vitamin import GeGluMlp, VitCfg, VitConvCfg, _create_vitamin
from torch import nn
from weaksvr.export.graphs import role_graphs
from weaksvr.export.pretrained import PretrainedModel
from weaksvr.export.to_onnx import export_onnx
from weaksvr.runtime.spec import SamplingSpec
from weaksvr.train.open_clip_weights import PretrainedClip, preprocess_of
from weaksvr.train.tower_tokenizer import text_config

L = 32  # the exporter itself merges smaller masks


@register_model
def weaksvr_test_siglip(pretrained=False, num_classes=0, global_pool="map", **_):
    return VisionTransformer(
        img_size=32,
        patch_size=8,
        embed_dim=32,
        depth=2,
        num_heads=2,
        class_token=False,
        num_classes=num_classes,
        global_pool=global_pool,
    )


@register_model
def weaksvr_test_mobileclip(pretrained=False, num_classes=0, global_pool="avg", **_):
    position = functools.partial(RepConditionalPosEnc, spatial_shape=(7, 7))
    return FastVit(
        layers=(1, 1, 1, 1),
        embed_dims=(16, 16, 32, 32),
        mlp_ratios=(2, 2, 2, 2),
        se_downsamples=(False, False, True, True),
        pos_embs=(None, None, None, position),
        token_mixers=("repmixer", "repmixer", "repmixer", "attention"),
        lkc_use_act=True,
        num_classes=num_classes,
        global_pool=global_pool,
    )


@register_model
def weaksvr_test_vitamin(pretrained=False, **options):
    conv = VitConvCfg(norm_layer="layernorm2d", norm_eps=1e-6)
    stem = VitCfg(embed_dim=(16, 16, 32), depths=(1, 1, 1), stem_width=16, conv_cfg=conv, head_type="1d")
    model = {"embed_dim": 32, "depth": 2, "num_heads": 2, "mlp_layer": GeGluMlp, "mlp_ratio": 2.0, "img_size": 32}
    return _create_vitamin(
        "vitamin_small_224", embed_cfg=stem, class_token=False, **{"global_pool": "avg"} | model | options
    )


def _timm(name, pool, proj):
    return {"image_size": 32, "timm_model_name": name, "timm_pool": pool, "timm_proj": proj}


TEXT = {"context_length": L, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
VIT = {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2}
SIGLIP_TEXT = {
    "width": 32,
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "norm_kwargs": {"eps": 1e-6},
}
FAMILIES = {
    "vit-quickgelu": {"embed_dim": 24, "quick_gelu": True, "vision_cfg": VIT, "text_cfg": TEXT},
    "resnet": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        "text_cfg": TEXT,
    },
    "siglip": {
        "embed_dim": 32,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": _timm("weaksvr_test_siglip", "map", "none"),
        "text_cfg": {**TEXT, **SIGLIP_TEXT, "hf_tokenizer_name": "some/where"},
    },
    "convnext": {"embed_dim": 24, "vision_cfg": _timm("test_convnext", "", "linear"), "text_cfg": TEXT},
    "mobileclip": {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": _timm("weaksvr_test_mobileclip", "avg", None),
        "text_cfg": {**TEXT, "no_causal_mask": True},
    },
    "vitamin": {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": _timm("weaksvr_test_vitamin", "", "linear"),
        "text_cfg": TEXT,
    },
}
ROLES = {"resnet": ("vision",), "convnext": ("vision",)}  # their texts are those of the ViT


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    """Name, networks in PyTorch, exported networks."""
    name = f"weaksvr-test-{request.param}"
    file = tmp_path_factory.mktemp("open_clip") / f"{name}.json"
    file.write_text(json.dumps(FAMILIES[request.param]))
    open_clip.add_model_config(file)
    torch.manual_seed(1)
    clip = open_clip.create_model(name).eval()
    for module in clip.modules():
        if isinstance(module, nn.BatchNorm2d):  # else the features of random weights die out
            module.running_var.fill_(0.05)
    loaded = PretrainedClip(
        clip=clip,
        preprocess=preprocess_of(clip.visual.preprocess_cfg, name=name),
        text=text_config(name),
        label=name,
        facts={},
    )
    every = role_graphs(PretrainedModel(loaded, SamplingSpec(num_frames=4)))
    graphs = {role: every[role] for role in ROLES.get(request.param, ("vision", "text"))}
    return request.param, graphs, {role: export_onnx(graph, metadata={}) for role, graph in graphs.items()}


def test_every_batch_size_equals_pytorch(family):
    _, graphs, networks = family
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 49406, (64, L))
    tokens[np.arange(64), rng.integers(2, L, 64)] = 49407
    inputs = {
        "vision": rng.normal(size=(64, *graphs["vision"].example.shape[1:])).astype(np.float32),
        "text": tokens,
    }
    for role in graphs:
        rows = inputs[role]
        session = onnxruntime.InferenceSession(networks[role].data, providers=["CPUExecutionProvider"])
        for size in (1, 2, 7, 64):
            found = session.run(None, {session.get_inputs()[0].name: rows[:size]})
            with torch.no_grad():
                wanted = graphs[role].module(torch.from_numpy(rows[:size]))
            for array, tensor in zip(found, [wanted] if isinstance(wanted, torch.Tensor) else wanted, strict=True):
                scale = tensor.square().mean().sqrt().item()
                assert scale > 1e-3
                assert np.abs(array - tensor.numpy()).max() < 1e-4 * scale
                assert size == 1 or np.ptp(array, axis=0).max() > 1e-2 * scale, "rows must differ to mean anything"


def test_normalisation_and_activation_are_single_operators(family):
    _, graphs, networks = family
    for role, graph in graphs.items():
        kinds = collections.Counter(node.op_type for node in onnx.load_from_string(networks[role].data).graph.node)
        modules = list(graph.module.modules())
        assert kinds["LayerNormalization"] == sum(isinstance(module, nn.LayerNorm) for module in modules)
        assert kinds["Gelu"] >= sum(isinstance(module, nn.GELU | GELUTanh) for module in modules)
        assert kinds["Erf"] == kinds["Tanh"] == kinds["Pow"] == 0


def test_every_weight_is_used_and_there_once(family):
    name, _, networks = family
    for role, network in networks.items():
        graph = onnx.load_from_string(network.data).graph
        used = {value for node in graph.node for value in node.input}
        arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        assert set(arrays) <= used
        contents = [(array.dtype, array.shape, array.tobytes()) for array in arrays.values()]
        assert len(contents) == len(set(contents))
        masks = [array for array in arrays.values() if array.dtype == np.float32 and np.isinf(array).any()]
        causal = role == "text" and not FAMILIES[name]["text_cfg"].get("no_causal_mask")
        assert [mask.shape[-2:] for mask in masks] == ([(L, L)] if causal else [])
        for mask in masks:
            np.testing.assert_array_equal(np.isinf(mask.reshape(L, L)), np.triu(np.ones((L, L)), 1) == 1)
