from __future__ import annotations

import pytest
from weaksvr.runtime.bundle import Bundle, write_bundle
from weaksvr.runtime.doctor.engines import check_engines
from weaksvr.runtime.doctor.gpu import Gpus

H200 = Gpus(listed=("NVIDIA H200, 580.65.06, 9.0", "NVIDIA L4, 580.65.06, 8.9"))


@pytest.fixture
def make(toys, tmp_path):
    def make(**changes) -> Bundle:
        networks = list(toys.networks())
        engines = [toys.engine(network, **changes) for network in networks[:2]]
        out = tmp_path / "with engines"
        return write_bundle(out, toys.manifest(), networks, engines=engines, tokenizer=toys.tokenizer())

    return make


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def add(name: str, version: str) -> None:
        folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n")

    return add


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-cu13", "tensorrt-cu12"])
def test_engines_that_fit(make, wheel, name):
    wheel(name, "11.4.0.106")
    found = check_engines(make(), H200, wanted=True)
    assert (found.state, found.what) == ("ok", "vision fp32, temporal fp32; TensorRT 11.4.0.106, NVIDIA H200")


def test_without_a_gpu_nothing_is_missed(make):
    assert check_engines(make(), Gpus(why_none="none"), wanted=True).state == "ok"
    assert check_engines(make(), Gpus(listed=("NVIDIA H200, 580.65.06, [N/A]",)), wanted=True).state == "ok"


def test_no_engines(toy_bundle):
    assert check_engines(Bundle.open(toy_bundle), H200, wanted=True) is None


def test_the_lean_runtime_counts_for_what_it_runs(make, wheel):
    wheel("tensorrt-cu13", "11.5.0.20")
    wheel("tensorrt-lean-cu13", "11.4.0.106")
    assert check_engines(make(version_compatible=True), H200, wanted=False).state == "ok"
    found = check_engines(make(), H200, wanted=False)
    assert (found.state, found.why) == ("warning", "it was built by TensorRT 11.4.0.106, here is 11.5.0.20")


def test_a_path_with_a_space_is_quoted(make, wheel):
    wheel("tensorrt-cu13", "10.16.1.11")
    bundle = make()
    found = check_engines(bundle, H200, wanted=True)
    assert (found.state, found.remedy) == ("problem", f"weaksvr-build-engines '{bundle.path}'")
