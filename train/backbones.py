"""The image and text towers: any open_clip model, and a tiny one of our own that trains from scratch on a CPU."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import logging
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import open_clip
import torch
from timm.models import register_model
from torch import Tensor, nn

from ..runtime.errors import OptionError
from .image_towers import ImageTower

__all__ = ["PatchConvNet", "TextEncoder", "TextTower", "Towers", "create_towers", "weaksvr_patchconv"]

_ENCODED_AT_ONCE = 256  # texts

open_clip.add_model_config(Path(__file__).parent / "open_clip_configs")


class PatchConvNet(nn.Module):
    """A small convolutional image network without batch statistics, whose output is a map and not a vector.

    Patches of 4 x 4 pixels, then two stages of 3 x 3 convolutions; the map (C, S / 8, S / 8) is given flat, and
    `TemporalEncoder` pools it after it has removed what stands still. Group normalisation works on one image alone, so
    that a feature never depends on what else is in the batch. The interface is the one that timm's models share.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64), patch: int = 4) -> None:
        super().__init__()
        self.default_cfg = {"input_size": (3, 96, 96), "pool_size": None}
        self.num_features = self.map_channels = widths[-1]
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], patch, patch)]
        for index, width in enumerate(widths):
            if index:
                layers.append(nn.Conv2d(widths[index - 1], width, 3, 2, 1))
            layers += [nn.GroupNorm(8, width), nn.GELU()]
            layers += [nn.Conv2d(width, width, 3, 1, 1), nn.GroupNorm(8, width), nn.GELU()]
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, S, S) to flat maps (N, C * S / 8 * S / 8)."""
        return self.features(x).flatten(1)


@register_model
def weaksvr_patchconv(pretrained: bool = False, **_: Any) -> PatchConvNet:
    """Timm entry point of `PatchConvNet`; there are no pretrained weights."""
    if pretrained:
        raise OptionError("weaksvr_patchconv has no pretrained weights; leave model.pretrained empty")
    return PatchConvNet()


class TextEncoder(nn.Module, abc.ABC):
    """What all text towers share; `forward` maps token ids int64 (N, L) to features (N, D), not normalised."""

    @property
    @abc.abstractmethod
    def causal(self) -> bool:
        """Whether what follows the end of a text has no influence on its features."""

    @abc.abstractmethod
    def trim(self, tokens: Tensor) -> Tensor:
        """Cut trailing columns of int64 tokens (N, L) that hold padding only, where that changes nothing."""

    @torch.no_grad()
    def encode(self, tokens: Tensor) -> Tensor:
        """Features float32 (N, D) of any number of texts, a part at a time and without gradient."""
        device = next(self.parameters()).device
        return torch.cat([self(self.trim(part).to(device)).float() for part in tokens.split(_ENCODED_AT_ONCE)])


class TextTower(TextEncoder):
    """The text side of an open_clip model."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        clip.visual = nn.Identity()
        self.clip = clip

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token ids int64 (N, L) to features (N, D), not normalised.

        L may be shorter than the context where the tower is causal, as CLIP's is: what follows the end token has no
        influence (see `trim`).
        """
        if not self.causal:
            return self.clip.encode_text(tokens)
        clip, length = self.clip, tokens.shape[1]
        x = clip.token_embedding(tokens) + clip.positional_embedding[:length]  # (N, L, width)
        x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask[:length, :length]))
        pooled = x[torch.arange(x.shape[0], device=x.device), tokens.argmax(dim=-1)]  # the end token has the largest id
        return pooled @ clip.text_projection

    @property
    def causal(self) -> bool:
        """Whether this is CLIP's own text transformer, pooled at the end token under a causal mask."""
        return (
            isinstance(self.clip, open_clip.CLIP)
            and self.clip.text_pool_type == "argmax"
            and self.clip.attn_mask is not None
            and isinstance(self.clip.text_projection, nn.Parameter)
        )

    def trim(self, tokens: Tensor) -> Tensor:
        """Cut trailing columns of int64 tokens (N, L) that hold padding only, where that changes nothing."""
        if not self.causal:
            return tokens
        return tokens[:, : int(tokens.argmax(dim=-1).max()) + 1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Towers:
    """The two towers and what must be known of them.

    Attributes:
        image: the image tower.
        text: int64 (N, context_length) -> (N, text_dim).
    """

    image: ImageTower
    text: TextTower
    text_dim: int
    context_length: int


@contextlib.contextmanager
def _open_clip_says_nothing() -> Iterator[None]:
    """open_clip warns through the root logger when no weights are asked for, and logs what it raises besides."""
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def create_towers(name: str, *, pretrained: str, size: int) -> Towers:
    """Build the towers of an open_clip model.

    Args:
        name: open_clip architecture name.
        pretrained: weights tag or file; empty for random weights.
        size: input height and width in pixels; 0 takes the model's own.

    Raises:
        OptionError: if open_clip does not know the name or cannot load the weights.
    """
    if name not in open_clip.list_models():
        raise OptionError(f"model.clip = {name!r} is not an open_clip model; see open_clip.list_models()")
    if (
        pretrained
        and not Path(pretrained).is_file()
        and pretrained not in open_clip.list_pretrained_tags_by_model(name)
    ):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise OptionError(f"model.pretrained = {pretrained!r}: no such file, and {name} has the tags: {tags}")
    try:
        with _open_clip_says_nothing():
            clip = open_clip.create_model(
                name,
                pretrained=pretrained or None,
                force_image_size=size or None,
                require_pretrained=bool(pretrained),
            )
    except (RuntimeError, OSError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise OptionError(
            f"{name} with weights {pretrained!r} cannot be created: {first_line}{offline}; "
            "give a weights file with --set model.pretrained=FILE, or train from scratch with --set model.pretrained="
        ) from error
    vision = clip.visual
    image_size = vision.image_size
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    config = vision.preprocess_cfg
    context_length = int(getattr(clip, "context_length", 77))
    vision_dim, text_dim = _output_dims(clip, height=height, width=width, context_length=context_length)
    image = ImageTower(
        module=vision,
        feature_dim=vision_dim,
        map_channels=getattr(getattr(vision, "trunk", None), "map_channels", 0),
        height=height,
        width=width,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
    return Towers(image=image, text=TextTower(clip), text_dim=text_dim, context_length=context_length)


@torch.no_grad()
def _output_dims(clip: nn.Module, *, height: int, width: int, context_length: int) -> tuple[int, int]:
    """Sizes of the towers' outputs, asked of the towers themselves."""
    training = clip.training
    clip.eval()
    vision_dim = clip.visual(torch.zeros(1, 3, height, width)).shape[-1]
    text_dim = clip.encode_text(torch.zeros(1, context_length, dtype=torch.int64)).shape[-1]
    clip.train(training)
    return vision_dim, text_dim
