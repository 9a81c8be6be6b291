"""S3D-G, the whole-clip network of MIL-NCE (Miech et al., 2020; the network itself: Xie et al., 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...runtime.errors import OptionError

__all__ = ["S3DG", "ConvBlock", "InceptionBlock", "SameMaxPool", "SelfGating", "SeparableBlock"]

Triple = tuple[int, int, int]
"""Of the axes time, height, width."""

_STRIDE = 8  # input frames for each of the last map's time positions
_DIVISOR = 8

_MIXED_3 = ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64))
_MIXED_4 = (
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
)
_MIXED_5 = ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128))


class ConvBlock(nn.Sequential):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(
        self, channels_in: int, channels_out: int, *, kernel: Triple = (1, 1, 1), stride: Triple = (1, 1, 1)
    ) -> None:
        padding = tuple(side // 2 for side in kernel)
        super().__init__(
            nn.Conv3d(channels_in, channels_out, kernel, stride, padding, bias=False),
            nn.BatchNorm3d(channels_out),
            nn.ReLU(inplace=True),
        )


class SeparableBlock(nn.Sequential):
    """A 3 x 3 x 3 convolution as one over space and then one over time, each a `ConvBlock`."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            ConvBlock(channels_in, channels_out, kernel=(1, 3, 3)),
            ConvBlock(channels_out, channels_out, kernel=(3, 1, 1)),
        )


class SameMaxPool(nn.Module):
    """Max pooling to ceil(side / stride) positions, whose windows begin at multiples of the stride.

    What a window lacks at the far end is zeros, as published; here no map has a negative value that they could hide.
    """

    def __init__(self, kernel: Triple, *, stride: Triple) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C, ceil(T / stride), ceil(H / stride), ceil(W / stride))."""
        missing: list[int] = []
        for side, kernel, stride in zip(
            reversed(x.shape[2:]), reversed(self.kernel), reversed(self.stride), strict=True
        ):
            missing += [0, max((-(-side // stride) - 1) * stride + kernel - side, 0)]
        return F.max_pool3d(F.pad(x, missing), self.kernel, self.stride)


class SelfGating(nn.Module):
    """Scale every channel by what the mean over time and space says of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to the same shape."""
        return x * torch.sigmoid(self.gate(x.mean((2, 3, 4))))[:, :, None, None, None]


class InceptionBlock(nn.Module):
    """Four gated branches side by side: 1 x 1 x 1, two separable 3 x 3 x 3 of unlike width, and a pooled one.

    Args:
        channels_in: of the input.
        widths: of the branches' convolutions: the first; the second's two; the third's two; the last.
    """

    def __init__(self, channels_in: int, widths: Sequence[int]) -> None:
        super().__init__()
        plain, middle_in, middle, narrow_in, narrow, pooled = widths
        self.num_channels = plain + middle + narrow + pooled
        self.branches = nn.ModuleList(
            [
                nn.Sequential(ConvBlock(channels_in, plain), SelfGating(plain)),
                nn.Sequential(ConvBlock(channels_in, middle_in), SeparableBlock(middle_in, middle), SelfGating(middle)),
                nn.Sequential(ConvBlock(channels_in, narrow_in), SeparableBlock(narrow_in, narrow), SelfGating(narrow)),
                nn.Sequential(nn.MaxPool3d(3, 1, 1), ConvBlock(channels_in, pooled), SelfGating(pooled)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, num_channels, T, H, W)."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class S3DG(nn.Module):
    """A separable 3D convolutional network with self-gating over the pixels of a clip.

    The stem convolves the frames themselves (no space-to-depth), as in every published evaluation. What was published
    has one vector a video and nothing for frames. Here H is made by the same last layer from the last map's time
    positions, of which each stands for 8 frames and is repeated for them: v is the mean over the positions, and no
    weight is added to the published ones.

    Args:
        height, width: of a frame in pixels.
        dim: D, size of H and v.
        num_frames: T.
        width_factor: of all channel numbers, which become multiples of 8; 1 is the published network.

    Attributes:
        num_features: size of the last map's mean, 1024 in the published network.

    Raises:
        OptionError: if `width_factor` is not above 0.
    """

    def __init__(self, height: int, width: int, *, dim: int, num_frames: int, width_factor: float = 1.0) -> None:
        super().__init__()
        if width_factor <= 0:
            raise OptionError(f"{width_factor = }: the channel numbers' factor must be above 0; 1 is as published")
        self.height = height
        self.width = width
        self.num_frames = num_frames

        def scaled(channels: int) -> int:
            return max(round(channels * width_factor / _DIVISOR), 1) * _DIVISOR

        stem, second = scaled(64), scaled(192)
        layers: list[nn.Module] = [
            ConvBlock(3, stem, kernel=(3, 7, 7), stride=(2, 2, 2)),
            SameMaxPool((1, 3, 3), stride=(1, 2, 2)),
            ConvBlock(stem, stem),
            SeparableBlock(stem, second),
            SelfGating(second),
            SameMaxPool((1, 3, 3), stride=(1, 2, 2)),
        ]
        channels = second
        for blocks, pool in (
            (_MIXED_3, SameMaxPool((3, 3, 3), stride=(2, 2, 2))),
            (_MIXED_4, SameMaxPool((2, 2, 2), stride=(2, 2, 2))),
            (_MIXED_5, None),
        ):
            for widths in blocks:
                block = InceptionBlock(channels, [scaled(width) for width in widths])
                channels = block.num_channels
                layers.append(block)
            if pool is not None:
                layers.append(pool)
        self.layers = nn.Sequential(*layers)
        self.num_features = channels
        self.head = nn.Linear(channels, dim)
        self.register_buffer("position_of_frame", torch.arange(num_frames) // _STRIDE, persistent=False)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a batch of clips.

        Args:
            features: (B, T, 3 * H * W) pixels of the frames in time order, flattened from (3, H, W).

        Returns:
            H (B, T, D) and v (B, D), neither normalised.
        """
        frames = features.reshape(-1, self.num_frames, 3, self.height, self.width)
        maps = self.layers(frames.transpose(1, 2))  # (B, num_features, ceil(T / 8), h, w)
        positions = self.head(maps.mean((3, 4)).transpose(1, 2))  # (B, ceil(T / 8), D)
        return positions[:, self.position_of_frame], positions.mean(dim=1)
