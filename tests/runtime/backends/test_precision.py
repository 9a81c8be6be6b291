from __future__ import annotations

import dataclasses
import platform

import numpy as np
import pytest
import weaksvr.runtime.backends.precision as subject
from weaksvr.runtime.backends.ort import OrtBackend
from weaksvr.runtime.backends.precision import fastest_precision, has_int8_instructions
from weaksvr.runtime.bundle import write_bundle
from weaksvr.runtime.errors import DeviceError

X86 = "processor\t: 0\nflags\t\t: fpu avx2 avx512f {}\nbugs\t\t: none\n"


@pytest.fixture
def cpu(monkeypatch, tmp_path):
    """Let the machine have a Linux CPU of this description."""

    def describe(text):
        (tmp_path / "cpuinfo").write_text(text)
        monkeypatch.setattr(subject, "CPU_INFO", tmp_path / "cpuinfo")
        monkeypatch.setattr(platform, "system", lambda: "Linux")
        has_int8_instructions.cache_clear()

    yield describe
    has_int8_instructions.cache_clear()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (X86.format("avx512_vnni"), True),
        (X86.format("avx_vnni"), True),
        (X86.format("sse"), False),
        ("processor : 0\nFeatures : fp asimd asimddp\n", True),
        ("processor : 0\nFeatures : fp asimd\n", False),
        ("model name : a CPU with avx512_vnni\n", False),
        ("", False),
    ],
)
def test_the_cpu_says_what_it_has(cpu, text, found):
    cpu(text)
    assert has_int8_instructions() is found


def test_a_machine_that_does_not_say(cpu, monkeypatch, tmp_path):
    cpu("")
    monkeypatch.setattr(subject, "CPU_INFO", tmp_path / "none")
    assert has_int8_instructions() is False


@pytest.mark.parametrize(("machine", "found"), [("arm64", True), ("x86_64", False)])
def test_an_apple_says_it_by_its_name(cpu, monkeypatch, machine, found):
    cpu(X86.format("avx512_vnni"))
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert has_int8_instructions() is found


ALL = ("fp32", "fp16", "int8")


@pytest.mark.parametrize(
    ("precisions", "device", "speed", "taken"),
    [
        (ALL, "cuda", {}, "fp16"),
        (("fp32", "int8"), "cuda", {"fp32": 9, "int8": 1}, "fp32"),
        (("int8",), "cuda", {}, "int8"),
        (ALL, "cpu", {}, "int8"),
        (ALL, "cpu", {"fp32": 9, "int8": 4}, "int8"),
        (ALL, "cpu", {"fp32": 9, "int8": 10}, "fp32"),
        (("int8",), "cpu", {"fp32": 9, "int8": 10}, "int8"),
        (("fp32",), "cpu", {}, "fp32"),
    ],
)
def test_the_fastest(cpu, precisions, device, speed, taken):
    cpu(X86.format("avx512_vnni"))
    assert fastest_precision(precisions, device=device, speed=speed) == taken


def test_without_instructions_for_it_int8_is_not_the_fastest(cpu):
    cpu(X86.format(""))
    assert fastest_precision(ALL, device="cpu") == "fp32"
    assert fastest_precision(("int8",), device="cpu") == "int8"


@pytest.fixture
def bundle(toys, tmp_path):
    """A bundle that says of the same networks that they are of every precision, and that int8 is fast."""
    networks = [dataclasses.replace(network, precision=name) for name in ALL for network in toys.networks()]
    manifest = dataclasses.replace(toys.manifest(), speed={"fp32": 2.0, "int8": 1.0})
    return write_bundle(tmp_path / "out", manifest, networks, tokenizer=toys.tokenizer())


def test_auto_says_what_it_took(cpu, bundle):
    for flags, taken in (("avx512_vnni", "int8"), ("", "fp32")):
        cpu(X86.format(flags))
        assert OrtBackend(bundle, device="cpu").precision == taken
        assert OrtBackend(bundle, device="cpu", precision="fp32").precision == "fp32"


def test_fp16_runs_on_the_cpu_only_where_the_rewrites_are_safe(bundle):
    with pytest.raises(DeviceError, match="precision fp16 needs a GPU"):
        OrtBackend(bundle, device="cpu", precision="fp16")
    backend = OrtBackend(bundle, device="cpu", precision="fp16", optimization="basic")
    assert (backend.device, backend.precision) == ("cpu", "fp16")
    frames = np.ones((1, 3, 16, 16), np.float32)
    wanted = OrtBackend(bundle, device="cpu", precision="fp32").run("vision", {"frames": frames})
    np.testing.assert_allclose(backend.run("vision", {"frames": frames})["features"], wanted["features"], atol=1e-6)
