from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from weaksvr.export.graphs import RoleGraph
from weaksvr.export.to_onnx import export_onnx
from weaksvr.runtime.errors import OptionError
from weaksvr.train import small_towers

FEATURES = {"weaksvr_resnet": 256, "weaksvr_swin": 96, "weaksvr_vit": 64}
KINDS = {"weaksvr_resnet": "ResNet", "weaksvr_swin": "SwinTransformer", "weaksvr_vit": "VisionTransformer"}


def test_they_are_registered_with_timm():
    assert timm.list_models("weaksvr_*", module="small_towers") == sorted(FEATURES)
    assert sorted({*small_towers.__all__} - {"default_cfgs"}) == sorted(FEATURES)


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_gives_features_and_learns(name):
    torch.manual_seed(0)
    tower = timm.create_model(name, num_classes=0)
    assert type(tower).__name__ == KINDS[name]
    assert type(tower).__module__.startswith("timm.")
    assert sum(parameter.numel() for parameter in tower.parameters()) < 1_000_000
    optimizer = torch.optim.SGD(tower.parameters(), lr=1e-3)
    for _ in range(2):  # in the first step only the last layer of a residual block learns: it starts at zero
        optimizer.zero_grad()
        features = tower(torch.randn(2, 3, 64, 64))
        assert features.shape == (2, FEATURES[name])
        features.square().sum().backward()
        optimizer.step()
    still = [part for part, tensor in tower.named_parameters() if not float(tensor.grad.abs().max()) > 0]
    assert still == []


@pytest.mark.parametrize("name", sorted(FEATURES))
@torch.no_grad()
def test_takes_frames_of_112_pixels(name):
    options = {} if name == "weaksvr_resnet" else {"img_size": 112}
    tower = timm.create_model(name, num_classes=0, **options).eval()
    assert tower(torch.randn(1, 3, 112, 112)).shape == (1, FEATURES[name])


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_exports_with_any_number_of_frames(name):
    torch.manual_seed(0)
    tower = timm.create_model(name, num_classes=0).eval()
    graph = RoleGraph(role="vision", module=tower, example=torch.zeros(3, 3, 64, 64), rows="N")
    session = onnxruntime.InferenceSession(export_onnx(graph, metadata={}).data, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    for size in (1, 2, 5):
        frames = torch.randn(size, 3, 64, 64)
        (found,) = session.run(None, {given.name: frames.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(found, tower(frames).numpy(), atol=1e-4)


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_there_are_no_published_weights(name):
    with pytest.raises(OptionError, match=f"{name} has no published weights; train it from scratch"):
        timm.create_model(name, pretrained=True)
