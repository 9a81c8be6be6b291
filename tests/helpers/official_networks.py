"""The published network, written a second time: names and shapes of its tensors, and what it computes of them.

Everything is spelled out on plain tensors, so that it shares nothing with the network that it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

PUBLISHED = {
    "vision": {"width": 768, "layers": 12, "heads": 12, "patch": 32, "size": 224},
    "text": {"width": 512, "layers": 12, "heads": 8, "rows": 49408, "context": 77},
    "dim": 512,
    "encoder": {"width": 1024, "heads": 8, "head_dim": 64, "mlp": 2048, "patches": 7680},
    "frames": 16,
    "classes": 45,
}
SMALL = {
    "vision": {"width": 32, "layers": 2, "heads": 2, "patch": 8, "size": 32},
    "text": {"width": 16, "layers": 2, "heads": 2, "rows": 49408, "context": 32},
    "dim": 24,
    "encoder": {"width": 40, "heads": 8, "head_dim": 3, "mlp": 56, "patches": 60},
    "frames": 4,
    "classes": 7,
}
SMALL_CLIP = {
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
"""`SMALL`'s towers as open_clip describes them."""


def shapes_of(sizes: Mapping) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors, in the published layout."""
    vision, text, dim, encoder = sizes["vision"], sizes["text"], sizes["dim"], sizes["encoder"]
    width, inner, mlp = encoder["width"], encoder["heads"] * encoder["head_dim"], encoder["mlp"]
    frames, classes = sizes["frames"], sizes["classes"]
    shapes = dict.fromkeys(("logit_scale", "logit_scale2", "backbone.logit_scale"), ())

    def pair(name: str, rows: int, columns: int | None = None) -> None:
        shapes[f"{name}.weight"] = (rows,) if columns is None else (rows, columns)
        shapes[f"{name}.bias"] = (rows,)

    def tower(name: str, size: int, layers: int) -> None:
        for layer in range(layers):
            block = f"{name}.resblocks.{layer}"
            shapes[f"{block}.attn.in_proj_weight"] = (3 * size, size)
            shapes[f"{block}.attn.in_proj_bias"] = (3 * size,)
            pair(f"{block}.attn.out_proj", size, size)
            pair(f"{block}.ln_1", size)
            pair(f"{block}.ln_2", size)
            pair(f"{block}.mlp.c_fc", 4 * size, size)
            pair(f"{block}.mlp.c_proj", size, 4 * size)

    side = vision["size"] // vision["patch"]
    shapes["backbone.visual.class_embedding"] = (vision["width"],)
    shapes["backbone.visual.positional_embedding"] = (side * side + 1, vision["width"])
    shapes["backbone.visual.proj"] = (vision["width"], dim)
    shapes["backbone.visual.conv1.weight"] = (vision["width"], 3, vision["patch"], vision["patch"])
    pair("backbone.visual.ln_pre", vision["width"])
    pair("backbone.visual.ln_post", vision["width"])
    tower("backbone.visual.transformer", vision["width"], vision["layers"])
    tower("backbone.transformer", text["width"], text["layers"])
    shapes["backbone.token_embedding.weight"] = (text["rows"], text["width"])
    shapes["backbone.positional_embedding"] = (text["context"], text["width"])
    shapes["backbone.text_projection"] = (text["width"], dim)
    pair("backbone.ln_final", text["width"])
    shapes["TE.pos_embedding"] = (1, frames + 1, width)
    shapes["TE.cls_token"] = (1, 1, width)
    pair("TE.patch_to_embedding", width, encoder["patches"])
    for layer in range(2):
        attention, feed = (f"TE.transformer.layers.{layer}.{part}.fn" for part in range(2))
        pair(f"{attention}.norm", width)
        shapes[f"{attention}.fn.to_qkv.weight"] = (3 * inner, width)
        pair(f"{attention}.fn.to_out.0", width, inner)
        pair(f"{feed}.norm", width)
        pair(f"{feed}.fn.net.0", mlp, width)
        pair(f"{feed}.fn.net.3", width, mlp)
    pair("ffn_seq", width, dim)
    pair("ffn3", width, width)
    pair("ffn_gumbel", dim, width)
    pair("embed_head.1", dim, frames * dim)
    pair("cls_fc", classes, dim)
    return shapes


def random_state(sizes: Mapping, *, seed: int) -> dict[str, Tensor]:
    """Random weights of such a size that every layer changes what comes out."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes_of(sizes).items():
        tensor = torch.rand(shape, generator=generator) * 2 - 1
        inputs = math.prod(shape[1:]) if len(shape) > 1 else 1
        if name in {"backbone.visual.proj", "backbone.text_projection"}:
            inputs = shape[0]
        is_matrix = len(shape) > 1 and "embedding" not in name.rpartition(".")[2] and "token" not in name
        tensor *= math.sqrt(3 / inputs) if is_matrix else 0.5
        is_norm = any(part in name for part in (".ln_", ".norm.")) and name.endswith("weight")
        state[name] = tensor + 1 if is_norm else tensor
    return state


class OfficialNetwork:
    """The published network in float64.

    Args:
        state: its tensors, by their published names.
        sizes: `PUBLISHED` or `SMALL`, for what no shape tells.
    """

    def __init__(self, state: Mapping[str, Tensor], sizes: Mapping) -> None:
        self.state = {name: tensor.double() for name, tensor in state.items()}
        self.sizes = sizes

    def encode_image(self, frames: Tensor) -> Tensor:
        """(N, 3, S, S) to (N, D): CLIP's vision transformer, read at its class token."""
        weights, patch = self.state, self.sizes["vision"]["patch"]
        x = F.unfold(frames.double(), patch, stride=patch).transpose(1, 2)  # (N, patches, 3 * patch * patch)
        x = x @ weights["backbone.visual.conv1.weight"].flatten(1).T
        first = weights["backbone.visual.class_embedding"].expand(len(x), 1, -1)
        x = torch.cat([first, x], dim=1) + weights["backbone.visual.positional_embedding"]
        x = self._norm(x, "backbone.visual.ln_pre")
        for layer in range(self.sizes["vision"]["layers"]):
            x = self._clip_block(x, f"backbone.visual.transformer.resblocks.{layer}", self.sizes["vision"]["heads"])
        return self._norm(x[:, 0], "backbone.visual.ln_post") @ weights["backbone.visual.proj"]

    def encode_text(self, tokens: Tensor) -> Tensor:
        """int64 (N, L) to (N, D): CLIP's causal text transformer, read at the largest id."""
        weights = self.state
        x = weights["backbone.token_embedding.weight"][tokens] + weights["backbone.positional_embedding"]
        for layer in range(self.sizes["text"]["layers"]):
            block = f"backbone.transformer.resblocks.{layer}"
            x = self._clip_block(x, block, self.sizes["text"]["heads"], causal=True)
        x = self._norm(x, "backbone.ln_final")
        return (
            torch.stack([row[ids.argmax()] for row, ids in zip(x, tokens, strict=True)])
            @ weights["backbone.text_projection"]
        )

    def encode_video(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, 3, S, S) to H (B, T, D) and v (B, D)."""
        batch, length = frames.shape[:2]
        x = self._linear(self.encode_image(frames.flatten(0, 1)), "ffn_seq").reshape(batch, length, -1)
        x = self._linear(x, "ffn3").clamp(min=0)
        x = torch.cat([self.state["TE.cls_token"].expand(batch, 1, -1), x], dim=1) + self.state["TE.pos_embedding"]
        heads, width = self.sizes["encoder"]["heads"], x.shape[-1]
        for layer in range(2):
            attention, feed = (f"TE.transformer.layers.{layer}.{part}.fn" for part in range(2))
            query, key, value = self._linear(self._norm(x, f"{attention}.norm"), f"{attention}.fn.to_qkv").chunk(3, -1)
            mixed = _attend(query, key, value, heads=heads, scale=1 / math.sqrt(width))
            x = x + self._linear(mixed, f"{attention}.fn.to_out.0")
            hidden = self._linear(self._norm(x, f"{feed}.norm"), f"{feed}.fn.net.0")
            hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
            x = x + self._linear(hidden, f"{feed}.fn.net.3")
        frame_features = self._linear(x[:, 1:], "ffn_gumbel")
        return frame_features, self._linear(frame_features.reshape(batch, -1), "embed_head.1")

    def _clip_block(self, x: Tensor, name: str, heads: int, *, causal: bool = False) -> Tensor:
        normed = self._norm(x, f"{name}.ln_1")
        joined = normed @ self.state[f"{name}.attn.in_proj_weight"].T + self.state[f"{name}.attn.in_proj_bias"]
        query, key, value = joined.chunk(3, -1)
        scale = (x.shape[-1] // heads) ** -0.5
        x = x + self._linear(
            _attend(query, key, value, heads=heads, scale=scale, causal=causal), f"{name}.attn.out_proj"
        )
        hidden = self._linear(self._norm(x, f"{name}.ln_2"), f"{name}.mlp.c_fc")
        return x + self._linear(hidden * torch.sigmoid(1.702 * hidden), f"{name}.mlp.c_proj")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        y = x @ self.state[f"{name}.weight"].T
        return y + self.state[f"{name}.bias"] if f"{name}.bias" in self.state else y

    def _norm(self, x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]


def _attend(query: Tensor, key: Tensor, value: Tensor, *, heads: int, scale: float, causal: bool = False) -> Tensor:
    """Attention of (N, L, heads * size) tensors, one head at a time."""
    mixed = []
    for q, k, v in zip(query.chunk(heads, -1), key.chunk(heads, -1), value.chunk(heads, -1), strict=True):
        scores = q @ k.transpose(1, 2) * scale
        if causal:
            length = scores.shape[-1]
            scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -math.inf)
        mixed.append(torch.softmax(scores, -1) @ v)
    return torch.cat(mixed, -1)
