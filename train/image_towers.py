"""Image towers beside CLIP's: any model of timm, with or without published weights, and the pixels themselves."""

from __future__ import annotations

import dataclasses
import difflib
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import timm
import torch
from timm.data import resolve_model_data_config
from timm.models import PretrainedCfg
from torch import Tensor, nn

from ..runtime.errors import OptionError
from . import map_towers as _map_towers  # noqa: F401 - importing it makes its models known to timm
from . import small_towers as _small_towers  # noqa: F401
from .config import PIXELS
from .hub import hub_file
from .weights_file import load_weights, read_weights

__all__ = ["HUB", "ImageTower", "create_image_tower"]

HUB: Final = "hub"
"""Asks for the weights that timm names for a model."""

_FILE = "model.safetensors"  # in every repository of timm's on the hub


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ImageTower:
    """A network from images to features, and what it takes.

    Attributes:
        module: (N, 3, height, width) float32 -> (N, feature_dim).
        feature_dim: F.
        map_channels: C where the features are a flat map (C, h, w) that the video network pools; 0 elsewhere.
        height, width: of the images, in pixels.
        mean, std: by which RGB values in [0, 1] are normalised before they reach it.
    """

    module: nn.Module
    feature_dim: int
    map_channels: int = 0
    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def create_image_tower(name: str, *, pretrained: str, size: int) -> ImageTower:
    """Build a tower.

    Args:
        name: a model of timm, with the tag of its weights or without (`resnet50.tv_in1k`, `weaksvr_vit`); or `pixels`,
            whose features are the flat image (3 * size * size), the channels one after the other, not normalised.
        pretrained: `hub` for the weights that timm names, from the hub or its cache; a file of them (safetensors, or a
            state dict by `torch.save`), all of whose tensors are used, but for the classifier; empty for random ones.
        size: height and width of the images in pixels; 0 takes the model's own, which `pixels` has not.

    Raises:
        OptionError: if there is no such model or tag, it does not take this size, or the weights cannot be had or are
            another model's.
    """
    if size < 0:
        raise OptionError(f"images cannot be {size} pixels high; give data.size, or 0 for the model's own")
    if name == PIXELS:
        return _pixels(pretrained, size)
    published = timm.get_pretrained_cfg(_known(name), allow_unregistered=True)
    fixed = published is not None and published.fixed_input_size
    try:
        module = timm.create_model(name, num_classes=0, **({"img_size": size} if size and fixed else {}))
    except Exception as error:  # each of timm's models refuses what it cannot be in its own way
        raise OptionError(f"model.vision = {name!r} cannot be created: {_first_line(error)}") from error
    config = resolve_model_data_config(module)
    height, width = (size, size) if size else config["input_size"][1:]
    feature_dim = _feature_dim(module, name, height=height, width=width)
    if pretrained:
        _load(module, name, published, pretrained)
    return ImageTower(
        module=module, feature_dim=feature_dim, height=height, width=width, mean=config["mean"], std=config["std"]
    )


def _pixels(pretrained: str, size: int) -> ImageTower:
    if pretrained:
        raise OptionError(f"the image tower {PIXELS} has no weights to load; leave model.vision_pretrained empty")
    if not size:
        raise OptionError(f"the image tower {PIXELS} has no size of its own; give data.size")
    return ImageTower(
        module=nn.Flatten(), feature_dim=3 * size * size, height=size, width=size, mean=(0.0,) * 3, std=(1.0,) * 3
    )


def _known(name: str) -> str:
    if name in {*timm.list_models(), *timm.list_models(include_tags=True)}:
        return name
    near = difflib.get_close_matches(name, [PIXELS, *timm.list_models(), *timm.list_pretrained()], n=3)
    hint = f"near it: {', '.join(near)}" if near else f"see timm.list_models(), or {PIXELS}"
    raise OptionError(f"model.vision = {name!r} is not a model of timm; {hint}")


@torch.no_grad()
def _feature_dim(module: nn.Module, name: str, *, height: int, width: int) -> int:
    """The size of the tower's output, asked of the tower itself."""
    patch = getattr(getattr(module, "patch_embed", None), "patch_size", (1, 1))
    if height % patch[0] or width % patch[1]:
        raise OptionError(
            f"{name} cuts images into patches of {patch[0]} x {patch[1]} pixels, of which {height} x {width} are no "
            "whole number; set data.size to a multiple"
        )
    training = module.training
    try:
        shape = tuple(module.eval()(torch.zeros(1, 3, height, width)).shape)
    except Exception as error:  # whatever too small an image does in a network
        raise OptionError(f"{name} does not take images of {height} x {width}: {_first_line(error)}") from error
    finally:
        module.train(training)
    if len(shape) != 2:
        raise OptionError(f"{name} gives features of shape {shape[1:]} an image, not one vector; take another model")
    return shape[1]


def _load(module: nn.Module, name: str, published: PretrainedCfg | None, pretrained: str) -> None:
    classifier = (published.classifier if published else None) or ()
    path = _from_hub(name, published) if pretrained == HUB else Path(pretrained)
    load_weights(
        module,
        read_weights(path),
        source=path,
        leave_out=(classifier,) if isinstance(classifier, str) else classifier,
        convert=_converter(module),
    )


def _from_hub(name: str, published: PretrainedCfg | None) -> Path:
    if published is None or not published.hf_hub_id:
        raise OptionError(
            f"{name} has no weights on the hub; give a file of them or leave model.vision_pretrained empty"
        )
    try:
        return hub_file(published.hf_hub_id, published.hf_hub_filename or _FILE)
    except OptionError as error:
        raise OptionError(f"{error}; without a connection give the file: --set model.vision_pretrained=FILE") from error


def _converter(module: nn.Module) -> Callable[[dict[str, Tensor]], Mapping[str, Tensor]]:
    """Timm's own for the model's family, where it has one: it fits tables of positions to the size of the images."""
    family = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
    if family is None:
        return dict

    def convert(tensors: dict[str, Tensor]) -> Mapping[str, Tensor]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's, of how timm indexes
            return family(tensors, module)

    return convert


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
