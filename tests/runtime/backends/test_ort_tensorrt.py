"""What is asked of ONNX Runtime's TensorRT provider; what it does with it shows on a GPU alone (test_contract.py)."""

from __future__ import annotations

import os
import sys

import numpy as np
import onnxruntime
import pytest
from weaksvr.runtime.backends import ort_tensorrt
from weaksvr.runtime.backends.ort import OrtBackend
from weaksvr.runtime.backends.ort_tensorrt import OrtTensorrtBackend
from weaksvr.runtime.bundle import Bundle
from weaksvr.runtime.errors import BundleError, DeviceError, OutputError


class Asked(OrtTensorrtBackend):
    """Takes the CPU's provider where TensorRT's is asked for, and keeps what was asked."""

    gpu_provider = "CPUExecutionProvider"

    def _gpu_providers(self, file, options):
        self.asked = {**getattr(self, "asked", {}), file.role: super()._gpu_providers(file, options)}
        self.no_cpu = options.get_session_config_entry("session.disable_cpu_ep_fallback")
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "0")
        return [self.gpu_provider]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")  # which is put back, whatever the backend makes of it


@pytest.fixture
def backend(toy_bundle, tmp_path):
    return Asked(Bundle.open(toy_bundle), cache=tmp_path / "cache")


def test_engines_for_the_bundles_shapes_are_asked_for_and_nothing_else(backend, toy_bundle, tmp_path):
    backend.run("text", {"tokens": np.zeros((1, 12), np.int64)})
    backend.run("temporal", {"features": np.zeros((1, 4, 4), np.float32)})
    shapes = {
        "vision": ("frames:1x3x16x16", "frames:16x3x16x16", "frames:64x3x16x16"),
        "temporal": ("features:1x4x4", "features:16x4x4", "features:64x4x4"),
        "text": ("tokens:1x12", "tokens:16x12", "tokens:64x12"),
    }
    for role, (smallest, usual, largest) in shapes.items():
        folder = tmp_path / "cache" / "tensorrt" / Bundle.open(toy_bundle).manifest.network(role, "fp32").sha256
        assert folder.is_dir()
        assert backend.asked[role] == [
            (
                "TensorrtExecutionProvider",
                {
                    "trt_engine_cache_enable": "1",
                    "trt_engine_cache_path": str(folder),
                    "trt_timing_cache_enable": "1",
                    "trt_timing_cache_path": str(folder.parent),
                    "trt_profile_min_shapes": smallest,
                    "trt_profile_opt_shapes": usual,
                    "trt_profile_max_shapes": largest,
                },
            )
        ]
    assert backend.no_cpu == "1"


def test_large_batches_are_run_in_parts_and_odd_shapes_refused(backend, toy_bundle):
    frames = np.random.default_rng(0).normal(size=(150, 3, 16, 16)).astype(np.float32)
    wanted = OrtBackend(Bundle.open(toy_bundle), device="cpu").run("vision", {"frames": frames})
    np.testing.assert_allclose(backend.run("vision", {"frames": frames})["features"], wanted["features"], atol=1e-6)
    with pytest.raises(
        BundleError, match=r"features of shape \(1, 5, 4\) fits no profile of the engine, which takes \(1"
    ):
        backend.run("temporal", {"features": np.zeros((1, 5, 4), np.float32)})


def test_fp32_is_not_tf32(toy_bundle, tmp_path, monkeypatch):
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    Asked(Bundle.open(toy_bundle), cache=tmp_path)
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    with pytest.raises(
        DeviceError, match="NVIDIA_TF32_OVERRIDE is 1, with which TensorRT would round fp32 to TF32; set"
    ):
        Asked(Bundle.open(toy_bundle), cache=tmp_path)


def test_the_libraries_of_tensorrts_wheel_are_loaded_first(toy_bundle, tmp_path, monkeypatch):
    (tmp_path / "tensorrt_libs.py").write_text("import os\nos.environ['TENSORRT_LIBS_WERE_LOADED'] = 'yes'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TENSORRT_LIBS_WERE_LOADED", "no")
    Asked(Bundle.open(toy_bundle), cache=tmp_path / "cache")
    sys.modules.pop("tensorrt_libs")
    assert os.environ["TENSORRT_LIBS_WERE_LOADED"] == "yes"


def test_a_folder_that_cannot_be_made(toy_bundle, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made: Not a directory; set XDG_CACHE_HOME"):
        Asked(Bundle.open(toy_bundle), cache=tmp_path / "file" / "cache")


@pytest.mark.parametrize(("variable", "folder"), [("XDG_CACHE_HOME", "weaksvr"), ("HOME", ".cache/weaksvr")])
def test_the_users_cache_folder(toy_bundle, tmp_path, monkeypatch, variable, folder):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    Asked(Bundle.open(toy_bundle))
    assert (tmp_path / folder / "tensorrt").is_dir()


@pytest.mark.skipif(
    "TensorrtExecutionProvider" in onnxruntime.get_available_providers(), reason="the GPU wheel is installed"
)
def test_a_wheel_without_tensorrt(toy_bundle):
    with pytest.raises(
        DeviceError, match="device cuda is not available: the installed ONNX Runtime is made for the CPU"
    ):
        OrtTensorrtBackend(Bundle.open(toy_bundle))


def test_another_provider_is_not_taken_in_its_place(toy_bundle, tmp_path, monkeypatch):
    """As a GPU wheel does where TensorRT's libraries are missing: the provider is listed, and does not come."""
    monkeypatch.setattr(Asked, "gpu_provider", ort_tensorrt.TENSORRT)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [ort_tensorrt.TENSORRT])
    monkeypatch.setattr(Asked, "_gpu_providers", lambda *_: ["CPUExecutionProvider"])
    message = r"device cuda does not work: .*; is TensorRT there, .*: pip install 'tensorrt-cu13<11'"
    with pytest.raises(DeviceError, match=message):
        Asked(Bundle.open(toy_bundle), cache=tmp_path)
