"""CAT, the network of SVIP (Qian et al., CVPR 2022): whole maps of the frames as the tokens of a transformer."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..temporal import Block

__all__ = ["CatEncoder"]


class CatEncoder(nn.Module):
    """Maps of T frames to H (single frames) and v (the video).

    With the transformer: a convolution narrows each map, a frame's whole map is one token, and v is one linear layer
    over the T tokens that come out. Without it (`depth` 0), v is one linear layer over the T pooled maps.

    SVIP has no H: its sequence alignment loss compares the pooled maps, which are many times wider than v, and here H
    and v must have the same D. H is the nearest to them that the published layers give, of one frame alone:

    - with the transformer, the narrowed maps, pooled; where `bottleneck` is not `dim`, a linear layer follows, which
      SVIP does not have and which only the fine loss trains;
    - without it, the v of a clip in which the frame stands still: what the linear layer gives if all T frames are it.

    Args:
        channels, map_height, map_width: C, h, w of the maps that the image tower gives.
        dim: D, size of H and v.
        num_frames: T; the learned positions fix it.
        depth: blocks of the transformer; 0 leaves out all of it.
        width, heads, head_dim, mlp_width: of the blocks.
        bottleneck: channels of a narrowed map.
        attention_scale: `model` divides by sqrt(width) as published, `head` by sqrt(head_dim) as usual.
        position_std: standard deviation of the first class token and positions (published: 1).

    Attributes:
        num_frames: T.
    """

    def __init__(  # noqa: PLR0913 - one argument for each published or changed property
        self,
        *,
        channels: int,
        map_height: int,
        map_width: int,
        dim: int,
        num_frames: int,
        depth: int = 6,
        width: int = 1024,
        heads: int = 8,
        head_dim: int = 64,
        mlp_width: int = 2048,
        bottleneck: int = 128,
        attention_scale: Literal["model", "head"] = "model",
        position_std: float = 1.0,
    ) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.map_shape = (channels, map_height, map_width)
        self.bottleneck: nn.Conv2d | None = None
        self.frame_head: nn.Linear | None = None
        if depth:
            scale = (width if attention_scale == "model" else head_dim) ** -0.5
            self.bottleneck = nn.Conv2d(channels, bottleneck, 3, padding=1)
            self.patch = nn.Linear(map_height * map_width * bottleneck, width)
            self.class_token = nn.Parameter(torch.randn(1, 1, width) * position_std)
            self.positions = nn.Parameter(torch.randn(1, num_frames + 1, width) * position_std)
            self.blocks = nn.ModuleList(
                Block(width, heads=heads, head_dim=head_dim, mlp_width=mlp_width, scale=scale) for _ in range(depth)
            )
            self.frame_head = nn.Linear(bottleneck, dim) if bottleneck != dim else None
        self.video_head = nn.Linear(num_frames * (width if depth else channels), dim)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a batch of videos.

        Args:
            features: (B, T, C * h * w) flat maps in time order.

        Returns:
            H (B, T, D) and v (B, D), neither normalised.
        """
        if self.bottleneck is None:
            return self._without_transformer(self.sequence_features(features))
        maps = self.bottleneck(features.reshape(-1, *self.map_shape))  # (B * T, c, h, w)
        pooled = maps.mean((2, 3)).reshape(-1, self.num_frames, maps.shape[1])
        frame_features = pooled if self.frame_head is None else self.frame_head(pooled)
        patches = maps.permute(0, 2, 3, 1).flatten(1)  # rows, then columns, then channels, as published
        x = self.patch(patches).reshape(-1, self.num_frames, self.positions.shape[-1])
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        for block in self.blocks:
            x = block(x)
        return frame_features, self.video_head(x[:, 1:].flatten(1))

    def sequence_features(self, features: Tensor) -> Tensor:
        """What SVIP's sequence alignment loss compares: maps (B, T, C * h * w), pooled over each frame, (B, T, C)."""
        channels = self.map_shape[0]
        return features.reshape(-1, self.num_frames, channels, features.shape[-1] // channels).mean(-1)

    def _without_transformer(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        head = self.video_head
        still = head.weight.reshape(head.out_features, self.num_frames, -1).sum(1)  # (D, C)
        return F.linear(pooled, still, head.bias), head(pooled.flatten(1))
