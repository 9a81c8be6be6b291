"""A GPU and TensorRT as the backend sees them, over ONNX Runtime on the CPU: for machines that have neither.

What is simulated keeps to the names and signatures of the real ones (`test_tensorrt_names.py` compares them), does
work when the stream is waited for and not before, and gives memory that holds nonsense until something is copied there.
"""
# ruff: noqa: ARG002, N801, N802, N815 - names and arguments are CUDA's and TensorRT's

from __future__ import annotations

import ctypes
import dataclasses
import enum
import sys
import types
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from typing import Any

import numpy as np
import onnxruntime
import pytest

PLAN = b"simulated plan\n"
STRIPPED = b"simulated plan without weights\n"
VERSION = "11.4.0.106"


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorStreamCaptureInvalidated = 901


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode(enum.IntEnum):
    cudaStreamCaptureModeThreadLocal = 1


@dataclasses.dataclass
class Properties:
    name: bytes = b"NVIDIA H200\0\0"
    major: int = 9
    minor: int = 0


class SimulatedCuda(types.ModuleType):
    """`cuda.bindings.runtime`, as far as it is used: one device, one stream."""

    cudaError_t = cudaError_t
    cudaMemcpyKind = cudaMemcpyKind
    cudaStreamCaptureMode = cudaStreamCaptureMode
    cudaStreamNonBlocking = 1
    cudaHostAllocDefault = 0

    def __init__(self) -> None:
        super().__init__("cuda.bindings.runtime")
        self.__spec__ = ModuleSpec(self.__name__, None)
        self.properties = Properties()
        self.memory: dict[int, np.ndarray] = {}
        self.queue: list[Callable[[], None]] = []
        self.recording: list[Callable[[], None]] | None = None
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.launches = 0
        self.streams = 0
        self.largest = 2**30

    def cudaSetDevice(self, device: int) -> tuple[cudaError_t]:
        return (cudaError_t.cudaSuccess,)

    def cudaGetDeviceProperties(self, device: int) -> tuple[cudaError_t, Properties]:
        return cudaError_t.cudaSuccess, self.properties

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[cudaError_t, int]:
        self.streams += 1
        return cudaError_t.cudaSuccess, 7

    def cudaStreamDestroy(self, stream: int) -> tuple[cudaError_t]:
        self.streams -= 1
        return (cudaError_t.cudaSuccess,)

    def cudaMalloc(self, size: int) -> tuple[cudaError_t, int | None]:
        if size > self.largest:
            return cudaError_t.cudaErrorMemoryAllocation, None
        block = np.full(size, 0xA5, np.uint8)
        self.memory[block.ctypes.data] = block
        return cudaError_t.cudaSuccess, block.ctypes.data

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[cudaError_t, int | None]:
        return self.cudaMalloc(size)

    def cudaFree(self, devPtr: int) -> tuple[cudaError_t]:
        del self.memory[devPtr]
        return (cudaError_t.cudaSuccess,)

    def cudaFreeHost(self, ptr: int) -> tuple[cudaError_t]:
        return self.cudaFree(ptr)

    def cudaMemcpyAsync(self, dst: int, src: int, count: int, kind: cudaMemcpyKind, stream: int) -> tuple[cudaError_t]:
        device = dst if kind == cudaMemcpyKind.cudaMemcpyHostToDevice else src
        assert count <= self.memory[device].nbytes
        self.enqueue(lambda: ctypes.memmove(dst, src, count))
        return (cudaError_t.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[cudaError_t]:
        if self.recording is not None:
            return (cudaError_t.cudaErrorStreamCaptureInvalidated,)
        while self.queue:
            self.queue.pop(0)()
        return (cudaError_t.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: int, mode: cudaStreamCaptureMode) -> tuple[cudaError_t]:
        self.recording = []
        return (cudaError_t.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[cudaError_t, list[Callable[[], None]]]:
        recorded, self.recording = self.recording or [], None
        return cudaError_t.cudaSuccess, recorded

    def cudaGraphInstantiate(self, graph: list[Callable[[], None]], flags: int) -> tuple[cudaError_t, int]:
        self.graphs[id(graph)] = graph
        return cudaError_t.cudaSuccess, id(graph)

    def cudaGraphDestroy(self, graph: list[Callable[[], None]]) -> tuple[cudaError_t]:
        return (cudaError_t.cudaSuccess,)

    def cudaGraphLaunch(self, graphExec: int, stream: int) -> tuple[cudaError_t]:
        self.launches += 1
        self.queue.extend(self.graphs[graphExec])
        return (cudaError_t.cudaSuccess,)

    def cudaGraphExecDestroy(self, graphExec: int) -> tuple[cudaError_t]:
        del self.graphs[graphExec]
        return (cudaError_t.cudaSuccess,)

    def enqueue(self, work: Callable[[], None]) -> None:
        (self.queue if self.recording is None else self.recording).append(work)


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING = 0, 1, 2


class ExecutionContextAllocationStrategy(enum.Enum):
    USER_MANAGED = 2


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._memory = 0

    def set_device_memory(self, memory: int, size: int) -> None:
        assert size >= self._engine.device_memory_size_v2
        self._memory = memory

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        return 0 <= profile_index < self._engine.num_optimization_profiles

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self._shapes:
            return self._shapes[name]
        results = self._compute({key: np.zeros(shape, self._dtype(key)) for key, shape in self._shapes.items()})
        return results[name].shape

    def execute_async_v3(self, stream_handle: int) -> bool:
        cuda = self._engine._cuda
        assert self._memory in cuda.memory
        shapes, addresses = dict(self._shapes), dict(self._addresses)  # a graph keeps what was set when it was recorded

        def work() -> None:
            feed = {}
            for name, shape in shapes.items():
                dtype = self._dtype(name)
                size = int(np.prod(shape)) * dtype.itemsize
                feed[name] = cuda.memory[addresses[name]][:size].view(dtype).reshape(shape).copy()
            for name, array in self._compute(feed).items():
                cuda.memory[addresses[name]][: array.nbytes] = array.reshape(-1).view(np.uint8)

        cuda.enqueue(work)
        return True

    def _dtype(self, name: str) -> np.dtype[Any]:
        return np.dtype(self._engine._tensors[name])

    def _compute(self, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [tensor.name for tensor in self._engine._session.get_outputs()]
        return dict(zip(names, self._engine._session.run(names, feed), strict=True))


class ICudaEngine:
    device_memory_size_v2 = 1000
    num_optimization_profiles = 2

    def __init__(self, cuda: SimulatedCuda, plan: bytes) -> None:
        self._cuda = cuda
        self._session: Any = None
        self._tensors: dict[str, str] = {}
        if plan.startswith(PLAN):
            self._load(plan.removeprefix(PLAN))

    def _load(self, network: bytes) -> None:
        self._session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
        kinds = {"tensor(float)": "float32", "tensor(int64)": "int64"}
        tensors = [*self._session.get_inputs(), *self._session.get_outputs()]
        self._tensors = {tensor.name: kinds[tensor.type] for tensor in tensors}

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_dtype(self, name: str) -> str:
        return self._tensors[name]

    def create_execution_context(self, strategy: ExecutionContextAllocationStrategy) -> IExecutionContext | None:
        assert strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        return IExecutionContext(self)


class Runtime:
    _cuda: SimulatedCuda

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        if not serialized_engine.startswith((PLAN, STRIPPED)):
            self._logger.log(ILogger.WARNING, "it looks odd")
            self._logger.log(ILogger.ERROR, "Version tag does not match.\nCurrent Version: 243")
            return None
        return ICudaEngine(self._cuda, serialized_engine)


class Refitter:
    def __init__(self, engine: ICudaEngine, logger: Any) -> None:
        self._engine = engine
        self._network = b""

    def refit_cuda_engine(self) -> bool:
        self._engine._load(self._network)
        return True


class OnnxParserRefitter:
    def __init__(self, refitter: Refitter, logger: Any) -> None:
        self._refitter = refitter

    def refit_from_bytes(self, model: bytes) -> bool:
        self._refitter._network = model
        return bool(model)


SIMULATED = (
    ILogger,
    ExecutionContextAllocationStrategy,
    IExecutionContext,
    ICudaEngine,
    Runtime,
    Refitter,
    OnnxParserRefitter,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simulation:
    """What is simulated.

    Attributes:
        cuda: the GPU.
        tensorrt: the module, in place as `tensorrt`.
        plan: makes a plan of an ONNX network.
        stripped: a plan that has no weights yet.
    """

    cuda: SimulatedCuda
    tensorrt: types.ModuleType
    plan: Callable[[bytes], bytes] = lambda network: PLAN + network
    stripped: bytes = STRIPPED


@pytest.fixture
def simulation(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulation]:
    """A GPU and TensorRT in the place of real ones."""
    cuda = SimulatedCuda()
    tensorrt = types.ModuleType("tensorrt")
    tensorrt.__spec__ = ModuleSpec("tensorrt", None)
    tensorrt.__version__ = VERSION
    tensorrt.nptype = lambda trt_type: np.dtype(trt_type).type
    for kind in SIMULATED:
        setattr(tensorrt, kind.__name__, kind)
    tensorrt.Runtime = type("Runtime", (Runtime,), {"_cuda": cuda})
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    return Simulation(cuda=cuda, tensorrt=tensorrt)
