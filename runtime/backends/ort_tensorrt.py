"""Runs a bundle's networks with ONNX Runtime's TensorRT provider, which builds engines when it first loads them."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ..bundle import ROLES, Bundle, NetworkFile
from ..engine_file import Profile, ShapeRange
from ..errors import DeviceError, OutputError
from .batches import parts_of
from .ort import OrtBackend, Provider

__all__ = ["OrtTensorrtBackend"]

TENSORRT: Final = "TensorrtExecutionProvider"
NO_TF32: Final = "NVIDIA_TF32_OVERRIDE"
BATCHES: Final = {"min": 1, "opt": 16, "max": 64}


class OrtTensorrtBackend(OrtBackend):
    """Runs a bundle's networks with TensorRT inside ONNX Runtime.

    The engines are built for batches of 1 to 64, and kept; a batch larger than that is run in parts. A network that
    TensorRT cannot run as a whole is an error: no other provider takes the rest. So that fp32 is not rounded to TF32,
    for which the provider has no option, NVIDIA_TF32_OVERRIDE is set to 0 in the environment of the process.

    Args:
        bundle: where the networks come from; what is loaded is what was hashed.
        precision: one of the bundle's, or `auto`: the fastest that a GPU runs.
        cache: folder for the engines and for how fast their parts were, which makes the next build faster; None is
            `weaksvr` in the user's cache folder.

    Raises:
        DeviceError: also if NVIDIA_TF32_OVERRIDE is set to something else.
        OutputError: if the folder cannot be made.
        Otherwise as `OrtBackend` on `cuda`.
    """

    gpu_provider: ClassVar[str] = TENSORRT

    def __init__(self, bundle: Bundle, *, precision: str = "auto", cache: str | os.PathLike[str] | None = None) -> None:
        if os.environ.setdefault(NO_TF32, "0") != "0":
            value = os.environ[NO_TF32]
            raise DeviceError(f"{NO_TF32} is {value}, with which TensorRT would round fp32 to TF32; set it to 0")
        self._cache = _default_cache() if cache is None else Path(cache)
        with contextlib.suppress(ImportError):  # where it is installed otherwise, the loader finds its libraries
            importlib.import_module("tensorrt_libs")  # TensorRT's wheel, whose libraries lie where no loader looks
        super().__init__(bundle, device="cuda", precision=precision)

    def run(self, role: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `OrtBackend.run`; also raises `BundleError` for an input that the engine was not built for."""
        self._session(role)
        file = self._file(role)
        arrays = {tensor.name: np.asarray(inputs[tensor.name]) for tensor in ROLES[role].inputs}
        parts = [super(OrtTensorrtBackend, self).run(role, part) for part in parts_of([self._profile(file)], arrays)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _load(self, role: str) -> Any:
        try:
            return super()._load(role)
        except DeviceError as error:
            raise DeviceError(
                f"{error}; is TensorRT there, of the version that ONNX Runtime was built for? For its wheels: "
                "pip install 'tensorrt-cu13<11'"
            ) from error

    def _gpu_providers(self, file: NetworkFile, options: Any) -> list[Provider]:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        # A folder for each network: the provider's own names do not tell a changed network from the old one.
        folder = self._cache / "tensorrt" / file.sha256
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made: {error.strerror or error}; set XDG_CACHE_HOME") from error
        shapes = {
            f"trt_profile_{key}_shapes": ",".join(
                f"{item.name}:{'x'.join(map(str, getattr(item, key)))}" for item in self._profile(file).inputs
            )
            for key in BATCHES
        }
        own = {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(folder.parent),
        }
        return [(TENSORRT, {**own, **shapes})]

    def _profile(self, file: NetworkFile) -> Profile:
        """The shapes that the engine is built for: those of the bundle's videos and texts, in batches."""
        manifest = self._bundle.manifest
        length = manifest.tokenizer.context_length if manifest.tokenizer else 1
        sides = {
            "H": manifest.preprocess.height,
            "W": manifest.preprocess.width,
            "T": manifest.sampling.num_frames,
            "L": length,
        }
        return Profile(
            inputs=tuple(
                ShapeRange(
                    name=tensor.name,
                    **{
                        key: (batch, *(side if isinstance(side, int) else sides[side] for side in tensor.shape[1:]))
                        for key, batch in BATCHES.items()
                    },
                )
                for tensor in file.inputs
            )
        )


def _default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weaksvr"
