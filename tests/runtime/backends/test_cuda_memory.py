from __future__ import annotations

import sys
import types
from importlib.machinery import ModuleSpec

import numpy as np
import pytest
from weaksvr.runtime.backends import cuda_memory
from weaksvr.runtime.backends.cuda_memory import CudaPython, PyCuda, open_cuda
from weaksvr.runtime.errors import DeviceError, MissingExtraError


class Error(Exception):
    """pycuda's."""


class SimulatedPycuda(types.ModuleType):
    """`pycuda.driver`, as far as it is used; its memory is the host's."""

    Error = Error

    def __init__(self) -> None:
        super().__init__("pycuda.driver")
        self.__spec__ = ModuleSpec(self.__name__, None)
        self.pushed = 0
        self.memory: dict[int, np.ndarray] = {}
        self.working = True
        driver = self

        class Device:
            def __init__(self, number: int) -> None:
                assert number == 0

            def name(self) -> str:
                return "NVIDIA H200"

            def compute_capability(self) -> tuple[int, int]:
                return 9, 0

            def retain_primary_context(self) -> Context:
                return Context()

        class Context:
            def push(self) -> None:
                driver.pushed += 1

            @staticmethod
            def pop() -> None:
                driver.pushed -= 1

        class Stream:
            handle = 11

            def synchronize(self) -> None:
                assert driver.pushed == 1

        self.Device, self.Stream = Device, Stream

    def init(self) -> None:
        if not self.working:
            raise Error("cuInit failed: no CUDA-capable device is detected")

    def mem_alloc(self, size: int) -> int:
        assert self.pushed == 1
        if size > 1000:
            raise Error("cuMemAlloc failed: out of memory")
        block = np.zeros(size, np.uint8)
        self.memory[block.ctypes.data] = block
        return block.ctypes.data

    def pagelocked_empty(self, shape: int, dtype: type) -> np.ndarray:
        return np.empty(shape, dtype)

    def memcpy_htod_async(self, dest: int, src: np.ndarray, stream: object) -> None:
        assert stream.handle == 11
        self.memory[dest][: src.nbytes] = src

    def memcpy_dtoh_async(self, dest: np.ndarray, src: int, stream: object) -> None:
        assert stream.handle == 11
        dest[...] = self.memory[src][: dest.nbytes]


def there_and_back(cuda) -> None:
    with cuda.active():
        address, pinned, result = cuda.on_device(8), cuda.pinned(8), cuda.pinned(8)
        pinned[...] = np.arange(8)
        cuda.to_device(address, pinned[:5])
        cuda.to_host(result[:5], address)
        cuda.synchronize()
    np.testing.assert_array_equal(result[:5], np.arange(5))


def test_cuda_python(simulation):
    cuda = open_cuda()
    assert isinstance(cuda, CudaPython)
    assert (cuda.device_name, cuda.compute_capability, cuda.stream) == ("NVIDIA H200", "9.0", 7)
    there_and_back(cuda)
    assert simulation.cuda.memory
    cuda.close()
    assert simulation.cuda.memory == {}
    assert simulation.cuda.streams == 0


def test_what_is_recorded_runs_when_it_is_launched(simulation):
    cuda = open_cuda()
    with cuda.active():
        address, pinned, result = cuda.on_device(4), cuda.pinned(4), cuda.pinned(4)
        pinned[...] = 1
        result[...] = 0

        def enqueue() -> None:
            cuda.to_device(address, pinned)
            cuda.to_host(result, address)

        graph = cuda.record(enqueue)
        cuda.synchronize()
        assert not result.any()
        for value in (2, 3):
            pinned[...] = value
            graph.launch()
            cuda.synchronize()
            assert (result == value).all()
        assert len(simulation.cuda.graphs) == 1
        del graph
        assert simulation.cuda.graphs == {}


def test_a_failed_recording_leaves_the_stream_usable(simulation):
    cuda = open_cuda()

    def enqueue() -> None:
        raise DeviceError("TensorRT refuses")

    with cuda.active():
        with pytest.raises(DeviceError, match="TensorRT refuses"):
            cuda.record(enqueue)
        with pytest.raises(DeviceError, match="the GPU does not work: cudaErrorStreamCaptureInvalidated"):
            cuda.record(cuda.synchronize)  # waiting is not allowed while it is recorded
    there_and_back(cuda)


def test_full_memory_is_one_line(simulation):
    cuda = open_cuda()
    with (
        cuda.active(),
        pytest.raises(DeviceError, match=r"the GPU does not work: cudaErrorMemoryAllocation; weaksvr-d"),
    ):
        cuda.on_device(2**31)


@pytest.fixture
def pycuda(monkeypatch):
    """pycuda alone is installed."""
    driver = SimulatedPycuda()
    package = types.ModuleType("pycuda")
    package.__spec__ = ModuleSpec("pycuda", None, is_package=True)
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    without(monkeypatch, "cuda")
    return driver


def without(monkeypatch, *packages):
    there = cuda_memory._is_there
    monkeypatch.setattr(cuda_memory, "_is_there", lambda module: module not in packages and there(module))


def test_pycuda_where_it_alone_is_installed(pycuda):
    cuda = open_cuda()
    assert isinstance(cuda, PyCuda)
    assert (cuda.device_name, cuda.compute_capability, cuda.stream) == ("NVIDIA H200", "9.0", 11)
    there_and_back(cuda)
    assert pycuda.pushed == 0
    assert cuda.record(lambda: None) is None
    assert "pycuda.autoinit" not in sys.modules
    cuda.close()


def test_pycudas_errors_are_ours(pycuda):
    cuda = open_cuda()
    with (
        pytest.raises(DeviceError, match="the GPU fails: cuMemAlloc failed: out of memory; weaksvr-doc"),
        cuda.active(),
    ):
        cuda.on_device(2000)
    assert pycuda.pushed == 0
    pycuda.working = False
    with pytest.raises(DeviceError, match="the GPU does not work: cuInit failed: no CUDA-capable device"):
        open_cuda()


def test_neither_is_installed(monkeypatch):
    without(monkeypatch, "cuda", "pycuda")
    with pytest.raises(
        MissingExtraError, match=r"needs cuda-python, which is not installed: pip install 'weaksvr\[tens"
    ):
        open_cuda()


def test_a_driver_module_that_cannot_be_loaded(monkeypatch):
    without(monkeypatch)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(DeviceError, match=r"cuda\.bindings\.runtime cannot be loaded"):
        open_cuda()


def test_no_gpu(monkeypatch):
    """With the real cuda-python, which finds that there is no driver or no device."""
    pytest.importorskip("cuda.bindings.runtime")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(
        DeviceError, match=r"the GPU does not work: cudaError\w+; weaksvr-doctor --device cuda says more"
    ):
        open_cuda()
