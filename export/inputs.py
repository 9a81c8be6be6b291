"""What an export depends on, as digests that are had within seconds and without PyTorch.

- `model`: the content of its files, its name, and how a pretrained one takes frames.
- `tokenizer`: the content of its files.
- `pairs`: what is compared and calibrated on, as it is read from the pairs file or the run's data.
- `videos`: path, size and times of change of every video that is decoded, for a folder of frames of every frame. Their
  content is gigabytes, which could not be read in that time.
- `options`: of the command, but for where the bundle goes and how the result is printed.
- `tools`, `code`: versions of the libraries, and the content of this package's own sources.
- `machine`: its kind, its instructions for int8 and its GPUs, on which numbers and times depend.

What comes from the Hugging Face hub is never taken for unchanged: the hub would have to be asked.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ..runtime.backends.precision import has_int8_instructions
from ..runtime.errors import OptionError, WeakSVRError
from ..runtime.seal import digest_of
from ..runtime.storage import sha256_of
from ..train.config import TrainConfig
from ..train.run_folder import CONFIG_NAME, WEIGHTS_NAME, find_checkpoint
from .calibration import CalibrationData, calibration_data, given_data, without_pairs

__all__ = ["Inputs", "Request", "inputs_of"]

_PACKAGE: Final = Path(__file__).parents[1]
_PARTS: Final = ("runtime", "train", "export")
_CODE: Final = (".py", ".json")
_NOT_CODE: Final = {"assets", "__pycache__"}
_LIBRARIES: Final = (
    *("torch", "torchvision", "open_clip_torch", "timm", "safetensors", "transformers", "huggingface-hub"),
    *("onnx", "onnxscript", "onnx-ir", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-cu12", "tensorrt-cu13"),
    *("numpy", "av", "tokenizers", "ftfy"),
)
_OF_NETWORKS: Final = ("model", "tools", "code", "machine")
_OPEN_CLIP_CONFIG: Final = "open_clip_config.json"
_TOKENIZER_CONFIG: Final = "tokenizer_config.json"
_DRIVER: Final = Path("/proc/driver/nvidia")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What an export is asked for.

    Attributes:
        run: a RUN or checkpoint folder; None if `pretrained` is given.
        pretrained: see `load_pretrained`.
        pairs_file, tokenizer_file: see `run_source`.
        identity: options that go into the networks, JSON-able: the name, and how a pretrained model takes frames.
        options: all others, JSON-able.
    """

    run: Path | None
    pretrained: str | None
    pairs_file: Path | None
    tokenizer_file: Path | None
    identity: Mapping[str, Any]
    options: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """Digests of what an export depends on.

    Attributes:
        digests: by what they are of; none if one of them cannot be told.
        unknown: why not; empty if all can.
    """

    digests: Mapping[str, str]
    unknown: str = ""

    @property
    def networks(self) -> str:
        """Digest of what the networks in fp32 depend on; empty if it cannot be told."""
        return digest_of([self.digests[what] for what in _OF_NETWORKS]) if self.digests else ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Run:
    """A checkpoint without its weights; see `Checkpoint`."""

    config: TrainConfig
    record: Mapping[str, Any]
    folder: Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Source:
    """What is read of a RUN or a pretrained model; JSON-able, but for the data."""

    weights: Any
    tokenizer: Any
    data: CalibrationData


def inputs_of(request: Request) -> Inputs:
    """Digests of what an export depends on. Whatever is wrong with a file is left to the export itself to say."""
    try:
        source = _run(request) if request.run is not None else _pretrained(request)
        videos = [*source.data.videos, *(clip.video for clip in source.data.trained_on)]
        digests = {
            "model": digest_of([source.weights, request.identity]),
            "tokenizer": digest_of(source.tokenizer),
            "pairs": digest_of(dataclasses.asdict(source.data)),
            "videos": digest_of([_stamp(video) for video in videos]),
            "options": digest_of(request.options),
            "tools": digest_of([platform.python_version(), *map(_version, ("weaksvr", *_LIBRARIES))]),
            "code": digest_of([(str(file.relative_to(_PACKAGE)), sha256_of(file)) for file in _sources()]),
            "machine": digest_of([platform.system(), platform.machine(), has_int8_instructions(), *_gpus()]),
        }
    except (WeakSVRError, OSError, ValueError) as error:
        return Inputs(digests={}, unknown=str(error))
    return Inputs(digests=digests)


def _run(request: Request) -> _Source:
    folder = find_checkpoint(request.run or Path())
    record = _record(folder / WEIGHTS_NAME)
    run = _Run(config=TrainConfig.from_json(record.get("config", {})), record=record, folder=folder)
    settings, resolved = run.config.model, folder.resolve()
    own = Path(settings.tokenizer) if settings.tokenizer else None
    has_texts = settings.text != "none"
    return _Source(
        weights=[
            [sha256_of(folder / name) for name in (WEIGHTS_NAME, CONFIG_NAME)],
            [resolved.parent.name, resolved.name],  # one of them names the bundle
        ],
        tokenizer=_tokenizer(_text_config(settings.clip), request.tokenizer_file or own) if has_texts else None,
        data=calibration_data(run, request.pairs_file),
    )


def _record(weights: Path) -> dict[str, Any]:
    """What stands in the header of a run's weights file."""
    with weights.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size) if size < weights.stat().st_size else b"null")
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    record = json.loads(metadata["weaksvr"]) if isinstance(metadata, dict) and "weaksvr" in metadata else None
    if not isinstance(record, dict):
        raise OptionError(f"{weights}: is not a file of ours")
    return record


def _pretrained(request: Request) -> _Source:
    """A model from files; the hub may hold another one than the last time."""
    name = request.pretrained or ""
    if name.startswith("local-dir:"):
        folder = Path(name.removeprefix("local-dir:"))
        config = _json(folder / _OPEN_CLIP_CONFIG).get("model_cfg")
        files = sorted(path for path in folder.iterdir() if path.is_file())
        weights: list[Any] = [folder.name, [(file.name, sha256_of(file)) for file in files]]
        given: Path | None = request.tokenizer_file or folder
    else:
        architecture, _, tag = name.partition("/")
        file = Path(tag)
        if name.startswith("hf-hub:") or not (file.suffix and file.is_file()):  # no tag of open_clip has a suffix
            raise OptionError("the weights come from the Hugging Face hub, which may hold others by now")
        weights = [architecture, file.name, sha256_of(file), _if_there(file.parent / _OPEN_CLIP_CONFIG)]
        config, given = _text_config(architecture), request.tokenizer_file
    return _Source(
        weights=weights,
        tokenizer=_tokenizer(config, given),
        data=without_pairs() if request.pairs_file is None else given_data(request.pairs_file),
    )


def _text_config(model: str) -> Any:
    """The configuration of an architecture that open_clip or this package knows, read without loading open_clip."""
    spec = importlib.util.find_spec("open_clip")
    folders = [_PACKAGE / "train" / "open_clip_configs"]
    folders += [Path(place) / "model_configs" for place in (spec.submodule_search_locations or ())] if spec else []
    files = [folder / f"{model}.json" for folder in folders]
    file = next((file for file in files if re.fullmatch(r"[\w.+-]+", model) and file.is_file()), None)
    if file is None:
        raise OptionError(f"the configuration of {model} is not at hand")
    return _json(file)


def _tokenizer(config: Any, given: Path | None) -> Any:
    """The files that the tokenizer is made of; none for CLIP's own, which lies in open_clip.

    Args:
        config: of the model.
        given: a `tokenizer.json`, or the folder of a model.
    """
    text = config.get("text_cfg") if isinstance(config, dict) else None
    if not isinstance(text, dict) or "hf_model_name" in text:
        raise OptionError(
            "the text tower's configuration comes from the Hugging Face hub, which may hold another by now"
        )
    if given is None and text.get("hf_tokenizer_name"):
        raise OptionError("the tokenizer comes from the Hugging Face hub, which may hold another by now")
    if given is None or given.is_dir():
        return None
    return [sha256_of(given), _if_there(given.parent / _TOKENIZER_CONFIG)]


def _json(file: Path) -> dict[str, Any]:
    found = json.loads(file.read_bytes())
    if not isinstance(found, dict):
        raise OptionError(f"{file}: must hold a JSON object")
    return found


def _if_there(file: Path) -> str:
    return sha256_of(file) if file.is_file() else ""


def _stamp(video: Path) -> list[Any]:
    """What changes when a video does. A time of change is set by the system; that of the content, by anybody."""
    status = video.stat()
    frames: list[tuple[str, int, int, int]] = []
    if stat.S_ISDIR(status.st_mode):
        with os.scandir(video) as entries:
            frames = sorted((entry.name, *_times(entry.stat())) for entry in entries)
    return [str(video), *_times(status), frames]


def _times(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _sources() -> list[Path]:
    """Every file of this package that an export may depend on."""
    files = (file for part in _PARTS for suffix in _CODE for file in (_PACKAGE / part).rglob(f"*{suffix}"))
    return sorted(file for file in files if not _NOT_CODE & set(file.relative_to(_PACKAGE).parts))


def _gpus() -> Iterator[str]:
    """The driver and the kinds of GPU, as the driver itself says; nothing without one."""
    for file in (_DRIVER / "version", *sorted(_DRIVER.glob("gpus/*/information"))):
        if file.is_file():
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            yield from lines if file.name == "version" else (line for line in lines if line.startswith("Model"))
