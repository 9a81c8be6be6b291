from __future__ import annotations

import dataclasses

import numpy as np
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from weaksvr.export.draft import make_draft
from weaksvr.export.isolated import Child, IsolatedBackend
from weaksvr.export.rounding import with_rounding
from weaksvr.export.to_fp16 import to_fp16
from weaksvr.export.to_onnx import export_onnx


def run(data, feed):
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, feed)


@pytest.mark.parametrize("role", ["vision", "temporal", "text"])
def test_it_rounds_as_half_precision_does(exported, role):
    """As ONNX's reference implementation, which stores half precision as such."""
    network = exported.networks[role]
    rng = np.random.default_rng(3)
    (tensor,) = network.inputs
    shape = [2 if isinstance(side, str) else side for side in tensor.shape]
    values = rng.integers(1, 400, shape) if tensor.dtype == "int64" else rng.normal(size=shape)
    feed = {tensor.name: values.astype(tensor.dtype)}
    half = to_fp16(network).data
    for exact, wanted, found in zip(
        run(network.data, feed), ReferenceEvaluator(half).run(None, feed), run(with_rounding(half), feed), strict=True
    ):
        error = np.abs(found - exact).mean()
        assert 0.4 < error / np.abs(wanted - exact).mean() < 2
        assert error > 1e-6


def large(model):
    """The same function, with a product in between that half precision cannot hold."""
    block = model.vision.transformer.resblocks[0]
    block.mlp.c_fc.weight.mul_(3e4)
    block.mlp.c_fc.bias.fill_(3e4)


def test_overflow_is_seen_though_the_cpu_computes_in_fp32(exports, tmp_path):
    vit = exports["vit"].changed(large)
    networks = {**vit.networks, "vision": export_onnx(vit.graphs["vision"], metadata={})}
    frames = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32) * 5
    assert np.isfinite(run(networks["vision"].data, {"frames": frames})[0]).all()
    half = {role: to_fp16(network) for role, network in networks.items()}
    manifest = dataclasses.replace(vit.bundle(tmp_path / "b").manifest, files=(), tokenizer=None)
    with Child("fp16") as child:
        backend = IsolatedBackend(child, make_draft(manifest, half.values(), precision="fp16"), precision="fp16")
        assert not np.isfinite(backend.run("vision", {"frames": frames})["features"]).all()
