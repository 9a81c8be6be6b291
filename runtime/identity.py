"""What an embedding depends on besides the video: two models of one identity give one video the same embedding."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
from pathlib import Path
from typing import Any

from .. import __version__
from .errors import BundleError, VideoError, VideoFormatError, VideoNotFoundError
from .storage import sha256_of
from .verify import Model

__all__ = ["ModelIdentity", "content_hash", "dimensions_of", "identity_of"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ModelIdentity:
    """What makes two embeddings comparable number by number. Thresholds, names and text networks are no part of it.

    Attributes:
        bundle: name of the bundle, for people; not in the digest.
        vision, temporal: SHA-256 of the networks' files.
        precision, provider: of the networks, as in effect.
        sampling: key of the sampling.
        preprocess: the specification as JSON text.
        versions: of this package, and of what decodes and computes.
    """

    bundle: str
    vision: str
    temporal: str
    precision: str
    provider: str
    sampling: str
    preprocess: str
    versions: str

    @property
    def digest(self) -> str:
        """SHA-256 of everything but the bundle's name, in hex."""
        parts = {key: value for key, value in dataclasses.asdict(self).items() if key != "bundle"}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "digest": self.digest}


def identity_of(model: Model) -> ModelIdentity:
    """The identity of a loaded model.

    Raises:
        BundleError: if the bundle lacks a network for videos in the precision in effect.
    """
    av, onnxruntime = (importlib.import_module(name) for name in ("av", "onnxruntime"))
    manifest = model.bundle.manifest
    hashes = {}
    for role in ("vision", "temporal"):
        file = manifest.network(role, model.backend.precision)
        if file is None:
            raise BundleError(f"{model.bundle.path}: has no {role} network in {model.backend.precision}")
        hashes[role] = file.sha256
    return ModelIdentity(
        bundle=manifest.name,
        vision=hashes["vision"],
        temporal=hashes["temporal"],
        precision=model.backend.precision,
        provider=model.backend.provider,
        sampling=model.embedder.sampling.key,
        preprocess=json.dumps(model.embedder.preprocess.to_json(), sort_keys=True),
        versions=f"weaksvr {__version__}, av {av.__version__}, onnxruntime {onnxruntime.__version__}",
    )


def content_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of what a video consists of, in hex: of a file's bytes; of a folder, the names and hashes of its files.

    Raises:
        VideoError: if it is not there, cannot be read, or is a pipe, socket or device.
    """
    video = Path(path)
    try:
        if not video.is_dir():
            if video.exists() and not video.is_file():  # reading it might never end
                raise VideoFormatError(f"{video}: is a pipe, socket or device; only files and folders are read")
            return sha256_of(video)
        files = sorted(file for file in video.iterdir() if file.is_file() and not file.name.startswith("."))
        parts = [f"{sha256_of(file)} {file.name}\n" for file in files]
    except FileNotFoundError as error:
        raise VideoNotFoundError(f"{video}: no such file or folder; check the path") from error
    except VideoFormatError:
        raise
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise VideoError(f"{video}: cannot be read: {why}") from error
    return hashlib.sha256("".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def dimensions_of(model: Model) -> int:
    """D, the size of a video's vector, as the bundle's manifest says.

    Raises:
        BundleError: if it does not.
    """
    file = model.bundle.manifest.network("temporal", model.backend.precision)
    shapes = {tensor.name: tensor.shape for tensor in file.outputs} if file is not None else {}
    size = shapes.get("video_vector", ("?",))[-1]
    if not isinstance(size, int):
        raise BundleError(f"{model.bundle.path}: does not say how many dimensions a video's vector has")
    return size
