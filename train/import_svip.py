"""What the checkpoints of SVIP (CAT) hold, and where each of their tensors goes.

Two kinds: with its transformer, and without. The classifier of ImageNet or Kinetics that the image network still
carries, and the one of procedures, take no part in the video vector and are left out by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from torch import Tensor

from ..runtime.errors import OptionError

__all__ = ["UNUSED", "is_svip", "svip_name"]

UNUSED: Final = ("backbone.fc.weight", "backbone.fc.bias", "cls_fc.weight", "cls_fc.bias")

_RENAMED: Final = (
    (r"vision\.(.+)", r"backbone.\1"),
    (r"temporal\.bottleneck\.(\w+)", r"bottleneck.\1"),
    (r"temporal\.positions", r"TE.pos_embedding"),
    (r"temporal\.class_token", r"TE.cls_token"),
    (r"temporal\.patch\.(\w+)", r"TE.patch_to_embedding.\1"),
    (r"temporal\.blocks\.(\d+)\.norm1\.(\w+)", r"TE.transformer.layers.\1.0.fn.norm.\2"),
    (r"temporal\.blocks\.(\d+)\.attention\.qkv\.(\w+)", r"TE.transformer.layers.\1.0.fn.fn.to_qkv.\2"),
    (r"temporal\.blocks\.(\d+)\.attention\.out\.(\w+)", r"TE.transformer.layers.\1.0.fn.fn.to_out.0.\2"),
    (r"temporal\.blocks\.(\d+)\.norm2\.(\w+)", r"TE.transformer.layers.\1.1.fn.norm.\2"),
    (r"temporal\.blocks\.(\d+)\.mlp\.0\.(\w+)", r"TE.transformer.layers.\1.1.fn.fn.net.0.\2"),
    (r"temporal\.blocks\.(\d+)\.mlp\.2\.(\w+)", r"TE.transformer.layers.\1.1.fn.fn.net.3.\2"),
    (r"temporal\.video_head\.(\w+)", r"embed_head.1.\1"),
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
