"""Published open_clip models, each with the preprocessing and the activation that its weights were trained with.

open_clip itself loads the weights. Three things it leaves to its caller, and each makes a model quietly worse: weights
with QuickGELU in an architecture without it; a weights file, of which it knows no preprocessing; a resize that is not
CLIP's.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip
from open_clip.pretrained import get_pretrained_cfg
from torch import nn

from ..runtime.errors import OptionError
from ..runtime.spec import PreprocessSpec, Resize
from ..runtime.storage import sha256_of
from .hub import refuse_unreachable
from .tower_tokenizer import TextConfig, text_config

__all__ = ["PretrainedClip", "load_pretrained", "preprocess_of"]

_CONFIG = "open_clip_config.json"  # lies beside the weights on the hub
_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")
_RESIZES: Mapping[str, Resize] = {"shortest": "shorter", "squash": "squash"}
_FORMS = "write NAME/TAG (ViT-B-32/openai), NAME/FILE with a weights file, or hf-hub:NAME or local-dir:FOLDER"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainedClip:
    """A published model.

    Attributes:
        clip: on the CPU, fp32, in evaluation mode.
        preprocess: how a frame becomes the image tower's input.
        text: what its texts need.
        label: short name, e.g. `ViT-B-32-openai`.
        facts: where the weights come from, JSON-able, without folders.
    """

    clip: nn.Module
    preprocess: PreprocessSpec
    text: TextConfig
    label: str
    facts: Mapping[str, Any]


def load_pretrained(name: str) -> PretrainedClip:
    """Load a model and its weights.

    Args:
        name: `NAME/TAG` as in `open_clip.list_pretrained()`; `NAME/FILE` with a weights file, whose
            `open_clip_config.json` belongs beside it; `hf-hub:NAME` or `local-dir:FOLDER` as in open_clip.

    Raises:
        OptionError: if there is no such model, its weights cannot be had or are another model's, or its preprocessing
            cannot be expressed.
    """
    schema = next((prefix for prefix in ("hf-hub:", "local-dir:") if name.startswith(prefix)), None)
    if schema is not None:
        if schema == "hf-hub:":
            _refuse_unreachable(name.removeprefix(schema), "NAME")
        text = text_config(name)
        clip = _create(name, name, {})
        label = Path(name.removeprefix(schema)).name
        source = name if schema == "hf-hub:" else label
        return _loaded(clip, text, name=name, label=label, facts={"model": source})
    architecture, slash, tag = name.partition("/")
    if not (architecture and slash and tag):
        raise OptionError(f"{name!r} does not name a model and its weights; {_FORMS}")
    text = text_config(_known(architecture))
    tagged = get_pretrained_cfg(architecture, tag)
    if tagged:
        _refuse_unreachable(tagged.get("hf_hub", "").rpartition("/")[0], architecture)
        clip = _create(name, architecture, {"pretrained": tag, **_of_tag(architecture, tag)})
        facts = {"model": architecture, "weights": tag}
        return _loaded(clip, text, name=name, label=f"{architecture}-{tag}", facts=facts)
    file = Path(tag)
    if not file.is_file():
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none"
        raise OptionError(f"{tag!r} is neither a file nor one of the tags of {architecture}, which are: {tags}")
    clip = _create(name, architecture, {"pretrained": tag, **_of_file(architecture, file)})
    facts = {"model": architecture, "weights": file.name, "sha256": sha256_of(file)}
    return _loaded(clip, text, name=name, label=f"{architecture}-{file.stem}", facts=facts)


def preprocess_of(config: Mapping[str, Any], *, name: str) -> PreprocessSpec:
    """A model's open_clip preprocessing as ours.

    Args:
        config: open_clip's `size`, `mode`, `mean`, `std`, `interpolation` and `resize_mode`.
        name: what errors call the model.

    Raises:
        OptionError: if frames would be prepared otherwise than the weights were trained with.
    """
    resize = _RESIZES.get(config["resize_mode"])
    if resize is None:
        raise OptionError(f"{name}: its images are resized by {config['resize_mode']!r}, which cannot be expressed")
    if config["interpolation"] not in ("bicubic", "random"):  # after training, open_clip's random is bicubic too
        raise OptionError(
            f"{name}: its images are scaled by {config['interpolation']} interpolation, but frames are scaled by "
            "bicubic interpolation alone"
        )
    size = config["size"]
    height, width = (size, size) if isinstance(size, int) else size
    mean, std = (
        tuple(value) if isinstance(value, list | tuple) else (value,) * 3 for value in (config["mean"], config["std"])
    )
    return PreprocessSpec(height=height, width=width, resize=resize, mean=mean, std=std)


def _known(architecture: str) -> str:
    models = open_clip.list_models()
    if architecture not in models:
        near = difflib.get_close_matches(architecture, models, n=3)
        hint = f"near it: {', '.join(near)}" if near else "see open_clip.list_models()"
        raise OptionError(f"{architecture!r} is not an open_clip model; {hint}")
    return architecture


def _loaded(clip: nn.Module, text: TextConfig, *, name: str, label: str, facts: Mapping[str, Any]) -> PretrainedClip:
    if isinstance(clip, open_clip.CoCa):
        raise OptionError(f"{name}: CoCa's image tower gives more than one vector an image; use a CLIP or SigLIP model")
    preprocess = preprocess_of(clip.visual.preprocess_cfg, name=name)  # type: ignore[union-attr, arg-type]
    return PretrainedClip(clip=clip.eval(), preprocess=preprocess, text=text, label=label, facts=facts)


def _of_tag(architecture: str, tag: str) -> dict[str, Any]:
    """What must be said about the activation."""
    return _activation(architecture, bool(get_pretrained_cfg(architecture, tag).get("quick_gelu")), f"the tag {tag}")


def _of_file(architecture: str, file: Path) -> dict[str, Any]:
    """What must be said about a weights file: its own settings, else what all published weights have in common."""
    beside = file.parent / _CONFIG
    if beside.is_file():
        try:
            config = json.loads(beside.read_text(encoding="utf-8"))
            model, preprocess = config["model_cfg"], config.get("preprocess_cfg", {})
            quick = bool(model.get("quick_gelu"))
            chosen = {key: preprocess[key] for key in _PREPROCESSING if preprocess.get(key) is not None}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise OptionError(f"{beside}: is not the configuration of an open_clip model") from error
        return {"force_preprocess_cfg": chosen, **_activation(architecture, quick, str(beside))}
    tags = [get_pretrained_cfg(architecture, tag) for tag in open_clip.list_pretrained_tags_by_model(architecture)]
    found = {json.dumps([tag.get(key) for key in _PREPROCESSING]): tag for tag in tags}
    if len(found) > 1:
        raise OptionError(
            f"{file}: published weights of {architecture} differ in how images are prepared, and no {_CONFIG} lies "
            "beside this file; put the one from its hub page there"
        )
    chosen = {key: tag[key] for tag in found.values() for key in _PREPROCESSING if tag.get(key) is not None}
    return {"force_preprocess_cfg": chosen}


def _activation(architecture: str, quick: bool, who: str) -> dict[str, Any]:
    has = bool((open_clip.get_model_config(architecture) or {}).get("quick_gelu"))
    if has and not quick:
        plain = architecture.removesuffix("-quickgelu")
        raise OptionError(f"{architecture} has QuickGELU, but {who} was trained without it; use {plain}")
    return {"force_quick_gelu": True} if quick else {}


def _refuse_unreachable(repository: str, architecture: str) -> None:
    try:
        if repository:
            refuse_unreachable(repository)
    except OptionError as error:
        raise OptionError(f"{error}; without a connection give a weights file, {architecture}/FILE") from error


def _create(name: str, model: str, options: Mapping[str, Any]) -> nn.Module:
    try:
        with _quiet():
            clip: nn.Module = open_clip.create_model(model, require_pretrained=True, **options)
            return clip
    except Exception as error:  # whatever is wrong with a file or a connection
        raise OptionError(f"{name}: cannot be loaded: {_reason(error)}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """open_clip logs, through the root logger, errors that it raises as well; they are said once, by us."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _reason(error: BaseException) -> str:
    text = str(error).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    if "loading state_dict" in first:
        return "the weights are not those of this architecture"
    if "Failed to download" in first or "HF Hub" in first:
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        return f"{first}{offline}; instead of a tag give a weights file"
    return f"{first}; is this a weights file of open_clip?"
