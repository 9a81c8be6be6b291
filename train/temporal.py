"""The temporal encoder: from T frame features to H (frames in context) and v (the video)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import VideoVector

__all__ = ["Attention", "Block", "MapStage", "TemporalEncoder"]


_STILL = 1e-4
"""Added to the variance of a clip's features, so that the rounding of a still video is not blown up to its size."""


class Attention(nn.Module):
    """Multi-head self-attention whose heads need not fill the model width."""

    def __init__(self, width: int, *, heads: int, head_dim: int, scale: float) -> None:
        super().__init__()
        self.heads = heads
        self.head_dim = head_dim
        self.scale = scale
        self.qkv = nn.Linear(width, 3 * heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T + 1, W) to the same shape."""
        batch, length, _ = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]  # (B, heads, T + 1, head_dim)
        weights = torch.softmax(query @ key.transpose(-2, -1) * self.scale, dim=-1)
        mixed = (weights @ value).transpose(1, 2).reshape(batch, length, self.heads * self.head_dim)
        return self.out(mixed)


class Block(nn.Module):
    """Pre-norm transformer block: x + Attention(LN(x)), then x + MLP(LN(x))."""

    def __init__(self, width: int, *, heads: int, head_dim: int, mlp_width: int, scale: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads=heads, head_dim=head_dim, scale=scale)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, mlp_width), nn.GELU(), nn.Linear(mlp_width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class MapStage(nn.Module):
    """The last convolutions of an image tower that gives maps, and the pooling: (N, C, h, w) -> (N, 2C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = 2 * channels
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, width, 3, 2, 1),
            nn.GroupNorm(8, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, 1, 1),
            nn.GroupNorm(8, width),
            nn.GELU(),
        )
        self.norm = nn.LayerNorm(2 * width)
        self.head = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolutions(x)
        return self.head(self.norm(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)))


class TemporalEncoder(nn.Module):
    """Frame features to H and v (paper, section 3.2, with the layers that the published code adds around it).

    Args:
        feature_dim: F, size of the image tower's features.
        map_channels: C where the features are a flat square map (C, h, h); 0 where they are a vector.
        dim: D, size of H and v.
        num_frames: T; the learned positions fix it.
        width, depth, heads, head_dim, mlp_width, attention_scale, position_std, hidden_layer, video_vector, center: see
            `ModelConfig`.
    """

    def __init__(  # noqa: PLR0913 - one argument for each published or changed property
        self,
        feature_dim: int,
        *,
        map_channels: int = 0,
        dim: int,
        num_frames: int,
        width: int,
        depth: int,
        heads: int,
        head_dim: int,
        mlp_width: int,
        attention_scale: Literal["model", "head"],
        position_std: float,
        hidden_layer: bool,
        video_vector: VideoVector,
        center: bool = False,
    ) -> None:
        super().__init__()
        scale = (width if attention_scale == "model" else head_dim) ** -0.5
        self.num_frames = num_frames
        self.video_vector = video_vector
        self.center = center
        self.map_channels = map_channels
        self.map_side = math.isqrt(feature_dim // map_channels) if map_channels else 0
        self.map_stage = MapStage(map_channels) if map_channels else None
        self.project_in = nn.Linear(2 * map_channels or feature_dim, width)
        self.project = nn.Linear(width, width) if hidden_layer else None
        self.class_token = nn.Parameter(torch.empty(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, num_frames + 1, width))
        self.blocks = nn.ModuleList(
            Block(width, heads=heads, head_dim=head_dim, mlp_width=mlp_width, scale=scale) for _ in range(depth)
        )
        self.frame_head = nn.Linear(width, dim)
        rows = dim if video_vector == "flatten" else width
        self.video_head = None if video_vector == "pool" else nn.Linear(num_frames * rows, dim)
        self._initialise(position_std)

    def _initialise(self, position_std: float) -> None:
        own_start = (self.video_head, getattr(self.map_stage, "head", None))  # left at PyTorch's own
        for module in self.modules():
            if isinstance(module, nn.Linear) and module not in own_start:
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.class_token, std=0.02)
        nn.init.normal_(self.positions, std=position_std)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a batch of videos.

        Args:
            features: (B, T, F) frame features in time order.

        Returns:
            H (B, T, D) and v (B, D), neither normalised.
        """
        if self.center:
            features = features - features.mean(dim=1, keepdim=True)
            features = features / (features.square().mean(dim=(1, 2), keepdim=True) + _STILL).sqrt()
        if self.map_stage is not None:
            maps = features.reshape(-1, self.map_channels, self.map_side, self.map_side)  # (B * T, C, h, h)
            features = self.map_stage(maps).reshape(features.shape[0], self.num_frames, -1)
        x = self.project_in(features)  # (B, T, W)
        if self.project is not None:
            x = F.relu(self.project(x))
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        for block in self.blocks:
            x = block(x)
        frames = x[:, 1:]
        if self.center:
            frames = frames - frames.mean(dim=1, keepdim=True)
        frame_features = self.frame_head(frames)  # (B, T, D)
        if self.video_head is None:
            return frame_features, frame_features.mean(dim=1)
        if self.video_vector == "flatten":
            return frame_features, self.video_head(frame_features.flatten(1))
        return frame_features, self.video_head(x[:, 1:].flatten(1))
