"""Image towers that give a frame's map of features whole, and not pooled: what CAT and its bottleneck need.

They are timm's ResNet, under names that timm knows once this module is imported. torchvision's has the same layers and
the same names of tensors; timm's is used as it also knows where ImageNet weights are, reads them from a file, and is
what the other towers are made of.
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from ..runtime.errors import OptionError

__all__ = ["MapResNet", "default_cfgs", "weaksvr_resnet50_maps", "weaksvr_thin_resnet_maps"]

_FRAMES = {
    "num_classes": 0,
    "interpolation": "bicubic",
    "crop_pct": 1.0,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "pool_size": None,
    "classifier": "fc",
}

default_cfgs = generate_default_cfgs(
    {
        "weaksvr_resnet50_maps": {
            **_FRAMES,
            "input_size": (3, 180, 320),
            "first_conv": "conv1",
            "hf_hub_id": "timm/resnet50.tv_in1k",
        },
        "weaksvr_thin_resnet_maps": {**_FRAMES, "input_size": (3, 64, 64), "first_conv": "conv1.0"},
    }
)
"""What timm asks for by this name."""


class MapResNet(ResNet):
    """timm's ResNet, cut off before its pooling: images (N, 3, H, W) to flat maps (N, C * h * w).

    Its tensors have the names that torchvision gives them.

    Attributes:
        map_channels: C.
        map_stride: pixels from one place of the map to the next.
    """

    def __init__(self, *args: Any, output_stride: int = 32, **options: Any) -> None:
        super().__init__(*args, output_stride=output_stride, **{**options, "num_classes": 0, "global_pool": ""})
        self.map_channels = self.num_features
        self.map_stride = output_stride

    def map_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows h and columns w of the map of an image with that many pixels."""
        return -(-height // self.map_stride), -(-width // self.map_stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to flat maps (N, C * h * w): channels, then rows, then columns."""
        return self.forward_features(x).flatten(1)


@register_model
def weaksvr_resnet50_maps(pretrained: bool = False, **options: Any) -> MapResNet:
    """ResNet-50 for frames of 180 x 320 pixels, whose maps are (2048, 6, 10); torchvision's ImageNet weights."""
    sizes = {"block": Bottleneck, "layers": (3, 4, 6, 3)}
    return build_model_with_cfg(MapResNet, "weaksvr_resnet50_maps", pretrained, **sizes | options)


def _group_norm(channels: int, **_: Any) -> nn.GroupNorm:
    return nn.GroupNorm(8, channels)


@register_model
def weaksvr_thin_resnet_maps(pretrained: bool = False, **options: Any) -> MapResNet:
    """A thin ResNet for frames of 64 x 64 pixels, whose maps are (64, 4, 4), to be trained from scratch on a CPU.

    Group normalisation instead of ResNet's batch statistics, so that a frame's map never depends on the others.
    """
    if pretrained:
        raise OptionError("weaksvr_thin_resnet_maps has no published weights; train it from scratch")
    sizes = {
        "block": BasicBlock,
        "layers": (1, 1, 1, 1),
        "channels": (16, 32, 48, 64),
        "stem_type": "deep",
        "stem_width": 8,
        "output_stride": 16,
        "norm_layer": _group_norm,
    }
    return build_model_with_cfg(MapResNet, "weaksvr_thin_resnet_maps", False, **sizes | options)
