"""Image towers that give a frame's map of features whole, and not pooled: what CAT and its bottleneck need.

They are timm's ResNet, under names that timm knows once this module is imported. torchvision's has the same layers and
the same names of tensors; timm's is used as it also knows where ImageNet weights are, reads them from a file, and is
what the other towers are made of.
"""

from __future__ import annotations

from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, register_model
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from ..runtime.errors import OptionError

__all__ = ["MapResNet", "weaksvr_resnet50_maps", "weaksvr_thin_resnet_maps"]

_NORMALISED = {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}


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
    tower = build_model_with_cfg(
        MapResNet, "resnet50.tv_in1k", pretrained, **{"block": Bottleneck, "layers": (3, 4, 6, 3), **options}
    )
    tower.default_cfg = tower.pretrained_cfg = {**tower.pretrained_cfg, **_NORMALISED, "input_size": (3, 180, 320)}
    return tower


def _group_norm(channels: int, **_: Any) -> nn.GroupNorm:
    return nn.GroupNorm(8, channels)


@register_model
def weaksvr_thin_resnet_maps(pretrained: bool = False, **_: Any) -> MapResNet:
    """A thin ResNet for frames of 64 x 64 pixels, whose maps are (96, 4, 4), to be trained from scratch on a CPU.

    Group normalisation instead of ResNet's batch statistics, so that a frame's map never depends on the others.
    """
    if pretrained:
        raise OptionError("weaksvr_thin_resnet_maps has no pretrained weights; leave model.vision_pretrained empty")
    tower = MapResNet(
        block=BasicBlock,
        layers=(1, 1, 1, 1),
        channels=(32, 48, 64, 96),
        stem_type="deep",
        stem_width=16,
        output_stride=16,
        norm_layer=_group_norm,
    )
    tower.default_cfg = {**_NORMALISED, "input_size": (3, 64, 64), "pool_size": None}
    return tower
