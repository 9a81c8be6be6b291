from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torchvision.models.video import swin3d_t
from torchvision.models.video.swin_transformer import SwinTransformer3d
from weaksvr.export.graphs import RoleGraph
from weaksvr.export.to_onnx import export_onnx
from weaksvr.runtime.errors import OptionError
from weaksvr.train.networks.video_swin import SMALL, SWIN3D_T, SwinSizes, VideoSwin, load_kinetics_weights

SIDE, T, D = 32, 7, 5
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = SwinSizes(patch=(2, 4, 4), embed_dim=8, depths=(2, 1), num_heads=(2, 4), window=(4, 4, 4), drop_path=0.0)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return VideoSwin(SIDE, SIDE, dim=D, num_frames=T, sizes=SIZES).eval()


@pytest.fixture(scope="module")
def published():
    return VideoSwin(224, 224, dim=16, num_frames=4)


def pixels(rows, *, side=SIDE, frames=T):
    return torch.rand(rows, frames, 3 * side * side)


@torch.no_grad()
def test_gives_a_row_for_each_frame_where_two_share_a_position(network):
    frame_features, vectors = network(pixels(3))
    assert frame_features.shape == (3, T, D)
    assert vectors.shape == (3, D)
    for frame in range(T):
        assert torch.equal(frame_features[:, frame], frame_features[:, frame - frame % 2])
    assert all(not torch.equal(frame_features[:, frame], frame_features[:, frame + 2]) for frame in (0, 2, 4))


@torch.no_grad()
def test_reads_the_pixels_as_the_flattened_normalised_images(network):
    """Against torchvision's own way through the network, on clips in its own layout."""
    images = torch.rand(2, T, 3, SIDE, SIDE)
    mean, std = (torch.tensor(value)[None, :, None, None, None] for value in (MEAN, STD))
    clips = (images.permute(0, 2, 1, 3, 4) - mean) / std
    pooled = network.trunk(clips)  # over time too; its classifier is gone
    frame_features, _ = network(torch.stack([torch.nn.Flatten()(clip) for clip in images]))
    positions = frame_features[:, ::2]  # the head is linear, so that its mean is that of the mean
    torch.testing.assert_close(positions.mean(1), network.frame_head(pooled))


@pytest.mark.parametrize("sizes", [(8, 8, 8), (5, 7, 9), (2, 8, 3), (9, 2, 2)])
@pytest.mark.parametrize("window", [(4, 4, 4), (8, 7, 7), (2, 3, 5)])
@torch.no_grad()
def test_shifted_windows_are_those_of_torchvision(sizes, window):
    torch.manual_seed(0)
    options = {"patch_size": [1, 1, 1], "embed_dim": 8, "depths": [2], "num_heads": [2], "window_size": [*window]}
    reference = SwinTransformer3d(**options, num_classes=3).eval()
    frames, height, width = sizes
    network = VideoSwin(
        height,
        width,
        dim=D,
        num_frames=frames,
        sizes=SwinSizes(patch=(1, 1, 1), embed_dim=8, depths=(2,), num_heads=(2,), window=window),
    ).eval()
    network.trunk.head = torch.nn.Linear(8, 3)
    network.trunk.load_state_dict(reference.state_dict())
    clips = torch.randn(2, 3, *sizes)
    torch.testing.assert_close(network.trunk(clips), reference(clips))


@torch.no_grad()
def test_vector_knows_the_order_of_the_frames(network):
    clips = pixels(1)
    assert float((network(clips)[1] - network(clips.flip(1))[1]).abs().max()) > 1e-4


def test_exports_with_any_number_of_videos(network):
    graph = RoleGraph(role="temporal", module=network, example=pixels(3), rows="B")
    session = onnxruntime.InferenceSession(export_onnx(graph, metadata={}).data, providers=["CPUExecutionProvider"])
    for size in (1, 2, 5):
        clips = pixels(size)
        found = session.run(None, {"features": clips.numpy()})
        with torch.no_grad():
            wanted = network(clips)
        for array, tensor in zip(found, wanted, strict=True):
            np.testing.assert_allclose(array, tensor.numpy(), atol=1e-4)


def test_every_parameter_learns():
    network = VideoSwin(SIDE, SIDE, dim=D, num_frames=T, sizes=SIZES)
    frame_features, vectors = network(pixels(2))
    (frame_features.square().sum() + vectors.square().sum()).backward()
    still = [name for name, tensor in network.named_parameters() if not float(tensor.grad.abs().max()) > 0]
    assert still == []


def test_small_sizes_are_for_64_pixels():
    network = VideoSwin(64, 64, dim=D, num_frames=16, sizes=SMALL).eval()
    with torch.no_grad():
        frame_features, vectors = network(pixels(1, side=64, frames=16))
    assert frame_features.shape == (1, 16, D)
    assert vectors.shape == (1, D)
    assert sum(parameter.numel() for parameter in network.trunk.parameters()) < 1_000_000


@pytest.mark.parametrize(("factor", "channels"), [(1.0, 96), (0.5, 48), (0.25, 24), (0.001, 3), (2.0, 192)])
def test_width_factor_scales_the_channels_of_a_head(factor, channels):
    assert SWIN3D_T.scaled(factor).embed_dim == channels
    assert VideoSwin(SIDE, SIDE, dim=D, num_frames=T, sizes=SIZES, width_factor=2.0).sizes.embed_dim == 16


def test_published_sizes_are_those_of_swin3d_t(published):
    wanted = {name: tensor.shape for name, tensor in swin3d_t().state_dict().items()}
    found = {name: tensor.shape for name, tensor in published.trunk.state_dict().items()}
    assert set(wanted) - set(found) == {"head.weight", "head.bias"}
    assert all(found[name] == wanted[name] for name in found)


def test_takes_a_published_file_without_its_classifier(published, tmp_path):
    torch.manual_seed(1)
    whole = swin3d_t()
    torch.save(whole.state_dict(), tmp_path / "swin3d_t.pth")
    heads = {name: tensor.clone() for name, tensor in published.video_head.state_dict().items()}
    load_kinetics_weights(published, str(tmp_path / "swin3d_t.pth"))
    wanted = whole.state_dict()
    for name, tensor in published.trunk.state_dict().items():
        assert torch.equal(tensor, wanted[name]), name
    assert all(torch.equal(tensor, heads[name]) for name, tensor in published.video_head.state_dict().items())


def test_refuses_a_file_of_another_network(published, network, tmp_path):
    torch.save(network.trunk.state_dict(), tmp_path / "other.pth")
    with pytest.raises(OptionError, match=r"other\.pth: the weights are not those of this network: it lacks features"):
        load_kinetics_weights(published, str(tmp_path / "other.pth"))


def test_refuses_other_sizes(network):
    with pytest.raises(OptionError, match=r"the weights of Kinetics-400 are those of SwinSizes\(patch=\(2, 4, 4\), em"):
        load_kinetics_weights(network, "hub")


def test_says_that_the_weights_cannot_be_fetched(published, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(OptionError, match=r"swin3d_t-7615ae03\.pth cannot be fetched: .*give the file instead of hub"):
        load_kinetics_weights(published, "hub")


def test_says_what_cannot_be_cut_into_patches():
    with pytest.raises(OptionError, match=r"cuts 30 x 32 pixels into patches of 4 x 4; set data\.size to a multiple"):
        VideoSwin(30, 32, dim=D, num_frames=T)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"depths": (2, 2)}, "give as many depths as heads"),
        ({"depths": (1,), "num_heads": (3,)}, "2 blocks at least"),
        ({"embed_dim": 97}, "the heads do not divide the channels: self.embed_dim = 97"),
    ],
)
def test_refuses_sizes_that_do_not_fit_together(options, text):
    with pytest.raises(OptionError, match=text):
        SwinSizes(**options)
