from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
from weaksvr.runtime.backends import Backend
from weaksvr.runtime.backends.ort import OrtBackend
from weaksvr.runtime.bundle import Bundle, write_bundle
from weaksvr.runtime.errors import BundleError, BundleIntegrityError, DeviceError, OptionError

HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
cpu_wheel = pytest.mark.skipif(HAS_CUDA, reason="the GPU wheel of ONNX Runtime is installed")


@pytest.fixture(scope="module")
def bundle(toy_bundle):
    return Bundle.open(toy_bundle)


@pytest.fixture(scope="module")
def half_bundle(toys, tmp_path_factory):
    """A bundle that says of the same networks that they are fp16, too."""
    networks = list(toys.networks())
    half = [dataclasses.replace(network, precision="fp16") for network in networks]
    out = tmp_path_factory.mktemp("half") / "out"
    return write_bundle(out, toys.manifest(), [*half, *networks], tokenizer=toys.tokenizer())


def frames(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, 3, 16, 16)).astype(np.float32)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_networks_compute_what_their_weights_say(bundle, toys, n):
    backend: Backend = OrtBackend(bundle, device="cpu")
    model = toys.model()
    features = backend.run("vision", {"frames": frames(n)})
    assert list(features) == ["features"]
    np.testing.assert_allclose(features["features"], frames(n).mean((2, 3)) @ model.tower, atol=1e-5)
    inputs = np.random.default_rng(0).normal(size=(n, 5, 4)).astype(np.float32)
    found = backend.run("temporal", {"features": inputs})
    hidden = np.tanh(inputs @ model.head)
    np.testing.assert_allclose(found["frame_features"], hidden, atol=1e-5)
    np.testing.assert_allclose(found["video_vector"], hidden.mean(1) @ model.mix, atol=1e-5)
    tokens = np.arange(n * 3).reshape(n, 3) % 10
    text = backend.run("text", {"tokens": tokens})["text_features"]
    np.testing.assert_allclose(text, model.table[tokens].mean(1), atol=1e-5)


def test_what_is_in_effect_is_said(bundle):
    backend = OrtBackend(bundle, device="cpu", num_threads=1)
    assert (backend.device, backend.provider, backend.precision) == ("cpu", "CPUExecutionProvider", "fp32")
    assert backend.notes == ()


@cpu_wheel
def test_auto_takes_the_cpu_where_nothing_else_is(half_bundle):
    backend = OrtBackend(half_bundle)
    assert (backend.device, backend.precision) == ("cpu", "fp32")


@cpu_wheel
def test_a_missing_gpu_is_an_error(bundle):
    with pytest.raises(DeviceError, match=r"cuda is not available: .*pip uninstall onnxruntime, then pip install") as e:
        OrtBackend(bundle, device="cuda")
    assert "'weaksvr[gpu]'" in str(e.value)


@cpu_wheel
def test_both_wheels_at_once_are_named(bundle, monkeypatch, tmp_path):
    for name in ("onnxruntime", "onnxruntime-gpu"):
        folder = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.metadata.version("onnxruntime-gpu") == "1.0"
    with pytest.raises(DeviceError, match="both onnxruntime and onnxruntime-gpu are installed, which breaks both"):
        OrtBackend(bundle, device="cuda")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": "tpu"}, OptionError, "device 'tpu' is not known; use one of auto, cpu, cuda"),
        ({"num_threads": 0}, OptionError, "num_threads = 0 must be at least 1"),
        ({"precision": "int4"}, DeviceError, "has no precision 'int4'; it has fp16, fp32"),
        ({"precision": ""}, DeviceError, "has no precision ''"),
        ({"precision": "fp16", "device": "cpu"}, DeviceError, "precision fp16 needs a GPU; use --device cuda"),
    ],
)
def test_what_is_not_there_is_not_replaced(half_bundle, options, error, message):
    with pytest.raises(error, match=message):
        OrtBackend(half_bundle, **options)


def test_a_bundle_for_gpus_alone(half_bundle):
    only = tuple(file for file in half_bundle.manifest.files if file.precision == "fp16")
    bundle = Bundle(half_bundle.path, dataclasses.replace(half_bundle.manifest, files=only))
    with pytest.raises(DeviceError, match=r"has no precision for the cpu \(only fp16\)"):
        OrtBackend(bundle, device="cpu")


def test_sessions_are_made_when_they_are_needed(own_bundle):
    backend = OrtBackend(Bundle.open(own_bundle), device="cpu")
    next(own_bundle.glob("text.*")).unlink()
    backend.run("vision", {"frames": frames(1)})
    with pytest.raises(BundleIntegrityError, match=r"text\.fp32\..* is missing"):
        backend.run("text", {"tokens": np.zeros((1, 3), np.int64)})


def test_a_role_that_is_not_there(toys, tmp_path):
    vision, temporal, _ = toys.networks()
    backend = OrtBackend(write_bundle(tmp_path / "out", toys.manifest(), [vision, temporal]), device="cpu")
    with pytest.raises(BundleError, match="has no text network in fp32"):
        backend.run("text", {"tokens": np.zeros((1, 3), np.int64)})


def test_input_that_does_not_fit_is_one_line(bundle, capfd):
    backend = OrtBackend(bundle, device="cpu")
    with pytest.raises(BundleError, match="the temporal network cannot be run: ") as caught:
        backend.run("temporal", {"features": np.zeros((1, 2, 9), np.float32)})
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # the engine does not say it a second time


def test_a_network_of_another_kind(toys, tmp_path):
    vision, temporal, _ = toys.networks()
    swapped = dataclasses.replace(vision, data=temporal.data)
    backend = OrtBackend(write_bundle(tmp_path / "out", toys.manifest(), [swapped, temporal]), device="cpu")
    with pytest.raises(BundleError, match=r"tensors of vision\.fp32\..* are not those of a vision network"):
        backend.run("vision", {"frames": frames(1)})


def test_a_network_that_cannot_be_loaded(toys, tmp_path):
    graph = toys.model().graphs()["vision"]
    graph.graph.node[0].op_type = "Nonsense"
    networks = [toys.network("vision", graph), list(toys.networks())[1]]
    backend = OrtBackend(write_bundle(tmp_path / "out", toys.manifest(), networks), device="cpu")
    with pytest.raises(BundleError, match=r"vision\.fp32\..*\.onnx cannot be loaded: .*Nonsense") as caught:
        backend.run("vision", {"frames": frames(1)})
    assert "\n" not in str(caught.value)


def test_onnx_runtime_is_not_installed(toy_bundle, tmp_path):
    (tmp_path / "onnxruntime.py").write_text("raise ModuleNotFoundError('No module named onnxruntime')")
    program = "import sys; from weaksvr.runtime import load, MissingExtraError\ntry: load(sys.argv[1])\n"
    program += "except MissingExtraError as error: print(error)"
    found = subprocess.run(
        [sys.executable, "-c", program, toy_bundle],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "needs ONNX Runtime, which is not installed: pip install 'weaksvr[cpu]'" in found.stdout


@pytest.mark.skipif(not HAS_CUDA, reason="needs onnxruntime-gpu")
def test_cuda_computes_what_the_cpu_computes(bundle):
    results = [OrtBackend(bundle, device=device).run("vision", {"frames": frames(3)}) for device in ("cpu", "cuda")]
    np.testing.assert_allclose(results[0]["features"], results[1]["features"], atol=1e-5)
