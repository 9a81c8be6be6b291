"""Memory, one stream and CUDA graphs of a GPU, through cuda-python or else pycuda. The primary context is shared."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import weakref
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DeviceError, MissingExtraError

__all__ = ["Bytes", "Cuda", "CudaPython", "Graph", "PyCuda", "open_cuda"]

Bytes = NDArray[np.uint8]

DEVICE: Final = 0  # of those that CUDA_VISIBLE_DEVICES leaves


class Graph(Protocol):
    """Work that was recorded, to be enqueued at once; it is there as long as this object."""

    def launch(self) -> None: ...


class Cuda(Protocol):
    """The first visible GPU and one stream on it. Everything but `close` is called within `active`.

    Attributes:
        device_name: e.g. `NVIDIA H200`.
        compute_capability: e.g. `9.0`.
        stream: its handle.
    """

    device_name: str
    compute_capability: str
    stream: int

    def active(self) -> contextlib.AbstractContextManager[None]:
        """The primary context is this thread's within."""
        ...

    def on_device(self, size: int) -> int:
        """The address of `size` bytes, which are there until `close`."""
        ...

    def pinned(self, size: int) -> Bytes:
        """Host memory (size,) that copies need not stop for; there until `close`."""
        ...

    def to_device(self, address: int, source: Bytes) -> None: ...

    def to_host(self, target: Bytes, address: int) -> None: ...

    def synchronize(self) -> None: ...

    def record(self, enqueue: Callable[[], None]) -> Graph | None:
        """What `enqueue` enqueues, without running it; None where there are no graphs."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


def open_cuda() -> Cuda:
    """The first visible GPU, through cuda-python, or pycuda if that alone is installed.

    Raises:
        MissingExtraError: if neither is installed.
        DeviceError: if there is no working GPU.
    """
    if _is_there("cuda") and _is_there("cuda.bindings"):
        return CudaPython(_import("cuda.bindings.runtime"))
    if _is_there("pycuda"):
        return PyCuda(_import("pycuda.driver"))
    raise MissingExtraError("cuda-python", "tensorrt", "running TensorRT engines")


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _import(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise DeviceError(f"{module} cannot be loaded: {error}") from error


class CudaPython:
    """Through the runtime API, whose context is the primary one. Arguments: the module `cuda.bindings.runtime`."""

    def __init__(self, cudart: Any) -> None:
        self._cudart = cudart
        self._cleanup = contextlib.ExitStack()
        with self.active():
            properties = self._checked(cudart.cudaGetDeviceProperties(DEVICE))
            self._stream = self._checked(cudart.cudaStreamCreateWithFlags(cudart.cudaStreamNonBlocking))
        self._cleanup.callback(cudart.cudaStreamDestroy, self._stream)
        self.device_name: str = properties.name.rstrip(b"\0").decode()
        self.compute_capability = f"{properties.major}.{properties.minor}"
        self.stream = int(self._stream)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        self._checked(self._cudart.cudaSetDevice(DEVICE))
        yield

    def on_device(self, size: int) -> int:
        address = int(self._checked(self._cudart.cudaMalloc(size)))
        self._cleanup.callback(self._cudart.cudaFree, address)
        return address

    def pinned(self, size: int) -> Bytes:
        address = int(self._checked(self._cudart.cudaHostAlloc(size, self._cudart.cudaHostAllocDefault)))
        self._cleanup.callback(self._cudart.cudaFreeHost, address)
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def to_device(self, address: int, source: Bytes) -> None:
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._checked(self._cudart.cudaMemcpyAsync(address, source.ctypes.data, source.nbytes, kind, self._stream))

    def to_host(self, target: Bytes, address: int) -> None:
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._checked(self._cudart.cudaMemcpyAsync(target.ctypes.data, address, target.nbytes, kind, self._stream))

    def synchronize(self) -> None:
        self._checked(self._cudart.cudaStreamSynchronize(self._stream))

    def record(self, enqueue: Callable[[], None]) -> Graph:
        mode = self._cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._checked(self._cudart.cudaStreamBeginCapture(self._stream, mode))
        try:
            enqueue()
        finally:
            ended = self._cudart.cudaStreamEndCapture(self._stream)  # in any case, or the stream stays captured
        graph = self._checked(ended)
        try:
            executable = self._checked(self._cudart.cudaGraphInstantiate(graph, 0))
        finally:
            self._cudart.cudaGraphDestroy(graph)
        return _CudaGraph(self, self._cudart.cudaGraphExecDestroy, executable)

    def launch(self, executable: Any) -> None:
        """Enqueue what was recorded."""
        self._checked(self._cudart.cudaGraphLaunch(executable, self._stream))

    def close(self) -> None:
        self._cleanup.close()

    def _checked(self, result: tuple[Any, ...]) -> Any:
        """The value of a call. Raises `DeviceError`."""
        error, *values = result
        if error != self._cudart.cudaError_t.cudaSuccess:
            raise DeviceError(f"the GPU does not work: {error.name}; weaksvr-doctor --device cuda says more")
        return values[0] if values else None


class _CudaGraph:
    def __init__(self, cuda: CudaPython, destroy: Callable[[Any], Any], executable: Any) -> None:
        self._cuda = cuda
        self._executable = executable
        weakref.finalize(self, destroy, executable)

    def launch(self) -> None:
        self._cuda.launch(self._executable)


class PyCuda:
    """Through pycuda, which has no CUDA graphs. Arguments: the module `pycuda.driver`."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._kept: list[Any] = []
        try:
            driver.init()
            device = driver.Device(DEVICE)
            self._context = device.retain_primary_context()
            with self.active():
                self._stream = driver.Stream()
        except driver.Error as error:
            raise DeviceError(f"the GPU does not work: {error}; weaksvr-doctor --device cuda says more") from error
        self.device_name: str = device.name()
        self.compute_capability = "{}.{}".format(*device.compute_capability())
        self.stream = int(self._stream.handle)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        self._context.push()
        try:
            yield
        except self._driver.Error as error:
            raise DeviceError(f"the GPU fails: {error}; weaksvr-doctor --device cuda says more") from error
        finally:
            self._context.pop()

    def on_device(self, size: int) -> int:
        memory = self._driver.mem_alloc(size)
        self._kept.append(memory)
        return int(memory)

    def pinned(self, size: int) -> Bytes:
        memory: Bytes = self._driver.pagelocked_empty(size, np.uint8)
        return memory

    def to_device(self, address: int, source: Bytes) -> None:
        self._driver.memcpy_htod_async(address, source, self._stream)

    def to_host(self, target: Bytes, address: int) -> None:
        self._driver.memcpy_dtoh_async(target, address, self._stream)

    def synchronize(self) -> None:
        self._stream.synchronize()

    def record(self, enqueue: Callable[[], None]) -> None:  # noqa: ARG002 - as every `Cuda`
        return None

    def close(self) -> None:
        self._kept.clear()
