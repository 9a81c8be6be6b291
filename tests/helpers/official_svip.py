"""SVIP's network, written a second time: names and shapes of its tensors, and what it computes of them.

Everything is spelled out on plain tensors in float64, so that it shares nothing with the network that it is compared
with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

PUBLISHED = {
    "stages": (3, 4, 6, 3),
    "depth": 6,
    "width": 1024,
    "heads": 8,
    "head_dim": 64,
    "mlp": 2048,
    "narrow": 128,
    "map": (6, 10),
    "frames": 16,
    "dim": 128,
    "classes": 45,
}
SMALL = {**PUBLISHED, "width": 40, "head_dim": 3, "mlp": 56, "frames": 3, "classes": 7}
"""The published ResNet-50, which cannot be made smaller, under a small transformer."""


def shapes_of(sizes: Mapping) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors, in the published layout; without the transformer if `depth` is 0."""
    shapes: dict[str, tuple[int, ...]] = {}

    def pair(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]

    def convolution(conv: str, norm: str, *shape: int) -> None:
        shapes[f"{conv}.weight"] = shape
        pair(norm, shape[0])
        shapes[f"{norm}.running_mean"] = shapes[f"{norm}.running_var"] = shape[:1]
        shapes[f"{norm}.num_batches_tracked"] = ()

    convolution("backbone.conv1", "backbone.bn1", 64, 3, 7, 7)
    channels = 64
    for stage, blocks in enumerate(sizes["stages"]):
        inner = 64 * 2**stage
        for number in range(blocks):
            block = f"backbone.layer{stage + 1}.{number}"
            convolution(f"{block}.conv1", f"{block}.bn1", inner, channels, 1, 1)
            convolution(f"{block}.conv2", f"{block}.bn2", inner, inner, 3, 3)
            convolution(f"{block}.conv3", f"{block}.bn3", 4 * inner, inner, 1, 1)
            if number == 0:
                convolution(f"{block}.downsample.0", f"{block}.downsample.1", 4 * inner, channels, 1, 1)
            channels = 4 * inner
    pair("backbone.fc", 1000, channels)
    width, frames, token = sizes["width"], sizes["frames"], channels
    if sizes["depth"]:
        token = width
        pair("bottleneck", sizes["narrow"], channels, 3, 3)
        shapes["TE.pos_embedding"] = (1, frames + 1, width)
        shapes["TE.cls_token"] = (1, 1, width)
        pair("TE.patch_to_embedding", width, math.prod(sizes["map"]) * sizes["narrow"])
    for layer in range(sizes["depth"]):
        attention, feed = (f"TE.transformer.layers.{layer}.{part}.fn" for part in range(2))
        inner = sizes["heads"] * sizes["head_dim"]
        pair(f"{attention}.norm", width)
        shapes[f"{attention}.fn.to_qkv.weight"] = (3 * inner, width)
        pair(f"{attention}.fn.to_out.0", width, inner)
        pair(f"{feed}.norm", width)
        pair(f"{feed}.fn.net.0", sizes["mlp"], width)
        pair(f"{feed}.fn.net.3", width, sizes["mlp"])
    pair("embed_head.1", sizes["dim"], frames * token)
    pair("cls_fc", sizes["classes"], sizes["dim"])
    return shapes


def random_state(sizes: Mapping, *, seed: int) -> dict[str, Tensor]:
    """Random weights of such a size that every layer changes what comes out."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes_of(sizes).items():
        tensor = torch.rand(shape, generator=generator) * 2 - 1
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(1000)
        elif name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            state[name] = 1 + 0.5 * tensor
        elif len(shape) > 1 and name.startswith(("TE.pos", "TE.cls")):
            state[name] = tensor
        elif len(shape) > 1:
            state[name] = tensor * math.sqrt(3 / math.prod(shape[1:]))
        else:
            state[name] = 0.5 * tensor
    return state


class OfficialSvip:
    """SVIP's network in float64 and in evaluation.

    Args:
        state: its tensors, by their published names.
        sizes: `PUBLISHED` or another, for what no shape tells.
    """

    def __init__(self, state: Mapping[str, Tensor], sizes: Mapping) -> None:
        self.state = {name: tensor.double() for name, tensor in state.items()}
        self.sizes = sizes

    def encode_image(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) to maps (N, 2048, H / 32, W / 32)."""
        x = self._convolved(frames.double(), "backbone.conv1", "backbone.bn1", stride=2).clamp(min=0)
        x = F.max_pool2d(x, 3, 2, 1)
        for stage, blocks in enumerate(self.sizes["stages"]):
            for number in range(blocks):
                x = self._residual(x, f"backbone.layer{stage + 1}.{number}", stride=2 if stage and not number else 1)
        return x

    def encode_maps(self, maps: Tensor) -> dict[str, Tensor]:
        """Maps (B, T, 2048, h, w) to v (B, D), the pooled maps (B, T, 2048) and the pooled narrow ones (B, T, c)."""
        maps = maps.double()
        pooled = maps.mean((3, 4))
        if not self.sizes["depth"]:
            return {"v": self._linear(pooled.flatten(1), "embed_head.1"), "pooled": pooled}
        bias = self.state["bottleneck.bias"]
        narrow = F.conv2d(maps.flatten(0, 1), self.state["bottleneck.weight"], bias, padding=1)
        narrow = narrow.unflatten(0, maps.shape[:2])
        x = torch.cat(narrow.unbind(1), dim=3)  # side by side: (B, c, h, T * w)
        height, width = self.sizes["map"]
        tokens = []
        for left in range(0, x.shape[3], width):
            patch = x[:, :, :height, left : left + width]
            values = [patch[:, :, row, column] for row in range(height) for column in range(width)]
            tokens.append(self._linear(torch.cat(values, dim=1), "TE.patch_to_embedding"))
        x = torch.stack(tokens, dim=1)
        x = torch.cat([self.state["TE.cls_token"].expand(len(x), 1, -1), x], dim=1) + self.state["TE.pos_embedding"]
        for layer in range(self.sizes["depth"]):
            x = self._block(x, f"TE.transformer.layers.{layer}")
        v = self._linear(x[:, 1:].flatten(1), "embed_head.1")
        return {"v": v, "pooled": pooled, "narrow": narrow.mean((3, 4))}

    def encode_video(self, frames: Tensor) -> dict[str, Tensor]:
        """(B, T, 3, H, W) to what `encode_maps` gives."""
        maps = self.encode_image(frames.flatten(0, 1))
        return self.encode_maps(maps.unflatten(0, frames.shape[:2]))

    def _convolved(self, x: Tensor, conv: str, norm: str, *, stride: int = 1) -> Tensor:
        weight = self.state[f"{conv}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        mean, variance, scale, shift = (
            self.state[f"{norm}.{name}"][:, None, None] for name in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    def _residual(self, x: Tensor, name: str, *, stride: int) -> Tensor:
        y = self._convolved(x, f"{name}.conv1", f"{name}.bn1").clamp(min=0)
        y = self._convolved(y, f"{name}.conv2", f"{name}.bn2", stride=stride).clamp(min=0)
        y = self._convolved(y, f"{name}.conv3", f"{name}.bn3")
        if f"{name}.downsample.0.weight" in self.state:
            x = self._convolved(x, f"{name}.downsample.0", f"{name}.downsample.1", stride=stride)
        return (x + y).clamp(min=0)

    def _block(self, x: Tensor, name: str) -> Tensor:
        attention, feed = (f"{name}.{part}.fn" for part in range(2))
        joined = self._linear(self._norm(x, f"{attention}.norm"), f"{attention}.fn.to_qkv")
        size, mixed = self.sizes["head_dim"], []
        inner = self.sizes["heads"] * size
        for start, stop in pairwise(range(0, inner + 1, size)):
            query, key, value = (joined[..., part * inner + start : part * inner + stop] for part in range(3))
            scores = query @ key.transpose(1, 2) / math.sqrt(self.sizes["width"])
            mixed.append(torch.softmax(scores, -1) @ value)
        x = x + self._linear(torch.cat(mixed, -1), f"{attention}.fn.to_out.0")
        hidden = self._linear(self._norm(x, f"{feed}.norm"), f"{feed}.fn.net.0")
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        return x + self._linear(hidden, f"{feed}.fn.net.3")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        y = x @ self.state[f"{name}.weight"].T
        return y + self.state[f"{name}.bias"] if f"{name}.bias" in self.state else y

    def _norm(self, x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]
