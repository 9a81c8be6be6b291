"""What the checkpoints of SVIP (CAT) hold, where each of their tensors goes, and the settings that they need.

Two kinds: with its transformer, and without. The classifier that the image network still carries from its pretraining,
and the one of procedures, take no part in the video vector and are left out by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from torch import Tensor

from ..runtime.errors import CheckpointError, OptionError
from .config import DataConfig, LossConfig, ModelConfig, TrainConfig
from .official_file import OfficialFile

__all__ = ["NOT_IN_FILE", "TRANSFORMER_NAMES", "UNUSED", "is_svip", "svip_config", "svip_name"]

UNUSED: Final = ("backbone.fc.weight", "backbone.fc.bias", "cls_fc.weight", "cls_fc.bias")
NOT_IN_FILE: Final = ("logit_scale", "fine_logit_scale")
"""Ours, of the losses that compare with texts, which SVIP does not have."""

_HEADS, _DEPTH = 8, 6  # written into the published code, and not to be seen in any shape
_CHANNELS, _MAP, _NARROW = 2048, 6 * 10, 128

TRANSFORMER_NAMES: Final = (
    (r"temporal\.positions", r"TE.pos_embedding"),
    (r"temporal\.class_token", r"TE.cls_token"),
    (r"temporal\.blocks\.(\d+)\.norm1\.(\w+)", r"TE.transformer.layers.\1.0.fn.norm.\2"),
    (r"temporal\.blocks\.(\d+)\.attention\.qkv\.(\w+)", r"TE.transformer.layers.\1.0.fn.fn.to_qkv.\2"),
    (r"temporal\.blocks\.(\d+)\.attention\.out\.(\w+)", r"TE.transformer.layers.\1.0.fn.fn.to_out.0.\2"),
    (r"temporal\.blocks\.(\d+)\.norm2\.(\w+)", r"TE.transformer.layers.\1.1.fn.norm.\2"),
    (r"temporal\.blocks\.(\d+)\.mlp\.0\.(\w+)", r"TE.transformer.layers.\1.1.fn.fn.net.0.\2"),
    (r"temporal\.blocks\.(\d+)\.mlp\.2\.(\w+)", r"TE.transformer.layers.\1.1.fn.fn.net.3.\2"),
    (r"temporal\.video_head\.(\w+)", r"embed_head.1.\1"),
)
"""What the networks of SVIP and WeakSVR have in common: our names of tensors, as patterns, and theirs."""

_RENAMED: Final = (
    (r"vision\.(.+)", r"backbone.\1"),
    (r"temporal\.bottleneck\.(\w+)", r"bottleneck.\1"),
    (r"temporal\.patch\.(\w+)", r"TE.patch_to_embedding.\1"),
    *TRANSFORMER_NAMES,
)


def is_svip(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are the tensors of a network on ResNet's maps."""
    return "backbone.layer1.0.conv1.weight" in tensors


def svip_name(name: str) -> str:
    """SVIP's name of one of our tensors.

    Args:
        name: as in the state of our network of the kind `cat`, without text tower.

    Raises:
        OptionError: if SVIP's network has nothing of the kind.
    """
    for ours, theirs in _RENAMED:
        found = re.fullmatch(ours, name)
        if found:
            return found.expand(theirs)
    raise OptionError(f"{name}: SVIP's network has no such tensor")


def svip_config(source: OfficialFile) -> TrainConfig:
    """SVIP's settings, with the sizes that the tensors have; shapes are then to be compared with the network's.

    Sizes are read from how many numbers there are, so that no network is built that is larger than its file.

    Raises:
        CheckpointError: if the video vectors have another size than H, see `CatEncoder`.
    """
    tensors, layer = source.tensors, "TE.transformer.layers.0"

    def count(name: str, default: int) -> int:
        return tensors[name].numel() if name in tensors else default

    depth = _DEPTH if "bottleneck.weight" in tensors else 0
    width = max(1, count("TE.patch_to_embedding.weight", _MAP * _NARROW * 1024) // (_MAP * _NARROW))
    inner = count(f"{layer}.0.fn.fn.to_out.0.weight", _HEADS * 64 * width) // width
    hidden = count(f"{layer}.1.fn.fn.net.0.weight", 2048 * width) // width
    head, vector = count("embed_head.1.weight", 0), count("embed_head.1.bias", _NARROW)
    if depth and vector != _NARROW:
        raise CheckpointError(
            f"{source.path}: its video vectors have {vector} numbers; only networks of SVIP with {_NARROW}, as "
            f"published, can be imported, as their narrowed maps, which become the frame features, have {_NARROW}"
        )
    dim = _NARROW if depth else max(1, min(vector, head // _CHANNELS))
    held = head // (dim * (width if depth else _CHANNELS))
    claimed = count("TE.pos_embedding", 17 * width) // width - 1 if depth else held
    return TrainConfig(
        preset="imported",
        model=ModelConfig(
            pretrained="",
            vision="weaksvr_resnet50_maps",
            text="none",
            network="cat",
            dim=dim,
            width=width,
            depth=depth,
            heads=_HEADS,
            head_dim=max(1, inner // _HEADS),
            mlp_width=max(1, hidden),
        ),
        data=DataConfig(num_frames=max(2, min(claimed, max(held, 16))), resize="squash", pairs=True),
        loss=LossConfig(fine="none", coarse_weight=0.0, class_weight=1.0, sequence_weight=1.0),
    )
