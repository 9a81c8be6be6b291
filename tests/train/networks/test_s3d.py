from __future__ import annotations

import itertools

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from weaksvr.export.graphs import RoleGraph
from weaksvr.export.to_onnx import export_onnx
from weaksvr.runtime.errors import OptionError
from weaksvr.train.networks.s3d import S3DG, InceptionBlock, SameMaxPool, SelfGating

SIZE, NUM_FRAMES, DIM = 64, 16, 32


def make_clips(count, num_frames, height, width, *, seed):
    """Frames (count, T, 3, H, W) of patches that change slowly: no two clips alike, as videos are not."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 3, 4, 4, generator=generator)  # channels before time
    return F.interpolate(coarse, (num_frames, height, width), mode="trilinear").transpose(1, 2)


@torch.no_grad()
def settle(network):
    """Give it gains as no fresh network has them, and the statistics of clips, in evaluation mode."""
    generator = torch.Generator().manual_seed(5)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm3d):
            layer.weight.copy_(0.8 + 0.8 * torch.rand(layer.weight.shape, generator=generator))
            layer.bias.copy_(0.4 * torch.rand(layer.bias.shape, generator=generator) - 0.2)
            layer.momentum = 1.0
    network(make_clips(8, network.num_frames, network.height, network.width, seed=6).flatten(2))
    return network.eval()


@pytest.fixture(scope="module")
def small():
    """Not to be changed."""
    torch.manual_seed(0)
    return settle(S3DG(SIZE, SIZE, dim=DIM, num_frames=NUM_FRAMES, width_factor=0.125))


@pytest.fixture(scope="module")
def clips():
    return make_clips(5, NUM_FRAMES, SIZE, SIZE, seed=1).flatten(2)


def published(height, width, *, num_frames):
    """The network in its published size, without memory for weights."""
    with torch.device("meta"):
        return S3DG(height, width, dim=512, num_frames=num_frames)


def test_published_network_has_the_published_number_of_parameters_and_tensors():
    network = published(224, 224, num_frames=32)
    text = 66250 * 300 + (300 + 1) * 2048 + (2048 + 1) * 512
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 9_649_872
    assert round((count + text) / 1e6, 2) == 31.19
    assert len(network.state_dict()) == 537 - 5
    blocks = [block.num_channels for block in network.layers if isinstance(block, InceptionBlock)]
    assert blocks == [256, 480, 512, 512, 512, 528, 832, 832, 1024]
    assert network.num_features == 1024


@pytest.mark.parametrize(
    ("height", "width", "num_frames", "last_map"),
    [
        (224, 224, 32, (4, 7, 7)),
        (64, 64, 16, (2, 2, 2)),
        (180, 320, 16, (2, 6, 10)),
        (50, 33, 9, (2, 2, 2)),
        (1, 1, 1, (1, 1, 1)),
    ],
)
def test_shapes_for_clips_of_any_size(height, width, num_frames, last_map):
    network = published(height, width, num_frames=num_frames)
    maps = []
    network.layers.register_forward_hook(lambda _, __, output: maps.append(output.shape[1:]))
    frame_features, vectors = network(torch.empty(2, num_frames, 3 * height * width, device="meta"))
    assert maps == [(1024, *last_map)]
    assert frame_features.shape == (2, num_frames, 512)
    assert vectors.shape == (2, 512)


def by_the_table(frames, network):
    """The published network as one list of steps, fed with the tensors in the order in which they are kept."""
    tensors = iter(network.state_dict().values())

    def convolve(x, stride=1, padding=0):
        x = F.conv3d(x, next(tensors), stride=stride, padding=padding)
        gain, shift, mean, variance, _ = (next(tensors)[..., None, None, None] for _ in range(5))
        return torch.relu((x - mean) / torch.sqrt(variance + 1e-5) * gain + shift)

    def separable(x):
        return convolve(convolve(x, padding=(0, 1, 1)), padding=(1, 0, 0))

    def gate(x):
        weights, shift = next(tensors), next(tensors)
        return torch.sigmoid(x.mean(dim=(2, 3, 4)) @ weights.T + shift)[..., None, None, None] * x

    def pool(x, kernel, stride, after):
        return F.max_pool3d(F.pad(x, after), kernel, stride, ceil_mode=True)

    def inception(x):
        first, second = gate(convolve(x)), gate(separable(convolve(x)))
        third = gate(separable(convolve(x)))
        fourth = gate(convolve(F.max_pool3d(x, 3, 1, 1)))
        return torch.cat((first, second, third, fourth), 1)

    x = convolve(frames, 2, (1, 3, 3))
    x = pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 0, 1))
    x = gate(separable(convolve(x)))
    x = pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 0, 1))
    x = pool(inception(inception(x)), 3, 2, (0, 1, 0, 1, 0, 1))
    x = pool(inception(inception(inception(inception(inception(x))))), 2, 2, ())
    x = inception(inception(x))
    weights, shift = next(tensors), next(tensors)
    assert list(tensors) == []
    return x.mean(dim=(3, 4)), x.mean(dim=(2, 3, 4)) @ weights.T + shift, weights, shift


@pytest.mark.parametrize(("height", "width", "num_frames"), [(64, 64, 16), (41, 30, 11)])
@torch.no_grad()
def test_equals_the_table_step_by_step(height, width, num_frames):
    torch.manual_seed(2)
    network = settle(S3DG(height, width, dim=6, num_frames=num_frames, width_factor=0.2)).double()
    frames = make_clips(2, num_frames, height, width, seed=3).double()
    frame_features, vectors = network(frames.flatten(2))
    positions, expected, weights, shift = by_the_table(frames.transpose(1, 2), network)
    assert expected.std(dim=0).min() > 1e-4, "the clips must differ for the comparison to mean anything"
    torch.testing.assert_close(vectors, expected, rtol=1e-9, atol=1e-9)
    for frame in range(num_frames):
        own = positions[:, :, frame // 8] @ weights.T + shift
        torch.testing.assert_close(frame_features[:, frame], own, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("kernel", "stride"), [((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2))])
@pytest.mark.parametrize("sides", [(4, 6, 8), (3, 5, 7), (1, 2, 3)])
def test_pool_equals_windows_over_zero_padding(kernel, stride, sides):
    """As published: (kernel - stride) zeros behind, windows may hang over what follows and there hold nothing."""
    maps = np.random.default_rng(0).random((2, 3, *sides))
    padded = np.pad(maps, [(0, 0), (0, 0), *((0, k - s) for k, s in zip(kernel, stride, strict=True))])
    starts = [range(0, side, step) for side, step in zip(sides, stride, strict=True)]
    expected = np.zeros((2, 3, *map(len, starts)))
    for place in itertools.product(*(range(len(axis)) for axis in starts)):
        window = tuple(slice(axis[i], axis[i] + k) for axis, i, k in zip(starts, place, kernel, strict=True))
        expected[(..., *place)] = padded[(..., *window)].max(axis=(2, 3, 4))
    found = SameMaxPool(kernel, stride=stride)(torch.from_numpy(maps))
    assert np.array_equal(found.numpy(), expected)


def test_gate_equals_the_loops():
    torch.manual_seed(3)
    gate = SelfGating(4).double()
    maps = torch.rand(2, 4, 3, 2, 2, dtype=torch.float64)
    weights, shift = (parameter.detach().numpy() for parameter in gate.parameters())
    found = gate(maps).detach().numpy()
    for clip, x in enumerate(maps.numpy()):
        means = [channel.mean() for channel in x]
        for channel in range(4):
            signal = sum(weights[channel, other] * means[other] for other in range(4)) + shift[channel]
            np.testing.assert_allclose(found[clip, channel], x[channel] / (1 + np.exp(-signal)), rtol=1e-12)


@torch.no_grad()
def test_vector_is_the_mean_of_the_positions(small, clips):
    frame_features, vectors = small(clips)
    torch.testing.assert_close(frame_features[:, ::8].mean(dim=1), vectors)
    assert torch.equal(frame_features[:, 0], frame_features[:, 7])
    assert (frame_features[:, 7] - frame_features[:, 8]).abs().max() > 1e-4


@torch.no_grad()
def test_a_clip_does_not_see_the_rest_of_the_batch(small, clips):
    together = small(clips)
    for clip in range(len(clips)):
        alone = small(clips[clip : clip + 1])
        for joint, single in zip(together, alone, strict=True):
            torch.testing.assert_close(joint[clip], single[0], rtol=0, atol=1e-4 * joint.abs().max().item())


@torch.no_grad()
def test_the_order_of_the_frames_tells(small, clips):
    assert (small(clips)[1] - small(clips.flip(1))[1]).abs().max() > 1e-4


@torch.no_grad()
def test_the_same_seed_gives_the_same_network(clips):
    outputs = []
    for _ in range(2):
        torch.manual_seed(7)
        network = S3DG(SIZE, SIZE, dim=DIM, num_frames=NUM_FRAMES, width_factor=0.125).eval()
        outputs.append(torch.cat([*network(clips[:1])[0], network(clips[:1])[1]]))
    assert torch.equal(*outputs)


@pytest.mark.parametrize("output", [0, 1])
def test_every_weight_learns_from_either_output(clips, output):
    torch.manual_seed(8)
    network = S3DG(SIZE, SIZE, dim=DIM, num_frames=NUM_FRAMES, width_factor=0.125)
    network(clips[:2])[output].square().mean().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []
    assert [name for name, weight in network.named_parameters() if not weight.grad.any()] == []


@pytest.mark.parametrize(
    ("factor", "stem", "first"), [(1.0, 64, (64, 96, 128, 16, 32, 32)), (0.25, 16, (16, 24, 32, 8, 8, 8))]
)
def test_channels_become_multiples_of_8(factor, stem, first):
    network = S3DG(SIZE, SIZE, dim=DIM, num_frames=NUM_FRAMES, width_factor=factor)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv3d)]
    assert convolutions[0].out_channels == stem
    blocks = [layer for layer in network.layers if isinstance(layer, InceptionBlock)]
    assert [layer.out_channels for layer in blocks[0].modules() if isinstance(layer, nn.Conv3d)] == [
        *first[:2],
        *first[2:3] * 2,
        first[3],
        *first[4:5] * 2,
        first[5],
    ]
    assert {layer.out_channels % 8 for layer in convolutions} == {0}


@pytest.mark.parametrize("factor", [0, -0.5])
def test_no_width_is_refused(factor):
    with pytest.raises(OptionError, match=r"width_factor = .*must be above 0"):
        S3DG(SIZE, SIZE, dim=DIM, num_frames=NUM_FRAMES, width_factor=factor)


@torch.no_grad()
def test_onnx_equals_pytorch(small, clips):
    graph = RoleGraph(role="temporal", module=small, example=clips[:3], rows="B")
    session = onnxruntime.InferenceSession(export_onnx(graph, metadata={}).data, providers=["CPUExecutionProvider"])
    for size in (1, 2, 5):
        found = session.run(None, {session.get_inputs()[0].name: clips[:size].numpy()})
        for array, tensor in zip(found, small(clips[:size]), strict=True):
            np.testing.assert_allclose(array, tensor.numpy(), rtol=0, atol=1e-4 * tensor.abs().max().item())
    assert np.ptp(found[1], axis=0).max() > 0.1 * np.abs(found[1]).max(), "rows must differ, else all would agree"
