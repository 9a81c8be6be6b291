"""A Triton model repository out of a bundle: the bundle's own networks, and configurations that serve them.

    weaksvr.json                 what this folder is, with the SHA-256 of every file
    NAME_vision/config.pbtxt     frames -> features; an item of a batch is a frame, requests are joined to batches
    NAME_vision/1/model.onnx
    NAME_temporal/...            features of a view's frames -> frame_features, video_vector; a request is one view
    NAME_text/...                tokens -> text_features, with tokenizer.json; an item of a batch is a text
    NAME_video/config.pbtxt      an ensemble, vision then temporal: the frames of a view -> its embedding
    NAME_video/1/                empty, as Triton wants it for an ensemble

The vision network counts frames in its first dimension, the temporal one videos, so a batch of the one is an item of
the other. Triton joins the two where one step takes batches and the next does not: `NAME_vision` takes batches of
frames; `NAME_temporal` and the ensemble take none, and `reshape` gives the temporal network its first dimension.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

from ..runtime.bundle import Bundle
from ..runtime.errors import DeviceError, OptionError, OutputError
from ..runtime.storage import sha256_of, sync_directory, write_bytes
from .pbtxt import Message, text_format
from .triton_config import TOKENIZER, Content, TritonDevice

__all__ = ["TritonDevice", "TritonRepository", "refuse_foreign_repository", "write_triton"]

_SCHEMA: Final = "weaksvr.triton-repository/1"
_INDEX: Final = "weaksvr.json"
_ONLY_ON: Final[Mapping[str, TritonDevice]] = {"fp16": "gpu", "int8": "cpu"}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TritonRepository:
    """A model repository as written.

    Attributes:
        path: the folder that Triton is given.
        models: names of its models; the last is the ensemble.
        precision: of the networks.
        device: that the networks run on.
        files: SHA-256 of every file, by its path in the folder.
        notes: what its user should know.
    """

    path: Path
    models: tuple[str, ...]
    precision: str
    device: TritonDevice
    files: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "models": list(self.models),
            "precision": self.precision,
            "device": self.device,
            "files": dict(self.files),
            "notes": list(self.notes),
        }


def write_triton(
    bundle: Bundle, out: str | os.PathLike[str], *, precision: str = "fp32", device: TritonDevice = "gpu"
) -> TritonRepository:
    """Write a bundle's networks as a Triton model repository; the same bundle gives the same bytes.

    Everything is written into a neighbour of `out` first, which then takes its name, so `out` is never half of
    anything. If it was there before, the old folder is renamed in between: for that moment there is none of the name.

    Args:
        bundle: gives the networks, each checked against its hash as it is read.
        out: a new or empty folder (made with its parents), or one that was written by this function, which is replaced.
        precision: one of the bundle's. fp16 needs the GPU, int8 the CPU.
        device: what the networks are placed on.

    Raises:
        OptionError: if there is no such device.
        DeviceError: if the bundle has no such precision, or the device does not run it.
        BundleError: if the bundle is damaged, or a tensor has a size that Triton must know and the bundle does not say.
        OutputError: if `out` holds something else or cannot be written.
    """
    folder = Path(out)
    _check_choice(bundle, precision, device)
    refuse_foreign_repository(folder)
    content = Content.of(bundle, precision, device)
    configs = dict(content.configs())
    made = [path for path in (folder.parent, *folder.parent.parents) if not path.exists()]
    try:
        files = _write(folder, bundle, content, configs)
    except BaseException:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise
    return TritonRepository(
        path=folder,
        models=tuple(configs),
        precision=precision,
        device=device,
        files=files,
        notes=tuple(content.notes()),
    )


def refuse_foreign_repository(out: str | os.PathLike[str]) -> None:
    """Check that `write_triton` may write `out`, before any work is done. Raises `OutputError`."""
    folder = Path(out)
    if not os.path.lexists(folder):
        _refuse_unwritable_parent(folder)
        return
    if folder.is_symlink():
        raise OutputError(f"{folder}: is a link, which cannot be replaced by a folder; name the folder itself")
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written to as a folder: {error.strerror or error}") from error
    if names and not _is_as_written(folder):
        raise OutputError(
            f"{folder}: exists and is not just what weaksvr-triton wrote (something is foreign, was added or changed); "
            "choose a new or empty folder (Triton serves several: give it --model-repository for each)"
        )
    _refuse_unwritable_parent(folder)


def _refuse_unwritable_parent(folder: Path) -> None:
    there = next(path for path in folder.absolute().parents if os.path.lexists(path))
    if not there.is_dir():
        raise OutputError(f"{folder}: cannot be made: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: cannot be made: no permission to write in {there}")


def _is_as_written(folder: Path) -> bool:
    """Whether a folder holds exactly what `write_triton` wrote into it, so that nothing of anyone else's is lost."""
    try:
        document = json.loads((folder / _INDEX).read_bytes())
        schema, listed = document["schema"], dict(document["files"])
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
        del files[_INDEX]
        return schema == _SCHEMA and {name: sha256_of(path) for name, path in files.items()} == listed
    except (OSError, ValueError, RecursionError, TypeError, KeyError):
        return False


def _check_choice(bundle: Bundle, precision: str, device: TritonDevice) -> None:
    if device not in get_args(TritonDevice):
        raise OptionError(f"device {device!r} is not known; use one of {', '.join(get_args(TritonDevice))}")
    there = bundle.manifest.precisions
    if precision not in there:
        raise DeviceError(f"{bundle.path}: has no precision {precision!r}; it has {', '.join(there)}")
    needed = _ONLY_ON.get(precision, device)
    if needed != device:
        raise DeviceError(f"precision {precision} is for the {needed}; use --device {needed}, or another precision")


def _write(folder: Path, bundle: Bundle, content: Content, configs: Mapping[str, Message]) -> dict[str, str]:
    """Write all files beside `folder`, then let them take its place. Raises `OutputError` or `BundleError`."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".tmp"))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror or error}") from error
    try:
        temporary.chmod(0o755)
        files = {}
        for name, data in _files(bundle, content, configs):
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(temporary / name, data)
            files[name] = hashlib.sha256(data).hexdigest()
        (temporary / content.ensemble / "1").mkdir()
        write_bytes(temporary / _INDEX, _index(content, configs, files))
        _replace(folder, temporary)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return files


def _replace(folder: Path, new: Path) -> None:
    """Give `new` the name `folder`; what had it before is removed, or has it again if that fails."""
    old = new.with_suffix(".old")
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except BaseException:
        if old.exists():
            old.rename(folder)
        raise
    sync_directory(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _files(bundle: Bundle, content: Content, configs: Mapping[str, Message]) -> Iterator[tuple[str, bytes]]:
    for model, config in configs.items():
        yield f"{model}/config.pbtxt", text_format(config).encode()
    for role, network in content.networks.items():
        yield f"{content.model(role)}/1/model.onnx", bundle.read(network)
    tokenizer = bundle.manifest.tokenizer
    if tokenizer is not None and "text" in content.networks:
        yield f"{content.model('text')}/{TOKENIZER}", bundle.read(tokenizer)


def _index(content: Content, configs: Mapping[str, Message], files: Mapping[str, str]) -> bytes:
    document = {
        "schema": _SCHEMA,
        "name": content.manifest.name,
        "precision": content.precision,
        "device": content.device,
        "models": list(configs),
        "files": dict(files),
    }
    return json.dumps(document, indent=2).encode() + b"\n"
