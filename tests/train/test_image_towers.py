from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file
from weaksvr.runtime.errors import OptionError
from weaksvr.train.image_towers import HUB, PIXELS, create_image_tower

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("name", "size", "side", "feature_dim", "normalised"),
    [
        ("resnet50.tv_in1k", 112, 112, 2048, IMAGENET),
        ("vit_base_patch32_224.augreg_in21k", 96, 96, 768, HALF),
        ("swin_tiny_patch4_window7_224.ms_in1k", 0, 224, 768, IMAGENET),
        ("weaksvr_resnet", 0, 64, 256, IMAGENET),
        ("weaksvr_vit", 112, 112, 64, IMAGENET),
        ("weaksvr_swin", 112, 112, 96, IMAGENET),
    ],
)
def test_creates_models_without_weights(name, size, side, feature_dim, normalised):
    tower = create_image_tower(name, pretrained="", size=size)
    assert (tower.height, tower.width, tower.feature_dim) == (side, side, feature_dim)
    assert (tower.mean, tower.std) == normalised
    assert tower.module.training
    with torch.no_grad():
        assert tower.module(torch.zeros(2, 3, side, side)).shape == (2, feature_dim)


def test_pixels_are_the_flat_image():
    tower = create_image_tower(PIXELS, pretrained="", size=8)
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(tower.module(images), images.reshape(2, 192))
    assert (tower.height, tower.width, tower.feature_dim) == (8, 8, 192)
    assert (tower.mean, tower.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("name", ["weaksvr_resnet", "weaksvr_vit", "weaksvr_swin"])
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@torch.no_grad()
def test_takes_every_tensor_of_a_file_but_the_classifier(tmp_path, name, suffix):
    torch.manual_seed(1)
    trained = timm.create_model(name, num_classes=11)
    file = tmp_path / f"trained.{suffix}"
    if suffix == "pth":
        torch.save({"state_dict": trained.state_dict(), "epoch": 7}, file)
    else:
        save_file(trained.state_dict(), file)
    tower = create_image_tower(name, pretrained=str(file), size=0).module.eval()
    trained.reset_classifier(0)
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(tower(images), trained.eval()(images))


@pytest.mark.parametrize(("name", "table"), [("weaksvr_vit", "pos_embed"), ("weaksvr_swin", "relative_position_bias")])
def test_fits_tables_of_positions_to_the_size_of_the_images(tmp_path, name, table):
    large = timm.create_model(name, num_classes=0, img_size=64)
    save_file(large.state_dict(), tmp_path / "trained.safetensors")
    tower = create_image_tower(name, pretrained=str(tmp_path / "trained.safetensors"), size=32)
    wanted, found = large.state_dict(), tower.module.state_dict()
    resized = {part for part in found if found[part].shape != wanted[part].shape}
    assert resized
    assert all(table in part for part in resized)
    assert all(torch.equal(found[part], wanted[part]) for part in found if part not in resized)


def test_refuses_a_file_of_another_model(tmp_path):
    save_file(timm.create_model("weaksvr_vit", num_classes=0).state_dict(), tmp_path / "vit.safetensors")
    with pytest.raises(OptionError, match=r"vit\.safetensors: the weights are not those of this .*: it lacks conv1"):
        create_image_tower("weaksvr_resnet", pretrained=str(tmp_path / "vit.safetensors"), size=0)


def test_refuses_a_file_with_a_tensor_too_many(tmp_path):
    state = timm.create_model("weaksvr_vit", num_classes=0).state_dict()
    save_file({**state, "extra.weight": torch.zeros(1)}, tmp_path / "vit.safetensors")
    with pytest.raises(OptionError, match=r"it has besides extra\.weight"):
        create_image_tower("weaksvr_vit", pretrained=str(tmp_path / "vit.safetensors"), size=0)


def test_refuses_a_file_that_is_no_weights(tmp_path):
    (tmp_path / "weights.pth").write_text("none")
    with pytest.raises(OptionError, match=r"weights\.pth: is damaged"):
        create_image_tower("weaksvr_vit", pretrained=str(tmp_path / "weights.pth"), size=0)


def test_says_that_the_hub_cannot_be_reached(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(OptionError, match=r"cannot be reached for timm/resnet18\.tv_in1k: .*vision_pretrained=FILE"):
        create_image_tower("resnet18.tv_in1k", pretrained=HUB, size=0)


@pytest.mark.parametrize(
    ("name", "pretrained", "size", "text"),
    [
        ("resnet5O", "", 0, r"model.vision = 'resnet5O' is not a model of timm; near it: resnet50"),
        ("resnet50.tv_in2k", "", 0, r"is not a model of timm; near it: resnet50\.tv_in1k"),
        ("pixel", "", 64, "near it: pixels"),
        ("?", "", 64, r"is not a model of timm; see timm\.list_models\(\)"),
        ("weaksvr_vit", "nowhere.pth", 0, r"nowhere\.pth: no such file"),
        ("weaksvr_vit", HUB, 0, "weaksvr_vit has no weights on the hub; give a file"),
        ("weaksvr_vit", "", 60, "patches of 8 x 8 pixels, of which 60 x 60 are no whole number"),
        ("weaksvr_vit", "", -8, "images cannot be -8 pixels high"),
        ("inception_v3", "", 32, "inception_v3 does not take images of 32 x 32"),
        ("maxvit_tiny_tf_224", "", 100, "maxvit_tiny_tf_224 does not take images of 100 x 100: height"),
        ("weaksvr_patchconv_vit", "", 0, "is not a model of timm"),
        (PIXELS, "", 0, "pixels has no size of its own; give data.size"),
        (PIXELS, HUB, 64, "pixels has no weights to load; leave model.vision_pretrained empty"),
    ],
)
def test_says_what_cannot_be(name, pretrained, size, text):
    with pytest.raises(OptionError, match=text):
        create_image_tower(name, pretrained=pretrained, size=size)
