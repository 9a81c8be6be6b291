"""Checkpoints: `model.safetensors` beside a readable `config.json`; and the state from which a run resumes.

Each safetensors file carries its settings in its own header and is replaced in one step, so weights and settings can
never come from two moments; `config.json` is the same text for people.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..runtime.errors import CheckpointError
from ..runtime.storage import write_bytes, write_text
from .config import TrainConfig
from .model import WeakSVR
from .run_folder import CONFIG_NAME, WEIGHTS_NAME, find_checkpoint

__all__ = [
    "SCHEMA",
    "Checkpoint",
    "find_checkpoint",
    "load_checkpoint",
    "load_state",
    "optimizer_tensors",
    "restore_optimizer",
    "save_checkpoint",
    "save_state",
]

SCHEMA = "weaksvr.checkpoint/1"
_STATE_SCHEMA = "weaksvr.state/1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trained network and where it comes from.

    Attributes:
        model: in evaluation mode, on the CPU.
        config: settings of its run.
        record: everything else that `config.json` holds (data, metrics, versions).
        folder: the checkpoint's folder.
    """

    model: WeakSVR
    config: TrainConfig
    record: Mapping[str, Any]
    folder: Path


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(contiguous, metadata=dict(metadata)))


def _read(path: Path, schema: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and the JSON of one of our files."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if "weaksvr" not in metadata:
                raise CheckpointError(f"{path}: not a file of ours (its header names no settings); see weaksvr-train")
            record = json.loads(metadata["weaksvr"])
            found = record.get("schema") if isinstance(record, dict) else None
            if found != schema:
                raise CheckpointError(
                    f"{path}: its schema is {found!r}, this version reads {schema!r}; use the version that wrote it, "
                    "or train again"
                )
            return {name: file.get_tensor(name) for name in file.keys()}, record  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, struct.error, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors ({error}); the file is damaged") from error


def save_checkpoint(folder: Path, model: WeakSVR, record: Mapping[str, Any]) -> None:
    """Write `model.safetensors` and `config.json`, each in one step.

    Args:
        folder: created if absent.
        model: the network, without any wrapper.
        record: JSON-able; `schema` is added.

    Raises:
        OutputError: if they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"schema": SCHEMA, **record}, indent=2)
    write_text(folder / CONFIG_NAME, text + "\n")  # first: weights alone would be half a checkpoint
    _write(folder / WEIGHTS_NAME, model.state_dict(), {"weaksvr": text, "format": "pt"})


def load_checkpoint(path: Path) -> Checkpoint:
    """Load a RUN's best weights.

    Args:
        path: a RUN, or a checkpoint folder.

    Raises:
        CheckpointError: if there is none, it is damaged, or it is not ours.
    """
    folder = find_checkpoint(path)
    tensors, record = _read(folder / WEIGHTS_NAME, SCHEMA)
    readable = folder / CONFIG_NAME
    try:
        beside = json.loads(readable.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"{readable}: missing or not JSON; a checkpoint is {WEIGHTS_NAME} and {CONFIG_NAME}"
        ) from error
    if not isinstance(beside, dict) or beside.get("config") != record.get("config"):
        raise CheckpointError(f"{readable}: its settings are not those the weights were trained with; restore the file")
    try:
        config = TrainConfig.from_json(record.get("config", {}))
    except CheckpointError as error:
        raise CheckpointError(f"{folder / WEIGHTS_NAME}: {error}") from error
    model = WeakSVR(config, load_pretrained=False)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            f"{folder / WEIGHTS_NAME}: its tensors are not those of {config.model.clip} as this version builds it: "
            f"{str(error).splitlines()[-1].strip()}"
        ) from error
    return Checkpoint(model=model.eval(), config=config, record=record, folder=folder)


def save_state(path: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write everything a run needs to go on, as one file, in one step. Raises `OutputError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"schema": _STATE_SCHEMA, **record})
    _write(path, tensors, {"weaksvr": text, "format": "pt"})


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Inverse of `save_state`.

    Raises:
        CheckpointError: if there is no such file, it is damaged, or it is not ours.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is nothing to resume; start without --resume")
    return _read(path, _STATE_SCHEMA)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as flat names, e.g. `optimizer.12.exp_avg`."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{name}": torch.as_tensor(value)
        for index, values in state.items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Inverse of `optimizer_tensors`; learning rates are left as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
