"""Small image towers of the published families, for frames of about 64 pixels and training from scratch on a CPU.

They are timm's own networks with fewer and thinner layers, under names of ours; there are no weights for them.
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import Bottleneck, ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ..runtime.errors import OptionError

__all__ = ["default_cfgs", "weaksvr_resnet", "weaksvr_swin", "weaksvr_vit"]

_FRAMES = {
    "num_classes": 0,
    "input_size": (3, 64, 64),
    "interpolation": "bicubic",
    "crop_pct": 1.0,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}
_PATCHES = {"fixed_input_size": True, "first_conv": "patch_embed.proj"}

default_cfgs = generate_default_cfgs(
    {
        "weaksvr_resnet": {**_FRAMES, "pool_size": (2, 2), "first_conv": "conv1", "classifier": "fc"},
        "weaksvr_vit": {**_FRAMES, **_PATCHES, "classifier": "head"},
        "weaksvr_swin": {**_FRAMES, **_PATCHES, "classifier": "head.fc"},
    }
)
"""What timm asks for by this name."""


@register_model
def weaksvr_resnet(pretrained: bool = False, **options: Any) -> ResNet:
    """Like ResNet-50: bottleneck blocks, four stages; but 1 block a stage, an eighth of the channels, a thin stem."""
    sizes = {"block": Bottleneck, "layers": (1, 1, 1, 1), "channels": (8, 16, 32, 64), "stem_width": 8}
    sizes["stem_type"] = "deep"
    return _build(ResNet, "weaksvr_resnet", pretrained, sizes | options)


@register_model
def weaksvr_vit(pretrained: bool = False, **options: Any) -> VisionTransformer:
    """Like ViT-B/32, with as many patches at 64 pixels as it has at 256; but 2 blocks and a twelfth of the channels."""
    sizes = {"img_size": 64, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 2}
    return _build(VisionTransformer, "weaksvr_vit", pretrained, sizes | options)


@register_model
def weaksvr_swin(pretrained: bool = False, **options: Any) -> SwinTransformer:
    """Like Swin-T: shifted windows, stages that halve the map; but 2 stages, half the channels, larger patches."""
    sizes = {"img_size": 64, "patch_size": 8, "window_size": 4, "embed_dim": 48, "depths": (2, 2)}
    return _build(
        SwinTransformer, "weaksvr_swin", pretrained, sizes | {"num_heads": (2, 4), "drop_path_rate": 0.0} | options
    )


def _build(kind: type[nn.Module], name: str, pretrained: bool, options: dict[str, Any]) -> Any:
    if pretrained:
        raise OptionError(f"{name} has no published weights; train it from scratch")
    return build_model_with_cfg(kind, name, False, feature_cfg={"flatten_sequential": True}, **options)
