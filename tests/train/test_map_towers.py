from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from weaksvr.export.graphs import RoleGraph
from weaksvr.export.to_onnx import export_onnx
from weaksvr.runtime.errors import OptionError
from weaksvr.train import map_towers  # noqa: F401 - registers the towers
from weaksvr.train.image_towers import create_image_tower


@pytest.mark.parametrize(
    ("name", "pixels", "shape"),
    [("weaksvr_resnet50_maps", (180, 320), (2048, 6, 10)), ("weaksvr_thin_resnet_maps", (64, 64), (64, 4, 4))],
)
@torch.no_grad()
def test_maps(name, pixels, shape):
    tower = timm.create_model(name).eval()
    assert tower.default_cfg["input_size"] == (3, *pixels)
    assert (tower.map_channels, *tower.map_size(*pixels)) == shape
    image = torch.randn(1, 3, *pixels)
    flat = tower(image)
    assert torch.equal(flat.reshape(1, *shape), tower.forward_features(image))


@pytest.mark.parametrize("pixels", [(64, 96), (33, 65)])
@torch.no_grad()
def test_the_size_of_a_map_is_told_for_any_image(pixels):
    tower = timm.create_model("weaksvr_thin_resnet_maps").eval()
    height, width = tower.map_size(*pixels)
    assert tower(torch.zeros(1, 3, *pixels)).shape == (1, 64 * height * width)


def test_frames_are_normalised_as_imagenet_is():
    for name in ("weaksvr_resnet50_maps", "weaksvr_thin_resnet_maps"):
        settings = timm.create_model(name).default_cfg
        assert settings["mean"] == (0.485, 0.456, 0.406)
        assert settings["std"] == (0.229, 0.224, 0.225)


@torch.no_grad()
def test_weights_of_a_resnet_are_read_from_a_file(tmp_path):
    plain = timm.create_model("resnet50").eval()
    file = tmp_path / "resnet50.pth"
    torch.save(plain.state_dict(), file)
    tower = create_image_tower("weaksvr_resnet50_maps", pretrained=str(file), size=0)
    assert set(plain.state_dict()) - set(tower.module.state_dict()) == {"fc.weight", "fc.bias"}
    assert (tower.height, tower.width, tower.feature_dim) == (180, 320, 2048 * 6 * 10)
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(tower.module.eval()(image), plain.forward_features(image).flatten(1))


def test_where_imagenets_weights_are():
    ours, theirs = (timm.get_pretrained_cfg(name) for name in ("weaksvr_resnet50_maps", "resnet50.tv_in1k"))
    assert ours.hf_hub_id == theirs.hf_hub_id == "timm/resnet50.tv_in1k"
    assert (ours.mean, ours.std) == (theirs.mean, theirs.std)


def test_the_thin_one_has_no_pretrained_weights():
    with pytest.raises(OptionError, match=r"weaksvr_thin_resnet_maps has no published weights; train it from"):
        timm.create_model("weaksvr_thin_resnet_maps", pretrained=True)


def test_the_thin_one_exports():
    tower = timm.create_model("weaksvr_thin_resnet_maps").eval()
    graph = RoleGraph(role="vision", module=tower, example=torch.zeros(3, 3, 64, 64), rows="N")
    exported = export_onnx(graph, metadata={})
    session = onnxruntime.InferenceSession(exported.data, providers=["CPUExecutionProvider"])
    for count in (1, 2, 5):
        images = torch.randn(count, 3, 64, 64)
        with torch.no_grad():
            wanted = tower(images)
        (found,) = session.run(None, {exported.inputs[0].name: images.numpy()})
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)
