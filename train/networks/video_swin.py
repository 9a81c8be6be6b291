"""Video Swin Transformer (Liu et al., CVPR 2022) over the pixels of a whole clip; torchvision's, with our heads."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.swin_transformer import SwinTransformerBlock
from torchvision.models.video import Swin3D_T_Weights
from torchvision.models.video.swin_transformer import (
    ShiftedWindowAttention3d,
    SwinTransformer3d,
    shifted_window_attention_3d,
)

from ...runtime.errors import OptionError
from ..weights_file import load_weights, read_weights

__all__ = ["SMALL", "SWIN3D_T", "SwinSizes", "VideoSwin", "load_kinetics_weights"]

_MEAN: Final = (0.485, 0.456, 0.406)
_STD: Final = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SwinSizes:
    """The sizes of a Video Swin Transformer.

    Attributes:
        patch: frames, rows and columns of pixels in a patch.
        embed_dim: channels of the first stage; each further one has twice as many.
        depths: blocks of each stage.
        num_heads: attention heads of each stage; they divide its channels.
        window: patches in time, height and width that attend to one another.
        drop_path: probability of leaving out the last block in training; it grows from 0 at the first.

    Raises:
        OptionError: if the sizes do not fit together.
    """

    patch: tuple[int, int, int] = (2, 4, 4)
    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window: tuple[int, int, int] = (8, 7, 7)
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        if len(self.depths) != len(self.num_heads) or sum(self.depths) < 2 or min(self.depths) < 1:
            raise OptionError(f"give as many depths as heads, 2 blocks at least: {self.depths = }, {self.num_heads = }")
        if any(self.embed_dim * 2**stage % heads for stage, heads in enumerate(self.num_heads)):
            raise OptionError(f"the heads do not divide the channels: {self.embed_dim = }, {self.num_heads = }")

    def scaled(self, factor: float) -> SwinSizes:
        """The same with `factor` times as many channels a head, rounded, at least 1."""
        channels = max(1, round(self.embed_dim / self.num_heads[0] * factor))
        return dataclasses.replace(self, embed_dim=self.num_heads[0] * channels)


SWIN3D_T: Final = SwinSizes()
"""The published tiny one, 28 million parameters, made for 224 x 224 pixels."""

SMALL: Final = SwinSizes(
    patch=(2, 8, 8), embed_dim=48, depths=(2, 2), num_heads=(2, 4), window=(8, 4, 4), drop_path=0.0
)
"""The same family for 64 to 112 pixels and training from scratch."""


class _Attention(ShiftedWindowAttention3d):
    """torchvision's, which writes the masks of shifted windows part by part at every call, and so into each graph.

    Here they are one comparison of constants, and go to the same function as part of the position bias.
    """

    def forward(self, x: Tensor) -> Tensor:
        sizes = tuple(x.shape[1:4])  # frames, rows and columns of patches
        window = [min(side, size) for side, size in zip(self.window_size, sizes, strict=True)]
        shift = [step if side < size else 0 for step, side, size in zip(self.shift_size, window, sizes, strict=True)]
        if not any(shift):
            return super().forward(x)
        added = [-size % side for side, size in zip(window, sizes, strict=True)]
        x = F.pad(x, (0, 0, 0, added[2], 0, added[1], 0, added[0]))
        masks = _masks(tuple(x.shape[1:4]), window, shift, device=x.device)  # (windows, N, N)
        bias = self.get_relative_position_bias(window) + masks[:, None]  # (windows, heads, N, N)
        mixed = shifted_window_attention_3d(
            torch.roll(x, [-step for step in shift], (1, 2, 3)),
            self.qkv.weight,
            self.proj.weight,
            bias.repeat(x.shape[0], 1, 1, 1),
            window,
            self.num_heads,
            shift_size=[0, 0, 0],
            qkv_bias=self.qkv.bias,
            proj_bias=self.proj.bias,
        )
        return torch.roll(mixed, shift, (1, 2, 3))[:, : sizes[0], : sizes[1], : sizes[2]]


def _masks(sizes: tuple[int, ...], window: list[int], shift: list[int], *, device: torch.device) -> Tensor:
    """What is added so that patches which the shift brought together from two ends do not attend: (windows, N, N)."""
    regions = torch.zeros(sizes, dtype=torch.int64, device=device)
    for axis, (size, side, step) in enumerate(zip(sizes, window, shift, strict=True)):
        place = torch.arange(size, device=device)
        region = (place >= size - side).long() + (place >= size - step).long()
        regions = regions + 3**axis * region.reshape([-1 if other == axis else 1 for other in range(3)])
    for axis, side in enumerate(window):
        regions = regions.unflatten(2 * axis, (-1, side))  # windows, places in them, for each axis
    regions = regions.permute(0, 2, 4, 1, 3, 5).reshape(-1, math.prod(window))
    return -100.0 * (regions[:, None] != regions[:, :, None]).float()


def _block(*arguments: Any, attn_layer: object, **options: Any) -> SwinTransformerBlock:  # noqa: ARG001 - replaced
    return SwinTransformerBlock(*arguments, attn_layer=_Attention, **options)


class VideoSwin(nn.Module):
    """Pixels of a clip to H and v.

    The head that stands behind the row "VideoSwin+MLP" of the published tables is not released. Here the transformer's
    map is averaged over height and width, which leaves one vector for each `patch[0]` frames. H is a linear map of
    these, each repeated for its frames. v is two linear layers with a GELU between over all of them in their order.

    Args:
        height, width: of the frames, in pixels.
        dim: D, size of H and v.
        num_frames: T.
        sizes: of the transformer.
        width_factor: times as many channels as `sizes` says, see `SwinSizes.scaled`.

    Raises:
        OptionError: if height or width is not a whole number of patches.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        height: int,
        width: int,
        *,
        dim: int,
        num_frames: int,
        sizes: SwinSizes = SWIN3D_T,
        width_factor: float = 1.0,
    ) -> None:
        super().__init__()
        if height % sizes.patch[1] or width % sizes.patch[2]:
            raise OptionError(
                f"a Video Swin Transformer cuts {height} x {width} pixels into patches of {sizes.patch[1]} x "
                f"{sizes.patch[2]}; set data.size to a multiple"
            )
        self.num_frames, self.height, self.width = num_frames, height, width
        self.sizes = sizes.scaled(width_factor)
        self.trunk = SwinTransformer3d(
            patch_size=list(self.sizes.patch),
            embed_dim=self.sizes.embed_dim,
            depths=list(self.sizes.depths),
            num_heads=list(self.sizes.num_heads),
            window_size=list(self.sizes.window),
            stochastic_depth_prob=self.sizes.drop_path,
            block=_block,
        )
        self.trunk.head = nn.Identity()  # the classes'
        channels = self.trunk.num_features
        positions = math.ceil(num_frames / self.sizes.patch[0])
        self.frame_head = nn.Linear(channels, dim)
        self.video_head = nn.Sequential(nn.Linear(positions * channels, channels), nn.GELU(), nn.Linear(channels, dim))
        for name, value in (("mean", _MEAN), ("std", _STD)):
            self.register_buffer(name, torch.tensor(value).reshape(3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a batch of videos.

        Args:
            pixels: (B, T, 3 * height * width), RGB in [0, 1], the channels one after the other; normalised here as
                torchvision's weights want it.

        Returns:
            H (B, T, D) and v (B, D), neither normalised.
        """
        clips = pixels.reshape(-1, self.num_frames, 3, self.height, self.width)
        clips = ((clips - self.mean) / self.std).transpose(1, 2)  # (B, 3, T, height, width)
        x = self.trunk.norm(self.trunk.features(self.trunk.patch_embed(clips)))  # (B, T', h, w, C)
        positions = x.mean((2, 3))  # (B, T', C)
        frame_features = self.frame_head(positions).repeat_interleave(self.sizes.patch[0], dim=1)
        return frame_features[:, : self.num_frames], self.video_head(positions.flatten(1))


def load_kinetics_weights(network: VideoSwin, source: str) -> None:
    """Fill the transformer with torchvision's weights of Kinetics-400; the heads keep theirs.

    Args:
        network: of the sizes `SWIN3D_T`.
        source: `hub` for a download by torchvision, kept in PyTorch's cache; or the file that it downloads.

    Raises:
        OptionError: if the network has other sizes, the weights cannot be fetched, or the file does not fit.
    """
    weights = Swin3D_T_Weights.KINETICS400_V1
    if dataclasses.replace(network.sizes, drop_path=SWIN3D_T.drop_path) != SWIN3D_T:
        raise OptionError(f"the weights of Kinetics-400 are those of {SWIN3D_T}, but this network has {network.sizes}")
    if source == "hub":
        try:
            tensors = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except Exception as error:  # no connection, no place to keep it, or not what was asked for
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise OptionError(
                f"{weights.url} cannot be fetched: {reason}; fetch it elsewhere and give the file instead of hub"
            ) from error
    else:
        tensors = read_weights(Path(source))
    load_weights(network.trunk, tensors, source=weights.url if source == "hub" else source, leave_out=("head",))
