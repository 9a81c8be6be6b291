"""What every backend keeps to, whatever runs the networks. Those that need a GPU are tried where there is one."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from weaksvr.runtime.backends import Backend
from weaksvr.runtime.backends.ort import OrtBackend
from weaksvr.runtime.backends.ort_tensorrt import OrtTensorrtBackend
from weaksvr.runtime.backends.trt import TrtBackend
from weaksvr.runtime.bundle import ROLES, Bundle, NewEngine, NewNetwork, write_bundle
from weaksvr.runtime.errors import WeakSVRError

BATCHES = ((1, 1, 4), (1, 4, 16))  # two profiles: smallest, usual and largest batch
TOLERANCE = 1e-5
SIDES = {"N": 0, "B": 0, "H": 16, "W": 16, "T": 4, "F": 4, "D": 5, "L": 12}


def ort_cpu(toys, out, request) -> Backend:
    return OrtBackend(Bundle.open(toys.write(out)), device="cpu", num_threads=1)


def ort_cuda(toys, out, request) -> Backend:
    return OrtBackend(Bundle.open(toys.write(out)), device="cuda")


def ort_tensorrt(toys, out, request) -> Backend:
    return OrtTensorrtBackend(Bundle.open(toys.write(out)), cache=out.parent / "cache")


def pytorch(toys, out, request) -> Backend:
    torch = pytest.importorskip("torch")
    from weaksvr.train.torch_backend import TorchBackend

    weights = {name: torch.from_numpy(value) for name, value in dataclasses.asdict(toys.model()).items()}

    class Temporal(torch.nn.Module):
        def forward(self, features):
            hidden = torch.tanh(features @ weights["head"])
            return hidden, hidden.mean(1) @ weights["mix"]

    class Vision(torch.nn.Module):
        def forward(self, frames):
            return frames.mean((2, 3)) @ weights["tower"]

    class Text(torch.nn.Module):
        def forward(self, tokens):
            return weights["table"][tokens].mean(1)

        def trim(self, tokens):
            return tokens

    class Networks:
        vision, temporal, text = Vision(), Temporal(), Text()

    return TorchBackend(Networks(), torch.device("cpu"))


def with_engines(toys, out, make: Callable[[NewNetwork], NewEngine]) -> Bundle:
    networks = list(toys.networks())
    return write_bundle(out, toys.manifest(), networks, engines=map(make, networks), tokenizer=toys.tokenizer())


def tensorrt_simulated(toys, out, request) -> Backend:
    plan = request.getfixturevalue("simulation").plan
    bundle = with_engines(toys, out, lambda network: toys.engine(network, batches=BATCHES, data=plan(network.data)))
    return TrtBackend(bundle)


def tensorrt(toys, out, request) -> Backend:
    from weaksvr.runtime.backends.cuda_memory import open_cuda

    cuda = open_cuda()
    bundle = with_engines(toys, out, lambda network: built(toys, network, cuda))
    cuda.close()
    return TrtBackend(bundle)


def built(toys, network: NewNetwork, cuda) -> NewEngine:
    """The toy network, built by the installed TensorRT for this GPU."""
    import tensorrt as trt

    described = toys.engine(network, batches=BATCHES)
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    flags = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    definition = builder.create_network(0 if flags is None else 1 << int(flags))
    parser = trt.OnnxParser(definition, logger)
    assert parser.parse(network.data), parser.get_error(0)
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    for profile in described.profiles:
        optimization = builder.create_optimization_profile()
        for item in profile.inputs:
            optimization.set_shape(item.name, item.min, item.opt, item.max)
        config.add_optimization_profile(optimization)
    plan = builder.build_serialized_network(definition, config)
    assert plan is not None
    return dataclasses.replace(
        described,
        data=bytes(plan),
        tensorrt=trt.__version__,
        compute_capability=cuda.compute_capability,
        device_name=cuda.device_name,
    )


DEPLOYED = [
    pytest.param(ort_cpu, id="onnxruntime-cpu"),
    pytest.param(tensorrt_simulated, id="tensorrt-simulated"),
    pytest.param(
        ort_cuda, id="onnxruntime-cuda", marks=pytest.mark.gpu("onnxruntime", provider="CUDAExecutionProvider")
    ),
    pytest.param(
        ort_tensorrt,
        id="onnxruntime-tensorrt",
        marks=pytest.mark.gpu("onnxruntime", provider="TensorrtExecutionProvider"),
    ),
    pytest.param(tensorrt, id="tensorrt", marks=pytest.mark.gpu("tensorrt")),
]


@pytest.fixture(params=[*DEPLOYED, pytest.param(pytorch, id="pytorch")])
def backend(request, toys, tmp_path) -> Backend:
    return request.param(toys, tmp_path / "bundle", request)


@pytest.fixture(params=DEPLOYED)
def deployed(request, toys, tmp_path) -> Backend:
    """Those that meet inputs of strangers; training gives its own what fits."""
    return request.param(toys, tmp_path / "bundle", request)


@pytest.fixture(scope="module")
def reference(toy_bundle) -> Backend:
    return OrtBackend(Bundle.open(toy_bundle), device="cpu", num_threads=1)


@functools.cache
def example(role: str, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of a role that nobody may write to."""
    rng = np.random.default_rng([batch, seed])
    found = {}
    for tensor in ROLES[role].inputs:
        shape = [batch if side in ("N", "B") else SIDES.get(side, side) for side in tensor.shape]
        values = rng.integers(0, 10, shape) if tensor.dtype == "int64" else rng.normal(size=shape)
        found[tensor.name] = values.astype(tensor.dtype)
        found[tensor.name].flags.writeable = False
    return found


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, atol=TOLERANCE, rtol=TOLERANCE, err_msg=name)


def test_what_is_in_effect_is_said(backend):
    assert backend.device in ("cpu", "cuda")
    assert backend.precision == "fp32"
    assert backend.provider.strip() == backend.provider != ""


@pytest.mark.parametrize("role", ROLES)
def test_shapes_dtypes_and_values(backend, reference, role):
    for batch in (1, 2, 7, 64):
        found = backend.run(role, example(role, batch))
        for tensor in ROLES[role].outputs:
            expected = tuple(batch if side in ("N", "B") else SIDES[str(side)] for side in tensor.shape)
            assert found[tensor.name].shape == expected
            assert found[tensor.name].dtype == tensor.dtype
        assert_same(found, reference.run(role, example(role, batch)))


@pytest.mark.parametrize("role", ROLES)
def test_running_again_computes_the_same(backend, reference, role):
    """Three times each, in turns: as it is, recorded as a graph, and from the graph."""
    for seed in range(3):
        for batch in (2, 64, 3):
            inputs = example(role, batch, seed)
            assert_same(backend.run(role, inputs), reference.run(role, inputs))


@pytest.mark.parametrize("role", ROLES)
def test_results_are_the_callers(backend, role):
    inputs = {name: array.copy() for name, array in example(role, 2).items()}
    before = {name: array.copy() for name, array in inputs.items()}
    first = backend.run(role, inputs)
    kept = {name: array.copy() for name, array in first.items()}
    for seed in range(1, 4):
        backend.run(role, example(role, 2, seed))
        backend.run(role, example(role, 7, seed))
    for name, array in inputs.items():
        np.testing.assert_array_equal(array, before[name])
        array[...] = 1
    for name, array in first.items():
        np.testing.assert_array_equal(array, kept[name])
        assert not any(np.shares_memory(array, other) for other in inputs.values())
    outputs = list(first.values())
    assert not any(np.shares_memory(a, b) for a in outputs for b in outputs if a is not b)


@pytest.mark.parametrize("layout", ["every second", "column by column"])
@pytest.mark.parametrize("role", ROLES)
def test_inputs_need_not_be_contiguous(backend, reference, role, layout):
    wanted = reference.run(role, example(role, 3))

    def scattered(array: np.ndarray) -> np.ndarray:
        if layout == "column by column":
            return np.asfortranarray(array)
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        wide[..., ::2] = array
        return wide[..., ::2]

    inputs = {name: scattered(array) for name, array in example(role, 3).items()}
    assert not any(array.flags.c_contiguous for array in inputs.values())
    assert_same(backend.run(role, inputs), wanted)


def test_a_role_that_is_not_there(backend):
    with pytest.raises(WeakSVRError, match="has no smell") as caught:
        backend.run("smell", {"frames": np.zeros((1, 3, 16, 16), np.float32)})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(2, 4, 9), (2, 4), ()])
def test_inputs_that_do_not_fit(deployed, reference, shape):
    with pytest.raises(WeakSVRError) as caught:
        deployed.run("temporal", {"features": np.zeros(shape, np.float32)})
    assert "\n" not in str(caught.value)
    assert_same(deployed.run("temporal", example("temporal", 2)), reference.run("temporal", example("temporal", 2)))


def test_threads_do_not_mix_up_their_results(backend, reference):
    jobs = [(role, batch, seed) for seed in range(4) for batch in (1, 5, 20) for role in ROLES]
    wanted = [reference.run(role, example(role, batch, seed)) for role, batch, seed in jobs]

    def run(job: tuple[Any, ...]) -> dict[str, np.ndarray]:
        role, batch, seed = job
        return backend.run(role, example(role, batch, seed))

    with ThreadPoolExecutor(8) as pool:
        for found, expected in zip(pool.map(run, jobs), wanted, strict=True):
            assert_same(found, expected)
