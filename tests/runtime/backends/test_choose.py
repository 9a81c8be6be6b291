from __future__ import annotations

import pytest
from click.testing import CliRunner
from weaksvr.runtime import load
from weaksvr.runtime.backends import choose
from weaksvr.runtime.backends.choose import BACKENDS, open_backend
from weaksvr.runtime.backends.ort import OrtBackend
from weaksvr.runtime.backends.trt import TrtBackend
from weaksvr.runtime.bundle import Bundle, write_bundle
from weaksvr.runtime.commands.verify import verify
from weaksvr.runtime.errors import DeviceError, OptionError


def test_onnx_runtime_unless_another_is_asked_for(toy_bundle):
    assert isinstance(open_backend(Bundle.open(toy_bundle), device="cpu"), OrtBackend)


@pytest.mark.parametrize("backend", ["tensorrt", "onnxruntime-tensorrt"])
def test_tensorrt_runs_on_a_gpu_alone(toy_bundle, backend):
    message = f"backend {backend} runs on a GPU alone, not on device cpu; use --backend onnxruntime"
    with pytest.raises(OptionError, match=message):
        load(toy_bundle, backend=backend, device="cpu")


def test_an_unknown_backend(toy_bundle):
    with pytest.raises(
        OptionError, match="backend 'torch' is not known; use one of onnxruntime, tensorrt, onnxruntime-t"
    ):
        load(toy_bundle, backend="torch")


@pytest.mark.parametrize("backend", ["tensorrt", "onnxruntime-tensorrt"])
def test_nothing_else_is_taken_in_its_place(toy_bundle, backend, monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    monkeypatch.setattr(choose.OrtBackend, "run", lambda *_: pytest.fail("another backend ran"))
    with pytest.raises(DeviceError, match=r"has no TensorRT engines|device cuda is not available|does not work"):
        load(toy_bundle, backend=backend)


@pytest.fixture
def with_engines(toys, tmp_path, simulation):
    networks = list(toys.networks())
    engines = [
        toys.engine(network, batches=((1, 1, 4), (1, 4, 16)), data=simulation.plan(network.data))
        for network in networks
    ]
    out = tmp_path / "with engines"
    write_bundle(out, toys.manifest(), networks, engines=engines, tokenizer=toys.tokenizer())
    return out


def test_a_verdict_by_tensorrt_is_that_of_onnx_runtime_and_says_so(with_engines, videos):
    by = {name: load(with_engines, backend=name) for name in ("onnxruntime", "tensorrt")}
    assert isinstance(by["tensorrt"].backend, TrtBackend)
    for other in (videos.again, videos.other):
        wanted, found = (model.verify(videos.first, other) for model in by.values())
        assert found.same == wanted.same
        assert found.distance == pytest.approx(wanted.distance, abs=1e-6)
        assert (found.device, found.provider) == ("cuda", "TensorRT 11.4.0.106")
    text = by["tensorrt"].embed_text(["take the cup", "stir"]).sentence_features
    assert text == pytest.approx(by["onnxruntime"].embed_text(["take the cup", "stir"]).sentence_features, abs=1e-6)


def test_the_command(with_engines, videos):
    arguments = [str(videos.first), str(videos.again), "--bundle", str(with_engines), "--backend", "tensorrt"]
    result = CliRunner().invoke(verify, arguments, standalone_mode=False)
    assert result.return_value == 0
    assert "cuda (TensorRT 11.4.0.106), fp32" in result.output


def test_the_option_offers_what_there_is():
    option = next(parameter for parameter in verify.params if parameter.name == "backend")
    assert tuple(option.type.choices) == BACKENDS
    assert option.default == "onnxruntime"
