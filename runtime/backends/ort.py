"""Runs a bundle's networks with ONNX Runtime, on the CPU or through CUDA; nothing is chosen behind one's back."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, ClassVar, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..bundle import ROLES, Bundle, NetworkFile
from ..cpus import available_cpus
from ..errors import BundleError, DeviceError, MissingExtraError, OptionError, WeakSVRError
from .precision import fastest_precision

__all__ = ["Device", "Optimization", "OrtBackend", "Provider"]

Device = Literal["auto", "cpu", "cuda"]
Optimization = Literal["all", "basic"]
Provider = str | tuple[str, dict[str, str]]
"""A name, and options."""

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
GPU_ONLY: Final = frozenset({"fp16"})  # CPU sessions compute them in fp32 at best, and crash at worst
FATAL_ONLY: Final = 4  # its errors reach us as exceptions; printed as well, they would be said twice


class OrtBackend:
    """Runs a bundle's networks with ONNX Runtime; a session is made when its role is first asked for.

    Args:
        bundle: where the networks come from; what is loaded is what was hashed.
        device: `cpu`, `cuda`, or `auto`: CUDA if it is installed and runs the bundle's vision network, else the CPU.
        precision: one of the bundle's, or `auto`: the fastest that the device runs, see `fastest_precision`.
        num_threads: threads for one network on the CPU; None takes the CPUs that this process may use.
        optimization: how far ONNX Runtime may rewrite the graphs. `basic` leaves out what crashes it with fp16 on the
            CPU, and only then fp16 runs there: slowly, to compare it with something.

    Attributes:
        device: `cpu` or `cuda`, as in effect.
        provider: ONNX Runtime's name of it.
        precision: as in effect.
        num_threads: for one network on the CPU.
        notes: what a user should know, e.g. why `auto` did not take the GPU.

    Raises:
        OptionError: if `device` or `num_threads` cannot be meant.
        MissingExtraError: if ONNX Runtime is not installed.
        DeviceError: if the device or the precision is not available.
        BundleError: if a network cannot be loaded.
    """

    gpu_provider: ClassVar[str] = CUDA

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: Device = "auto",
        precision: str = "auto",
        num_threads: int | None = None,
        optimization: Optimization = "all",
    ) -> None:
        if device not in get_args(Device):
            raise OptionError(f"device {device!r} is not known; use one of {', '.join(get_args(Device))}")
        if num_threads is not None and num_threads < 1:
            raise OptionError(f"{num_threads = } must be at least 1")
        self._ort = _import_onnxruntime()
        self._bundle = bundle
        self._optimization = optimization
        self.num_threads: int = num_threads or available_cpus()
        self._sessions: dict[str, Any] = {}
        self._cuda_reason = ""  # what is missing, where CUDA is installed and does not work
        self.notes: tuple[str, ...] = ()
        if device == "auto":
            device = self._find_device(precision)
        elif device == "cuda":
            self._require_cuda()
        self.device: str = device
        self.provider: str = self.gpu_provider if device == "cuda" else CPU
        self.precision: str = self._choose_precision(precision)
        if device == "cuda":
            self._session("vision")  # whether CUDA works shows here, before any video is decoded

    def run(self, role: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `Backend.run`.

        Raises:
            BundleError: if the bundle has no such network, or it cannot be loaded or run.
            DeviceError: if the GPU fails.
        """
        session = self._session(role)
        names = [tensor.name for tensor in ROLES[role].outputs]
        feed = {
            tensor.name: np.ascontiguousarray(inputs[tensor.name], dtype=tensor.dtype) for tensor in ROLES[role].inputs
        }
        with self._translated(f"the {role} network cannot be run"):
            outputs = session.run(names, feed)
        return dict(zip(names, outputs, strict=True))

    def _session(self, role: str) -> Any:
        if role not in self._sessions:
            self._sessions[role] = self._load(role)
        return self._sessions[role]

    def _file(self, role: str) -> NetworkFile:
        file = self._bundle.manifest.network(role, self.precision)
        if file is None:
            raise BundleError(f"{self._bundle.path}: has no {role} network in {self.precision}")
        return file

    def _load(self, role: str) -> Any:
        file = self._file(role)
        data = self._bundle.read(file)
        options = self._ort.SessionOptions()
        options.log_severity_level = FATAL_ONLY
        if self._optimization == "basic":
            options.graph_optimization_level = self._ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.intra_op_num_threads = self.num_threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.load_model_format", "ONNX")  # not ORT's own, which was not scanned
        providers = [CPU] if self.device == "cpu" else self._gpu_providers(file, options)
        with self._translated(f"{file.path} cannot be loaded"):
            # No fallback: ONNX Runtime would print to stdout and go on with another provider.
            session = self._ort.InferenceSession(data, options, providers=providers, enable_fallback=0)
            active = session.get_providers()[0]
            tensors = [*session.get_inputs()], [*session.get_outputs()]
        if active != self.provider:
            reason = self._cuda_reason or "no working GPU or driver was found"
            raise DeviceError(f"device {self.device} does not work: {reason}{_both_wheels()}")
        for found, wanted in zip(tensors, (ROLES[role].inputs, ROLES[role].outputs), strict=True):
            missing = {tensor.name for tensor in wanted} ^ {tensor.name for tensor in found}
            if missing:
                raise BundleError(
                    f"{self._bundle.path}: the tensors of {file.path} are not those of a {role} network "
                    f"(unexpected or missing: {', '.join(sorted(missing))})"
                )
        return session

    def _gpu_providers(self, file: NetworkFile, options: Any) -> list[Provider]:  # noqa: ARG002 - for other providers
        """What runs a network on the GPU; may change the session's options."""
        return [(CUDA, {"use_tf32": "0"}), CPU]

    def _choose_precision(self, precision: str) -> str:
        """The precision that is meant, which the bundle has and the device runs. Raises `DeviceError`."""
        manifest, path, device = self._bundle.manifest, self._bundle.path, self.device
        there = manifest.precisions
        gpu_only = frozenset() if device == "cuda" or self._optimization == "basic" else GPU_ONLY
        usable = [name for name in there if name not in gpu_only]
        listed = ", ".join(there)
        if precision == "auto":
            if not usable:
                raise DeviceError(f"{path}: has no precision for the {device} (only {listed}); use --device cuda")
            return fastest_precision(usable, device=device, speed=manifest.speed)
        if precision not in there:
            raise DeviceError(f"{path}: has no precision {precision!r}; it has {listed}")
        if precision not in usable:
            raise DeviceError(f"precision {precision} needs a GPU; use --device cuda, or another precision ({listed})")
        return precision

    def _find_device(self, precision: str) -> Literal["cpu", "cuda"]:
        """`cuda` if it runs the vision network on a black frame. Why it does not, though installed, becomes a note."""
        if self.gpu_provider not in self._ort.get_available_providers():
            return "cpu"
        try:
            self._require_cuda()
            self.device, self.provider = "cuda", self.gpu_provider
            self.precision = self._choose_precision(precision)
            size = self._bundle.manifest.preprocess
            self.run("vision", {"frames": np.zeros((1, 3, size.height, size.width), np.float32)})
        except DeviceError as error:
            self._sessions.clear()
            self.notes = (f"the GPU is not used: {error}",)
            return "cpu"
        return "cuda"

    def _require_cuda(self) -> None:
        """Raises `DeviceError` if the installed wheel has no CUDA; loads the libraries from wheels if it has."""
        if self.gpu_provider not in self._ort.get_available_providers():
            raise DeviceError(
                "device cuda is not available: the installed ONNX Runtime is made for the CPU; "
                f"pip uninstall onnxruntime, then pip install 'weaksvr[gpu]'{_both_wheels()}"
            )
        printed = io.StringIO()  # it prints what it misses to stdout, where the result belongs
        with contextlib.redirect_stdout(printed), contextlib.suppress(Exception):
            self._ort.preload_dlls()
        self._cuda_reason = next(iter(printed.getvalue().splitlines()), "")

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """The border to ONNX Runtime: its exceptions become ours, with the first line of their text."""
        try:
            yield
        except (WeakSVRError, MemoryError):
            raise
        except Exception as error:  # its exceptions have no base class of their own
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if self.device == "cuda":
                raise DeviceError(f"{what} on cuda: {reason}{_both_wheels()}") from error
            raise BundleError(f"{self._bundle.path}: {what}: {reason}") from error


def _import_onnxruntime() -> ModuleType:
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise MissingExtraError("ONNX Runtime", "cpu", "running a bundle (on a GPU: weaksvr[gpu])") from error
    onnxruntime.set_default_logger_severity(FATAL_ONLY)
    return onnxruntime


def _both_wheels() -> str:
    """A sentence for the error if both wheels of ONNX Runtime are installed: they overwrite each other's files."""
    found = []
    for name in ("onnxruntime", "onnxruntime-gpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            importlib.metadata.distribution(name)
            found.append(name)
    if len(found) < 2:
        return ""
    return (
        "; both onnxruntime and onnxruntime-gpu are installed, which breaks both: "
        "pip uninstall onnxruntime onnxruntime-gpu, then pip install 'weaksvr[gpu]'"
    )
