"""The TensorRT backend over the simulated GPU; what it shares with the other backends is in test_contract.py."""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import sys
import types
from importlib.machinery import ModuleSpec

import numpy as np
import pytest
from weaksvr.runtime.backends.cuda_memory import CudaPython
from weaksvr.runtime.backends.trt import MOST_SHAPES, TrtBackend
from weaksvr.runtime.bundle import Bundle, write_bundle
from weaksvr.runtime.errors import BundleError, BundleIntegrityError, DeviceError, MissingExtraError

BATCHES = ((1, 1, 4), (1, 4, 16))


@pytest.fixture
def make(toys, tmp_path, simulation):
    """Writes a bundle with engines; `changes` are those of every engine, a plan among them if it is to be another."""

    def make(*, roles=("vision", "temporal", "text"), precisions=("fp32",), **changes) -> Bundle:
        networks = [
            dataclasses.replace(network, precision=precision) for precision in precisions for network in toys.networks()
        ]
        engines = [
            toys.engine(network, batches=BATCHES, **{"data": simulation.plan(network.data), **changes})
            for network in networks
            if network.role in roles
        ]
        return write_bundle(tmp_path / "out", toys.manifest(), networks, engines=engines, tokenizer=toys.tokenizer())

    return make


def frames(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    return {"frames": np.random.default_rng([n, seed]).normal(size=(n, 3, 16, 16)).astype(np.float32)}


def test_what_is_in_effect_is_said(make):
    backend = TrtBackend(make(precisions=("fp32", "fp16")))
    assert (backend.device, backend.provider, backend.precision) == ("cuda", "TensorRT 11.4.0.106", "fp16")
    assert TrtBackend(make(), precision="fp32").precision == "fp32"


def test_the_second_run_of_a_shape_is_recorded_and_the_third_replayed(make, simulation):
    backend = TrtBackend(make())
    for run, graphs, launches in ((1, 0, 0), (2, 1, 1), (3, 1, 2)):
        backend.run("vision", frames(3, seed=run))
        assert (len(simulation.cuda.graphs), simulation.cuda.launches) == (graphs, launches)
    backend.run("vision", frames(2))
    backend.run("vision", frames(3))
    assert (len(simulation.cuda.graphs), simulation.cuda.launches) == (1, 3)


def test_shapes_of_long_ago_are_forgotten_and_no_memory_is_added(make, simulation):
    backend = TrtBackend(make())
    memory = set(simulation.cuda.memory)
    for batch in range(1, 15):
        for _ in range(2):
            backend.run("vision", frames(batch))
    assert len(simulation.cuda.graphs) == MOST_SHAPES
    assert set(simulation.cuda.memory) == memory


def test_everything_is_given_back(make, simulation):
    backend = TrtBackend(make())
    for _ in range(2):
        backend.run("vision", frames(2))
    assert simulation.cuda.memory
    del backend
    gc.collect()
    assert (simulation.cuda.memory, simulation.cuda.graphs, simulation.cuda.streams) == ({}, {}, 0)


def test_without_graphs_the_same_is_computed(make, simulation, monkeypatch):
    bundle = make()
    wanted = TrtBackend(bundle).run("vision", frames(2))["features"]
    monkeypatch.setattr(CudaPython, "record", lambda *_: None)
    plain = TrtBackend(bundle)
    for _ in range(3):
        np.testing.assert_array_equal(plain.run("vision", frames(2))["features"], wanted)
    assert simulation.cuda.launches == 0


def test_a_stripped_engine_takes_its_weights_from_the_network(make, simulation, toys):
    backend = TrtBackend(make(data=simulation.stripped, stripped=True))
    found = backend.run("vision", frames(3))["features"]
    np.testing.assert_allclose(found, frames(3)["frames"].mean((2, 3)) @ toys.model().tower, atol=1e-5)


def test_weights_that_do_not_fit(make, simulation, monkeypatch):
    bundle = make(data=simulation.stripped, stripped=True)
    monkeypatch.setattr(simulation.tensorrt.OnnxParserRefitter, "refit_from_bytes", lambda *_: False)
    with pytest.raises(
        DeviceError, match=r"engines/vision.*cannot be given its weights: TensorRT does not say why; bui"
    ):
        TrtBackend(bundle)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tensorrt": "10.16.1.11"}, r"it was built by TensorRT 10\.16\.1\.11, here is 11\.4\.0\.106"),
        ({"device_name": "NVIDIA L4", "compute_capability": "8.9"}, "built on NVIDIA L4 with compute capability 8.9"),
        ({"device_name": "NVIDIA H100"}, "built on NVIDIA H100 for this model alone, here is NVIDIA H200"),
    ],
)
def test_engines_of_another_machine_are_not_even_read(make, changes, reason, monkeypatch):
    bundle = make(**changes)
    monkeypatch.setattr(Bundle, "read", lambda *_: pytest.fail("was read"))
    with pytest.raises(DeviceError, match=reason) as caught:
        TrtBackend(bundle)
    assert str(caught.value).endswith(f"build it anew with weaksvr-build-engines {bundle.path}")
    assert "the vision engine in fp32 cannot be used" in str(caught.value)


def test_a_changed_plan_is_not_given_to_tensorrt(make, simulation, monkeypatch):
    bundle = make()
    path = bundle.path / bundle.manifest.engine("vision", "fp32").path
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    monkeypatch.setattr(simulation.tensorrt.Runtime, "deserialize_cuda_engine", lambda *_: pytest.fail("was given"))
    with pytest.raises(BundleIntegrityError, match="was changed since the bundle was made"):
        TrtBackend(bundle)


def test_what_tensorrt_says_is_passed_on(make):
    message = (
        r"vision.*cannot be loaded: Version tag does not match\. Current Version: 243; build it anew with weaksvr-b"
    )
    with pytest.raises(DeviceError, match=message) as caught:
        TrtBackend(make(data=b"a plan of something else"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "method", ["set_optimization_profile_async", "set_input_shape", "set_tensor_address", "execute_async_v3"]
)
def test_a_refusal_of_tensorrt_is_one_line(make, simulation, monkeypatch, method):
    monkeypatch.setattr(simulation.tensorrt.IExecutionContext, method, lambda *_: False)
    bundle = make()
    with pytest.raises(DeviceError, match=r"engines/vision.*: TensorRT refuses the .*: it does not say why"):
        TrtBackend(bundle).run("vision", frames(2))


def test_an_output_whose_size_is_not_known(make, simulation, monkeypatch):
    monkeypatch.setattr(simulation.tensorrt.IExecutionContext, "get_tensor_shape", lambda *_: (-1, 4))
    with pytest.raises(DeviceError, match=r"TensorRT refuses the shapes: frames would have \(-1, 4\)"):
        TrtBackend(make())


def test_no_context(make, simulation, monkeypatch):
    monkeypatch.setattr(simulation.tensorrt.ICudaEngine, "create_execution_context", lambda *_: None)
    with pytest.raises(DeviceError, match="TensorRT refuses the context"):
        TrtBackend(make())


def test_an_engine_of_another_network(make, simulation, toys):
    temporal = list(toys.networks())[1]
    message = (
        r"engines/vision.* has 2 profiles and the tensors features \(float32\), frame_features \(float32\), video_"
    )
    with pytest.raises(BundleError, match=message):
        TrtBackend(make(data=simulation.plan(temporal.data)))


def test_an_engine_with_other_profiles(make, simulation, monkeypatch):
    monkeypatch.setattr(simulation.tensorrt.ICudaEngine, "num_optimization_profiles", 1)
    with pytest.raises(BundleError, match=r"has 1 profiles .*which is not what the manifest says of it"):
        TrtBackend(make())


@pytest.mark.parametrize(
    ("options", "made", "message"),
    [
        ({}, {"roles": ()}, "has no TensorRT engines; build them with weaksvr-build-engines"),
        ({}, {"roles": ("vision", "text")}, "has no TensorRT engines; build them with"),
        ({"precision": "fp16"}, {}, "has no TensorRT engines in 'fp16', only in fp32; build them with"),
    ],
)
def test_engines_that_are_not_there(make, options, made, message):
    with pytest.raises(DeviceError, match=message):
        TrtBackend(make(**made), **options)


def test_a_role_without_an_engine(make):
    backend = TrtBackend(make(roles=("vision", "temporal")))
    with pytest.raises(BundleError, match="has no text engine in fp32; build it with weaksvr-build-engines"):
        backend.run("text", {"tokens": np.zeros((1, 12), np.int64)})


def test_tensorrt_is_not_installed(make, monkeypatch):
    bundle = make()
    hide(monkeypatch, "tensorrt")
    with pytest.raises(MissingExtraError, match=r"TensorRT, which is not installed: pip install 'weaksvr\[tensorrt\]'"):
        TrtBackend(bundle)


def test_tensorrt_cannot_be_loaded(make, monkeypatch, tmp_path):
    bundle = make()
    monkeypatch.delitem(sys.modules, "tensorrt")
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.11: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        DeviceError, match=r"tensorrt cannot be loaded: libnvinfer\.so\.11: cannot open .*; reinstall it"
    ):
        TrtBackend(bundle)


def hide(monkeypatch, name):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module == name else find(module))


@pytest.fixture
def lean(monkeypatch, simulation):
    """TensorRT's lean runtime beside the whole one."""
    module = types.ModuleType("tensorrt_lean")
    module.__dict__.update({name: value for name, value in vars(simulation.tensorrt).items() if name[0] != "_"})
    module.__spec__, module.__version__ = ModuleSpec("tensorrt_lean", None), "11.4.0.106"
    monkeypatch.setitem(sys.modules, "tensorrt_lean", module)
    return module


def test_the_lean_runtime_runs_what_was_built_for_it(make, simulation, monkeypatch, lean):
    simulation.tensorrt.__version__ = "11.5.0.20"
    assert TrtBackend(make(version_compatible=True)).provider == "TensorRT 11.4.0.106"
    with pytest.raises(DeviceError, match=r"built by TensorRT 11\.4\.0\.106, here is 11\.5\.0\.20"):
        TrtBackend(make())
    lean.__version__ = "11.3.0.1"
    with pytest.raises(DeviceError, match=r"built by TensorRT 11\.4\.0\.106, here is 11\.5\.0\.20"):
        TrtBackend(make(version_compatible=True))
    hide(monkeypatch, "tensorrt")
    with pytest.raises(DeviceError, match=r"built by TensorRT 11\.4\.0\.106, here is 11\.3\.0\.1"):
        TrtBackend(make(version_compatible=True))
    with pytest.raises(MissingExtraError, match="TensorRT, which is not installed"):
        TrtBackend(make())
