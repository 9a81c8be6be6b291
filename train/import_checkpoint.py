"""A checkpoint of a published code, WeakSVR's or SVIP's, as a RUN of ours, every tensor of it accounted for.

WeakSVR's network is ours with the settings of the preset `paper`, under other names. Two of its layers take no part in
its features and are left out by name: a patch projection that is never called, and the classifier of the supervised
setting, which reads the video vector and gives nothing back to it. For SVIP's see `import_svip`.
"""

from __future__ import annotations

import dataclasses
import math
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import open_clip
import torch
from torch import Tensor

from .. import __version__
from ..runtime.errors import CheckpointError, OptionError, OutputError
from . import import_svip
from .checkpoint import save_checkpoint
from .config import ModelConfig, TrainConfig
from .model import WeakSVR
from .official_file import OfficialFile, read_official_file
from .presets import preset
from .run_folder import RunFolder

__all__ = ["PUBLISHED_CLIP", "Imported", "import_checkpoint", "official_name"]

PUBLISHED_CLIP: Final = "ViT-B-32-quickgelu"
UNUSED: Final = (
    "TE.patch_to_embedding.weight",
    "TE.patch_to_embedding.bias",
    "cls_fc.weight",
    "cls_fc.bias",
)
_HEADS, _DEPTH = 8, 2  # written into the published code, and not to be seen in any shape
_MOST_LISTED: Final = 10

_RENAMED: Final = (
    (r"vision\.(.+)", r"backbone.visual.\1"),
    (r"text\.clip\.(.+)", r"backbone.\1"),
    (r"logit_scale", r"logit_scale"),
    (r"fine_logit_scale", r"logit_scale2"),
    (r"temporal\.project_in\.(\w+)", r"ffn_seq.\1"),
    (r"temporal\.project\.(\w+)", r"ffn3.\1"),
    (r"temporal\.frame_head\.(\w+)", r"ffn_gumbel.\1"),
    *import_svip.TRANSFORMER_NAMES,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imported:
    """What became of a published checkpoint.

    Attributes:
        out: the RUN folder.
        network: `WeakSVR` or `SVIP`.
        config: settings of the network; those of its training are the preset's, as the file does not tell them.
        sha256: of the file.
        facts: the file's own numbers, see `OfficialFile`.
        used: tensors that the RUN holds.
        unused: names of the tensors that take no part in the network's features.
        left_out: names of what else the file holds.
    """

    out: Path
    network: str
    config: TrainConfig
    sha256: str
    facts: Mapping[str, float]
    used: int
    unused: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Published:
    """A published network, as one file has it.

    Attributes:
        network: its name.
        config: settings with which ours is the same.
        official_name: from our name of a tensor to theirs.
        unused: their tensors that take no part.
        not_in_file: ours that theirs does not have.
    """

    network: str
    config: TrainConfig
    official_name: Callable[[str], str]
    unused: tuple[str, ...]
    not_in_file: tuple[str, ...] = ()


def official_name(name: str) -> str:
    """The published code's name of one of our tensors.

    Args:
        name: as in the state of `WeakSVR`.

    Raises:
        OptionError: if the published network has nothing of the kind.
    """
    for ours, theirs in _RENAMED:
        found = re.fullmatch(ours, name)
        if found:
            return found.expand(theirs)
    raise OptionError(f"{name}: the published network has no such tensor")


def import_checkpoint(file: Path, out: Path, *, clip: str | None = None) -> Imported:
    """Make a RUN of a `.tar`, in one step.

    Args:
        file: by the published code of WeakSVR or SVIP.
        out: RUN folder; must be new or empty.
        clip: open_clip architecture of WeakSVR's towers, one with QuickGELU as OpenAI's CLIP has it; None is the
            published one.

    Raises:
        CheckpointError: if the file cannot be read, is another network's, or its tensors are not those of the
            published network; all that are missing, unknown or of another shape are named, or counted if they are many.
        OptionError: if `clip` is not an architecture of that kind, or the file is SVIP's, which has none.
        OutputError: if `out` is taken or cannot be written.
    """
    _check_towers(clip or PUBLISHED_CLIP)
    _refuse_taken(out)
    source = read_official_file(file)
    published = _published(source, clip)
    model = WeakSVR(published.config, load_pretrained=False)
    ours = model.state_dict()
    names = {name: published.official_name(name) for name in ours if name not in published.not_in_file}
    unused = _check_names(source, names.values(), published)
    _check_shapes(source, names, model)
    own = {name: ours[name] for name in published.not_in_file}
    model.load_state_dict({**own, **{name: source.tensors[official] for name, official in names.items()}})
    found = Imported(
        out=out,
        network=published.network,
        config=published.config,
        sha256=source.sha256,
        facts=source.facts,
        used=len(names),
        unused=unused,
        left_out=source.left_out,
    )
    _write(out, model.eval(), _record(found, model, source))
    return found


def _refuse_taken(out: Path) -> None:
    try:
        taken = out.exists() and not (out.is_dir() and next(out.iterdir(), None) is None)
    except OSError as error:
        raise OutputError(f"{out}: cannot be looked into: {error.strerror or error}") from error
    if taken:
        raise OutputError(f"{out}: exists and is not an empty folder; give another --out")


def _check_towers(clip: str) -> None:
    settings = open_clip.get_model_config(clip) if clip in open_clip.list_models() else None
    if settings is None:
        raise OptionError(f"--clip {clip}: is not an open_clip model; the published code has {PUBLISHED_CLIP}")
    if not settings.get("quick_gelu"):
        raise OptionError(
            f"--clip {clip}: has no QuickGELU, which the published code's CLIP has; use an architecture such as "
            f"{PUBLISHED_CLIP}"
        )


def _published(source: OfficialFile, clip: str | None) -> _Published:
    if not import_svip.is_svip(source.tensors):
        config = _config(source.tensors, clip or PUBLISHED_CLIP)
        return _Published(network="WeakSVR", config=config, official_name=official_name, unused=UNUSED)
    if clip is not None:
        raise OptionError(f"--clip {clip}: {source.path} is a checkpoint of SVIP, which has no CLIP; leave it out")
    return _Published(
        network="SVIP",
        config=import_svip.svip_config(source),
        official_name=import_svip.svip_name,
        unused=import_svip.UNUSED,
        not_in_file=import_svip.NOT_IN_FILE,
    )


def _config(tensors: Mapping[str, Tensor], clip: str) -> TrainConfig:
    """The published settings, with the sizes that the tensors have; `_check_shapes` then compares all of them.

    Sizes are read from how many numbers there are, so that no network is built that is larger than its file.
    """
    published = preset("paper")
    settings, data = published.model, published.data

    def count(name: str, default: int) -> int:
        return tensors[name].numel() if name in tensors else default

    layer, dim = "TE.transformer.layers.0", open_clip.get_model_config(clip)["embed_dim"]
    width = max(1, math.isqrt(count("ffn3.weight", settings.width**2)))
    inner = count(f"{layer}.0.fn.fn.to_out.0.weight", settings.heads * settings.head_dim * width) // width
    hidden = count(f"{layer}.1.fn.fn.net.0.weight", settings.mlp_width * width) // width
    claimed = count("TE.pos_embedding", (data.num_frames + 1) * width) // width - 1
    held = count("embed_head.1.weight", 0) // dim**2
    model: ModelConfig = dataclasses.replace(
        settings,
        clip=clip,
        pretrained="",
        width=width,
        depth=_DEPTH,
        heads=_HEADS,
        head_dim=max(1, inner // _HEADS),
        mlp_width=max(1, hidden),
    )
    frames = max(2, min(claimed, max(held, data.num_frames)))
    return dataclasses.replace(
        published, preset="imported", model=model, data=dataclasses.replace(data, num_frames=frames)
    )


def _check_names(source: OfficialFile, expected: Iterable[str], published: _Published) -> tuple[str, ...]:
    """Which tensors take no part. Raises `CheckpointError` unless all others are there, and nothing else is."""
    wanted = set(expected)
    there = set(source.tensors)
    missing, unknown = sorted(wanted - there), sorted(there - wanted - set(published.unused))
    if missing or unknown:
        parts = [("missing", missing), ("unknown", unknown)]
        told = "; ".join(f"{word}: {_listed(names)}" for word, names in parts if names)
        raise CheckpointError(
            f"{source.path}: its tensors are not those of the published {published.network} network; {told}"
        )
    return tuple(name for name in published.unused if name in there)


def _check_shapes(source: OfficialFile, names: Mapping[str, str], model: WeakSVR) -> None:
    vectors, frames = (
        source.tensors[name].shape[:1] if name in source.tensors else ()
        for name in ("embed_head.1.weight", "ffn_gumbel.weight")
    )
    if frames == (model.dim,) and vectors not in (frames, ()):
        raise CheckpointError(
            f"{source.path}: its video vectors have {vectors[0]} numbers and its frame features {frames[0]}, as "
            "without --use_text; a bundle needs both, and its texts, in one space"
        )
    wrong = [
        f"{official} {tuple(source.tensors[official].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in model.state_dict().items()
        if name in names and source.tensors[official := names[name]].shape != tensor.shape
    ]
    if wrong:
        raise CheckpointError(f"{source.path}: its tensors have other shapes than the network's: {_listed(wrong)}")


def _record(found: Imported, model: WeakSVR, source: OfficialFile) -> dict[str, Any]:
    return {
        "config": found.config.to_json(),
        "sampling": model.sampling.to_json(),
        "preprocess": model.preprocess.to_json(),
        "imported": {
            "network": found.network,
            "file": source.path.name,
            "sha256": found.sha256,
            "reported": dict(found.facts),
            "used": found.used,
            "unused": list(found.unused),
            "left_out": list(found.left_out),
        },
        "versions": {"weaksvr": __version__, "torch": torch.__version__, "open_clip": open_clip.__version__},
    }


def _write(out: Path, model: WeakSVR, record: Mapping[str, Any]) -> None:
    """Write the RUN beside its place, then put it there."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.", suffix=".tmp") as folder:
            made = Path(folder) / "run"
            save_checkpoint(RunFolder(made).checkpoint, model, record)
            if out.exists():
                out.rmdir()  # empty, unless something was put there meanwhile, which then stays
            made.replace(out)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from error


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more
