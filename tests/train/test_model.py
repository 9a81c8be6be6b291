from __future__ import annotations

import math

import numpy as np
import open_clip
import pytest
import torch
from torch import nn
from weaksvr.runtime.errors import OptionError
from weaksvr.train.config import override
from weaksvr.train.model import WeakSVR
from weaksvr.train.presets import preset
from weaksvr.train.temporal import TemporalEncoder


@pytest.fixture(scope="module")
def published():
    torch.manual_seed(0)
    return WeakSVR(override(preset("paper"), ["model.pretrained="]))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_network_has_the_published_number_of_parameters(published):
    encoder = 20_483_072 - 7_865_344  # the published count holds a layer that is never used
    heads = {"video_head": 4_194_816, "project": 1_049_600, "project_in": 525_312, "frame_head": 524_800}
    assert count(published.vision) == 87_849_216
    assert count(published.text) == 63_428_097
    assert count(published.temporal) == encoder + sum(heads.values())
    assert {name: count(getattr(published.temporal, name)) for name in heads} == heads
    assert count(published) == count(published.vision) + count(published.temporal) + count(published.text) + 2


def test_published_network_starts_as_published(published):
    temporal = published.temporal
    assert float(temporal.positions.detach().std()) == pytest.approx(1.0, abs=0.03)
    assert float(temporal.class_token.detach().std()) == pytest.approx(0.02, abs=0.002)
    for name, layer in temporal.named_modules():
        if isinstance(layer, nn.Linear) and name != "video_head":
            bound = math.sqrt(6 / (layer.in_features + layer.out_features))
            assert bound * 0.99 < float(layer.weight.detach().abs().max()) <= bound
            assert layer.bias is None or not layer.bias.any()
    default = 1 / math.sqrt(temporal.video_head.in_features)
    assert 0.99 * default < float(temporal.video_head.weight.detach().abs().max()) <= default
    assert published.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    assert published.fine_logit_scale.item() == pytest.approx(math.log(1 / 0.07))


def test_published_text_tower_is_frozen_and_the_image_tower_is_not(published):
    assert not any(parameter.requires_grad for parameter in published.text.parameters())
    assert all(parameter.requires_grad for parameter in published.vision.parameters())
    assert all(parameter.requires_grad for parameter in published.temporal.parameters())


@torch.no_grad()
def test_published_network_gives_vectors_of_clip(published):
    published.eval()
    length = published.sampling.num_frames
    assert published.vision(torch.rand(1, 3, 224, 224)).shape == (1, 512)
    frame_features, vectors = published.temporal(torch.rand(1, length, 512))
    assert frame_features.shape == (1, length, 512)
    assert vectors.shape == (1, 512)
    tokens = torch.tensor([[49406, 320, 49407, *[0] * 74]])
    assert published.text(tokens).shape == (1, 512)
    assert published.context_length == 77


def naive_encoder(encoder, features, *, heads, head_dim, scale, hidden_layer, flatten, center):
    """One video (T, F) in float64 loops: as published with `hidden_layer`, `flatten` and not `center`."""
    weights = {name: tensor.double().numpy() for name, tensor in encoder.state_dict().items()}

    def linear(x, name):
        bias = weights.get(f"{name}.bias", 0.0)
        return np.array([weights[f"{name}.weight"] @ row for row in x]) + bias

    def norm(x, name):
        rows = [(row - row.mean()) / math.sqrt(row.var() + 1e-5) for row in x]
        return np.array(rows) * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def gelu(x):
        return np.vectorize(lambda value: 0.5 * value * (1 + math.erf(value / math.sqrt(2))))(x)

    def attention(x, name):
        qkv = linear(x, f"{name}.qkv")
        inner = heads * head_dim
        mixed = np.zeros((len(x), inner))
        for head in range(heads):
            part = slice(head * head_dim, (head + 1) * head_dim)
            query, key, value = (qkv[:, start * inner :][:, part] for start in range(3))
            for row in range(len(x)):
                scores = np.array([query[row] @ other for other in key]) * scale
                shares = np.exp(scores - scores.max())
                mixed[row, part] = shares / shares.sum() @ value
        return linear(mixed, f"{name}.out")

    if center:
        features = features - np.mean(features, axis=0)
        features = features / math.sqrt(np.mean(features**2) + 1e-4)
    x = linear(features, "project_in")
    if hidden_layer:
        x = np.maximum(linear(x, "project"), 0)
    x = np.concatenate([weights["class_token"][0], x]) + weights["positions"][0]
    for index in range(len(encoder.blocks)):
        name = f"blocks.{index}"
        x = x + attention(norm(x, f"{name}.norm1"), f"{name}.attention")
        x = x + linear(gelu(linear(norm(x, f"{name}.norm2"), f"{name}.mlp.0")), f"{name}.mlp.2")
    frame_features = linear(x[1:] - center * np.mean(x[1:], axis=0), "frame_head")
    read = (frame_features if flatten else x[1:]).reshape(1, -1)
    return frame_features, linear(read, "video_head")[0]


@pytest.mark.parametrize("attention_scale", ["model", "head"])
@pytest.mark.parametrize("video_vector", ["flatten", "tokens"])
@pytest.mark.parametrize(("hidden_layer", "center"), [(True, False), (False, True)])
@torch.no_grad()
def test_temporal_encoder_equals_the_loops(attention_scale, video_vector, hidden_layer, center):
    torch.manual_seed(1)
    encoder = TemporalEncoder(
        5,
        dim=6,
        num_frames=4,
        width=8,
        depth=2,
        heads=3,
        head_dim=2,
        mlp_width=10,
        attention_scale=attention_scale,
        position_std=1.0,
        hidden_layer=hidden_layer,
        video_vector=video_vector,
        center=center,
    )
    for parameter in encoder.parameters():
        parameter.normal_()
    features = torch.randn(3, 4, 5)
    frame_features, vectors = encoder(features)
    scale = (8 if attention_scale == "model" else 2) ** -0.5
    for video in range(3):
        expected = naive_encoder(
            encoder,
            features[video].double().numpy(),
            heads=3,
            head_dim=2,
            scale=scale,
            hidden_layer=hidden_layer,
            flatten=video_vector == "flatten",
            center=center,
        )
        np.testing.assert_allclose(frame_features[video].numpy(), expected[0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(vectors[video].numpy(), expected[1], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_centred_features_forget_what_stands_still_and_how_strong_all_is(config):
    model = WeakSVR(override(config, ["model.center=true"])).eval()
    frames = torch.randn(2, config.data.num_frames, 3, config.data.size, config.data.size)
    features = model.vision(frames.flatten(0, 1)).unflatten(0, (2, -1))
    expected = model.temporal(features)
    moved = model.temporal(3 * features + torch.randn(2, 1, features.shape[-1]))
    for left, right in zip(expected, moved, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-3)
    still = model.temporal(features[:, :1].expand_as(features))
    assert all(tensor.isfinite().all() for tensor in still)


def test_workbench_preset_has_no_batch_statistics():
    model = WeakSVR(preset("workbench"))
    assert not [name for name, layer in model.named_modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    assert not list(model.vision.buffers())


@torch.no_grad()
def test_a_video_does_not_see_the_rest_of_the_batch(config, model):
    frames = torch.randn(3, config.data.num_frames, 3, config.data.size, config.data.size)
    together = model.encode_video(frames)
    assert together[0].shape == (3, config.data.num_frames, model.dim)
    assert together[1].shape == (3, model.dim)
    for video in range(3):
        alone = model.encode_video(frames[video : video + 1])
        for joint, single in zip(together, alone, strict=True):
            torch.testing.assert_close(joint[video], single[0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_frame_is_read_in_the_light_of_the_others(config, model):
    frames = torch.randn(1, config.data.num_frames, 3, config.data.size, config.data.size)
    other = frames.clone()
    other[:, -1] = torch.randn_like(other[:, -1])
    before, after = model.encode_video(frames), model.encode_video(other)
    assert (before[0][:, 0] - after[0][:, 0]).abs().max() > 1e-6
    assert (before[1] - after[1]).abs().max() > 1e-6


@torch.no_grad()
def test_the_order_of_the_frames_tells(config, model):
    frames = torch.randn(1, config.data.num_frames, 3, config.data.size, config.data.size)
    assert (model.encode_video(frames)[1] - model.encode_video(frames.flip(1))[1]).abs().max() > 1e-6


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("train_text", [True, False])
def test_towers_are_trained_as_asked_for(config, frozen, train_text):
    model = WeakSVR(override(config, [f"model.freeze_vision={frozen}", f"model.train_text={train_text}"]))
    assert any(parameter.requires_grad for parameter in model.vision.parameters()) is not frozen
    assert any(parameter.requires_grad for parameter in model.text.parameters()) is train_text
    assert not model.text.clip.logit_scale.requires_grad


def test_scales_stay_within_1_and_100(config):
    model = WeakSVR(config)
    model.logit_scale.data.fill_(7.0)
    model.fine_logit_scale.data.fill_(-2.0)
    model.clamp_scales()
    assert model.logit_scale.item() == pytest.approx(math.log(100))
    assert model.fine_logit_scale.item() == 0.0


def test_the_input_size_is_the_towers_or_the_one_asked_for(config):
    own = WeakSVR(override(config, ["data.size=0"])).preprocess
    asked = WeakSVR(override(config, ["data.size=48", "data.resize=shorter"])).preprocess
    assert own.height == own.width > 0
    assert (asked.height, asked.width, asked.resize) == (48, 48, "shorter")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.clip=ViT-Z-1", r"model.clip = 'ViT-Z-1' is not an open_clip model"),
        ("model.pretrained=nowhere", r"model.pretrained = 'nowhere': no such file, and .* has the tags: none"),
    ],
)
def test_towers_that_there_are_not(config, setting, message):
    with pytest.raises(OptionError, match=message):
        WeakSVR(override(config, [setting]))


def test_weights_of_another_network_are_refused(config, tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(OptionError, match=r"other.pt' cannot be created: .*--set model.pretrained=FILE"):
        WeakSVR(override(config, [f"model.pretrained={tmp_path / 'other.pt'}"]))


@torch.no_grad()
def test_any_number_of_texts_is_encoded_alike(config):
    tower = WeakSVR(config).text.eval()
    tokens = open_clip.get_tokenizer(config.model.clip)(["cut", "fold the cloth", "glue it, then wait"] * 100)
    torch.testing.assert_close(tower.encode(tokens), tower(tokens), rtol=1e-4, atol=1e-5)


def test_the_vector_of_flattened_frames_is_a_linear_map_of_them(config):
    model = WeakSVR(override(config, ["model.video_vector=flatten", "model.depth=0"])).eval()
    frames = torch.randn(2, config.data.num_frames, 3, config.data.size, config.data.size)
    with torch.no_grad():
        frame_features, vectors = model.encode_video(frames)
        torch.testing.assert_close(model.temporal.video_head(frame_features.flatten(1)), vectors)
