"""Runs a bundle's TensorRT engines, on TensorRT 10 or 11 and the GPU that they were built for."""

from __future__ import annotations

import importlib
import importlib.util
import math
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..bundle import ROLES, Bundle
from ..bundle_format import REQUIRED_ROLES
from ..engine_file import EngineFile, Machine, rebuild_command, why_unusable
from ..errors import BundleError, DeviceError, MissingExtraError
from .batches import choose_profile, parts_of
from .cuda_memory import Cuda, Graph, open_cuda
from .precision import fastest_precision

__all__ = ["TrtBackend"]

Arrays = Mapping[str, NDArray[Any]]
Shape = tuple[int, ...]

MOST_SHAPES: Final = 8  # that one engine keeps a context and a graph for; the memory is shared between them


class TrtBackend:
    """Runs a bundle's engines with TensorRT; an engine is loaded when its role is first asked for.

    A batch larger than an engine takes is run in parts. Calls from several threads wait for one another.

    Args:
        bundle: where the engines come from; what is loaded is what was hashed.
        precision: one that the bundle has engines in, or `auto`: the fastest of them.

    Attributes:
        device: `cuda`.
        provider: TensorRT and its version.
        precision: as in effect.
        num_threads: on the CPU, 1.
        notes: what a user should know; nothing so far.

    Raises:
        MissingExtraError: if TensorRT, or what allocates the GPU's memory, is not installed.
        DeviceError: if there are no engines in the precision, they are of another machine, or the GPU does not work.
        BundleError: if an engine cannot be read.
    """

    device: Final = "cuda"
    num_threads: Final = 1
    notes: tuple[str, ...] = ()

    def __init__(self, bundle: Bundle, *, precision: str = "auto") -> None:
        self._bundle = bundle
        self.precision = _choose_precision(bundle, precision)
        files = [file for file in bundle.manifest.engines if file.precision == self.precision]
        self._trt = _choose_runtime(files)
        self._cuda = open_cuda()
        weakref.finalize(self, self._cuda.close)
        machine = Machine(
            tensorrt=self._trt.__version__,
            compute_capability=self._cuda.compute_capability,
            device_name=self._cuda.device_name,
        )
        for file in files:
            reason = why_unusable(file, machine)
            if reason:
                raise DeviceError(
                    f"{bundle.path}: the {file.role} engine in {file.precision} cannot be used: {reason}; "
                    f"build it anew with {rebuild_command(bundle.path)}"
                )
        self.provider = f"TensorRT {machine.tensorrt}"
        self._log = _make_log(self._trt)
        self._runtime = self._trt.Runtime(self._log)  # its engine_host_code_allowed is False, and stays so
        self._networks: dict[str, _Network] = {}
        self._lock = threading.Lock()
        with self._lock, self._cuda.active():
            self._network("vision")  # whether TensorRT works shows here, before any video is decoded

    def run(self, role: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """See `Backend.run`.

        Raises:
            BundleError: if the bundle has no such engine, it cannot be loaded, or it does not take such inputs.
            DeviceError: if the GPU fails.
        """
        with self._lock, self._cuda.active():
            network = self._network(role)
            arrays = {tensor.name: np.asarray(inputs[tensor.name], dtype=tensor.dtype) for tensor in ROLES[role].inputs}
            parts = [network.run(part) for part in parts_of(network.file.profiles, arrays)]
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _network(self, role: str) -> _Network:
        if role not in self._networks:
            self._networks[role] = self._load(role)
        return self._networks[role]

    def _load(self, role: str) -> _Network:
        file = self._bundle.manifest.engine(role, self.precision)
        if file is None:
            raise BundleError(
                f"{self._bundle.path}: has no {role} engine in {self.precision}; build it with "
                f"{rebuild_command(self._bundle.path)}"
            )
        engine = self._runtime.deserialize_cuda_engine(self._bundle.read(file))
        if engine is None:
            raise self._refused(file, "cannot be loaded")
        if file.stripped:
            self._refit(file, engine)
        self._check_tensors(file, engine)
        return _Network(self._trt, self._log, self._cuda, file, engine)

    def _refit(self, file: EngineFile, engine: Any) -> None:
        """Give a stripped engine its weights."""
        manifest = self._bundle.manifest
        network = next(network for network in manifest.files if network.sha256 == file.network_sha256)
        refitter = self._trt.Refitter(engine, self._log)
        parser = self._trt.OnnxParserRefitter(refitter, self._log)
        if not parser.refit_from_bytes(self._bundle.read(network)) or not refitter.refit_cuda_engine():
            raise self._refused(file, "cannot be given its weights")

    def _check_tensors(self, file: EngineFile, engine: Any) -> None:
        found = {}
        for number in range(engine.num_io_tensors):
            name = engine.get_tensor_name(number)
            found[name] = np.dtype(self._trt.nptype(engine.get_tensor_dtype(name))).name
        layout = ROLES[file.role]
        wanted = {tensor.name: tensor.dtype for tensor in (*layout.inputs, *layout.outputs)}
        if found != wanted or engine.num_optimization_profiles != len(file.profiles):
            shown = ", ".join(f"{name} ({dtype})" for name, dtype in found.items())
            raise BundleError(
                f"{self._bundle.path}: {file.path} has {engine.num_optimization_profiles} profiles and the tensors "
                f"{shown}, which is not what the manifest says of it"
            )

    def _refused(self, file: EngineFile, what: str) -> DeviceError:
        folder = self._bundle.path
        reason = self._log.last or "TensorRT does not say why"
        return DeviceError(f"{folder}: {file.path} {what}: {reason}; build it anew with {rebuild_command(folder)}")


class _Network:
    """One engine, the memory that it runs in, and for every shape a context with its CUDA graph.

    The buffers are large enough for any shape, so that no address changes under a graph; and a context of its own keeps
    every graph from what another shape leaves in a context. They run one at a time, so they share the scratch memory.
    """

    def __init__(self, trt: ModuleType, log: Any, cuda: Cuda, file: EngineFile, engine: Any) -> None:
        self.file = file
        self._trt, self._log, self._cuda, self._engine = trt, log, cuda, engine
        layout = ROLES[file.role]
        self._dtypes = {tensor.name: np.dtype(tensor.dtype) for tensor in (*layout.inputs, *layout.outputs)}
        self._outputs = [tensor.name for tensor in layout.outputs]
        self._scratch_size = max(1, int(engine.device_memory_size_v2))
        self._scratch = cuda.on_device(self._scratch_size)
        self._bindings: OrderedDict[tuple[Shape, ...], _Binding] = OrderedDict()
        sizes = dict.fromkeys(self._dtypes, 1)
        for number, profile in enumerate(file.profiles):
            context = self._new_context(number, {item.name: item.max for item in profile.inputs})
            for name in sizes:
                sizes[name] = max(sizes[name], self._size(name, context))
        self._addresses = {name: cuda.on_device(size) for name, size in sizes.items()}
        self._pinned = {name: cuda.pinned(size) for name, size in sizes.items()}

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        binding = self._binding(inputs)
        for name, array in inputs.items():
            np.copyto(binding.view(name), array)
        binding.enqueue()
        self._cuda.synchronize()
        return {name: binding.view(name).copy() for name in self._outputs}

    def _binding(self, inputs: Arrays) -> _Binding:
        key = tuple(array.shape for array in inputs.values())
        if key not in self._bindings:
            self._bindings[key] = self._bind(inputs)
        self._bindings.move_to_end(key)
        if len(self._bindings) > MOST_SHAPES:
            self._bindings.popitem(last=False)
        return self._bindings[key]

    def _bind(self, inputs: Arrays) -> _Binding:
        context = self._new_context(
            choose_profile(self.file.profiles, inputs), {name: array.shape for name, array in inputs.items()}
        )
        for name, address in self._addresses.items():
            self._check(context.set_tensor_address(name, address), f"address of {name}")
        views = {
            name: self._pinned[name][: self._size(name, context)]
            .view(dtype)
            .reshape(tuple(context.get_tensor_shape(name)))
            for name, dtype in self._dtypes.items()
        }
        flat = {name: self._pinned[name][: view.nbytes] for name, view in views.items()}

        def enqueue() -> None:
            for name in inputs:
                self._cuda.to_device(self._addresses[name], flat[name])
            self._check(context.execute_async_v3(self._cuda.stream), "execution")
            for name in self._outputs:
                self._cuda.to_host(flat[name], self._addresses[name])

        return _Binding(self._cuda, views, enqueue)

    def _new_context(self, profile: int, shapes: Mapping[str, Shape]) -> Any:
        context = self._engine.create_execution_context(self._trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        self._check(context is not None, "context")
        context.set_device_memory(self._scratch, self._scratch_size)
        self._check(context.set_optimization_profile_async(profile, self._cuda.stream), f"profile {profile}")
        self._cuda.synchronize()
        for name, shape in shapes.items():
            self._check(context.set_input_shape(name, shape), f"shape {shape} of {name}")
        return context

    def _size(self, name: str, context: Any) -> int:
        """Bytes of a tensor in a context whose input shapes are set."""
        shape: Shape = tuple(context.get_tensor_shape(name))
        self._check(min(shape) > 0, f"shapes: {name} would have {shape}")
        return math.prod(shape) * self._dtypes[name].itemsize

    def _check(self, done: bool, what: str) -> None:
        if not done:
            raise DeviceError(
                f"{self.file.path}: TensorRT refuses the {what}: {self._log.last or 'it does not say why'}"
            )


class _Binding:
    """An engine at one shape: run as it is at first, and from then on as a CUDA graph, where there are graphs."""

    def __init__(self, cuda: Cuda, views: Mapping[str, NDArray[Any]], enqueue: Callable[[], None]) -> None:
        self._cuda = cuda
        self._views = views
        self._enqueue = enqueue
        self._graph: Graph | None = None
        self._is_warm = False

    def view(self, name: str) -> NDArray[Any]:
        """A tensor in pinned memory, of which there is one for all shapes."""
        return self._views[name]

    def enqueue(self) -> None:
        if self._is_warm and self._graph is None:
            self._graph = self._cuda.record(self._enqueue)
        if self._graph is None:
            self._enqueue()
        else:
            self._graph.launch()
        self._is_warm = True


def _choose_precision(bundle: Bundle, precision: str) -> str:
    """The precision that is meant, which the bundle has engines in. Raises `DeviceError`."""
    there = {(file.role, file.precision) for file in bundle.manifest.engines}
    usable = [name for name in bundle.manifest.precisions if all((role, name) in there for role in REQUIRED_ROLES)]
    if not usable:
        raise DeviceError(f"{bundle.path}: has no TensorRT engines; build them with {rebuild_command(bundle.path)}")
    if precision == "auto":
        return fastest_precision(usable, device="cuda")
    if precision not in usable:
        raise DeviceError(
            f"{bundle.path}: has no TensorRT engines in {precision!r}, only in {', '.join(usable)}; "
            f"build them with {rebuild_command(bundle.path)}"
        )
    return precision


def _choose_runtime(files: Sequence[EngineFile]) -> ModuleType:
    """TensorRT, or its lean runtime where that is of the engines' version and can run them.

    Raises:
        MissingExtraError: if none is installed.
        DeviceError: if one is and cannot be loaded.
    """
    are_lean = all(file.version_compatible for file in files)
    names = ("tensorrt", "tensorrt_lean") if are_lean else ("tensorrt",)
    found = []
    for name in names:
        if importlib.util.find_spec(name) is not None:
            try:
                found.append(importlib.import_module(name))
            except (ImportError, OSError) as error:
                raise DeviceError(f"{name} cannot be loaded: {error}; reinstall it") from error
    if not found:
        raise MissingExtraError("TensorRT", "tensorrt", "running TensorRT engines")
    return next((module for module in found if module.__version__ == files[0].tensorrt), found[0])


def _make_log(trt: ModuleType) -> Any:
    """A logger that keeps the last error and prints nothing."""

    class Log(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.last = ""

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.last = " ".join(msg.split())

    return Log()
