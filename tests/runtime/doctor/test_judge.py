from __future__ import annotations

import re

import pytest
from weaksvr.runtime.bundle import DEFAULT_BUNDLE, Bundle
from weaksvr.runtime.doctor.child import Outcome
from weaksvr.runtime.doctor.findings import Finding, cause_of
from weaksvr.runtime.doctor.gpu import Gpus
from weaksvr.runtime.doctor.judge import Wanted, judge_networks, judge_video
from weaksvr.runtime.doctor.probe import CODECS

GPU = Gpus(listed=("NVIDIA H200, 580.65.06, 9.0",))
NO_GPU = Gpus(why_none="there is no nvidia-smi")
ON_CUDA = {"device": "cuda", "provider": "CUDAExecutionProvider", "precision": "fp16", "threads": 4, "notes": []}
ON_CPU = {**ON_CUDA, "device": "cpu", "provider": "CPUExecutionProvider", "precision": "fp32"}


def never(wanted: Wanted) -> Outcome:
    raise AssertionError(wanted)


@pytest.fixture
def wanted(toy_bundle):
    def make(*, device: str = "auto", precision: str = "auto") -> Wanted:
        return Wanted(bundle=Bundle.open(toy_bundle), device=device, precision=precision)

    return make


@pytest.fixture
def gpu_wheel(tmp_path, monkeypatch):
    """The metadata of the wheel for GPUs, with an extra whose packages are all there."""
    folder = tmp_path / "onnxruntime_gpu-1.31.1.dist-info"
    folder.mkdir()
    needs = "Requires-Dist: numpy; extra == 'cuda'\n"
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: onnxruntime-gpu\nVersion: 1.31.1\n{needs}")
    monkeypatch.syspath_prepend(tmp_path)


def test_a_rarer_decoder_that_is_missing_is_a_warning():
    found = judge_video(Outcome(result={"decoders": [name for name in CODECS if name != "av1"]}))
    assert (found.state, found.why) == ("warning", "this build of av has no decoder for av1")
    assert " av==" in found.remedy


def test_all_decoders():
    assert judge_video(Outcome(result={"decoders": list(CODECS)})).state == "ok"


def test_on_a_gpu(wanted):
    (networks, verdicts), runs = judge_networks(Outcome(result=ON_CUDA), wanted(), gpus=GPU, retry=never)
    assert (networks.state, networks.what) == ("ok", "cuda (CUDAExecutionProvider), fp16, 4 threads")
    assert verdicts.state == "warning"  # the toy bundle is calibrated for fp32 alone
    assert runs is not None
    assert [comparison.threshold for comparison in runs.comparisons] == [None, None]


def test_the_cpu_that_was_asked_for_is_no_warning(wanted):
    (networks, _), _ = judge_networks(Outcome(result=ON_CPU), wanted(device="cpu"), gpus=GPU, retry=never)
    assert networks.state == "ok"


def test_other_notes_are_told(wanted):
    noted = {**ON_CPU, "notes": ["int8 was taken; nothing to do"]}
    (networks, _), runs = judge_networks(Outcome(result=noted), wanted(), gpus=NO_GPU, retry=never)
    assert (networks.state, networks.what.endswith("; int8 was taken")) == ("ok", True)
    assert runs is not None
    assert runs.notes == ("int8 was taken; nothing to do",)


def test_a_precision_that_is_not_there_is_mended_by_one_that_runs(wanted):
    failed = Outcome(kind="DeviceError", library="onnxruntime", reason="loading the bundle: has no precision 'int4'")
    tried = []

    def retry(other: Wanted) -> Outcome:
        tried.append((other.device, other.precision))
        return Outcome(result=ON_CPU)

    asked = wanted(precision="int4")
    (networks,), runs = judge_networks(failed, asked, gpus=GPU, retry=retry)
    assert tried == [("auto", "auto")]
    assert networks.remedy == f"weaksvr-verify A B --bundle {asked.bundle.path} --precision fp32"
    assert runs is None


@pytest.mark.parametrize(
    ("outcome", "remedy"),
    [
        (Outcome(kind="BundleError", library="onnxruntime", reason="x"), "weaksvr-export RUN --out "),
        (Outcome(kind="BundleIntegrityError", library="onnxruntime", reason="x"), "weaksvr-export RUN --out "),
        (
            Outcome(kind="ImportError", library="tokenizers", reason="x"),
            "pip install --force-reinstall .* tokenizers==",
        ),
        (Outcome(library="onnxruntime", reason="crash"), "pip install --force-reinstall .* onnxruntime"),
        (Outcome(library="nowhere", reason="crash"), "pip install --force-reinstall nowhere"),
        (Outcome(reason="starting: cannot be started"), "pip install --force-reinstall .* weaksvr=="),
    ],
)
def test_the_remedy_fits_the_cause(wanted, outcome, remedy):
    (networks,), _ = judge_networks(outcome, wanted(), gpus=GPU, retry=never)
    assert networks.why == outcome.reason
    assert re.match(remedy, networks.remedy)


def test_libraries_that_are_all_there_are_installed_anew(wanted, gpu_wheel):
    """A GPU and the wheel for it, and CUDA does not work all the same."""
    failed = Outcome(kind="DeviceError", library="onnxruntime", reason="device cuda does not work")
    (networks,), _ = judge_networks(failed, wanted(device="cuda"), gpus=GPU, retry=never)
    assert networks.remedy == "pip install --force-reinstall 'onnxruntime-gpu[cuda,cudnn]'"


def test_the_wheel_for_gpus_without_a_gpu_is_exchanged(wanted, gpu_wheel):
    noted = {**ON_CPU, "notes": ["the GPU is not used: no driver; advice"]}
    (networks, _), _ = judge_networks(Outcome(result=noted), wanted(), gpus=NO_GPU, retry=never)
    assert (networks.state, networks.why) == ("warning", "the GPU is not used: no driver")
    assert networks.remedy == "pip uninstall -y onnxruntime-gpu && pip install 'weaksvr[cpu]'"


@pytest.mark.skipif(not DEFAULT_BUNDLE.is_dir(), reason="this checkout holds no default bundle")
def test_the_default_bundle_needs_no_option():
    wanted = Wanted(bundle=Bundle.open(DEFAULT_BUNDLE, verify=False), device="cuda", precision="auto")
    failed = Outcome(kind="DeviceError", library="onnxruntime", reason="no cuda")
    (networks,), _ = judge_networks(failed, wanted, gpus=NO_GPU, retry=never)
    assert networks.remedy == "weaksvr-verify A B --device cpu"
    assert networks.why == "no cuda; no GPU was found: there is no nvidia-smi"


@pytest.mark.parametrize(
    ("state", "why", "remedy"), [("ok", "because", ""), ("ok", "a", "b"), ("problem", "", "b"), ("warning", "a", "")]
)
def test_a_finding_has_a_cause_and_a_remedy_or_neither(state, why, remedy):
    with pytest.raises(ValueError, match="thing: a cause and a remedy belong to a warning or a problem"):
        Finding(topic="folders", name="thing", state=state, what="it", why=why, remedy=remedy)


@pytest.mark.parametrize(
    ("text", "cause"), [("a: wrong; do that", "a: wrong"), ("a: wrong", "a: wrong"), ("a; b; c", "a"), ("a;b", "a;b")]
)
def test_the_cause_ends_where_the_advice_begins(text, cause):
    assert cause_of(text) == cause


@pytest.mark.parametrize(
    ("backend", "kind", "gpus", "remedy"),
    [
        ("tensorrt", "DeviceError", GPU, "weaksvr-build-engines {}"),
        ("tensorrt", "MissingExtraError", GPU, "pip install 'weaksvr[tensorrt]'"),
        ("tensorrt", "DeviceError", NO_GPU, "weaksvr-verify A B --bundle {} --backend onnxruntime"),
        ("tensorrt", "OptionError", GPU, "weaksvr-verify A B --bundle {} --backend onnxruntime"),
        ("tensorrt", "BundleError", GPU, "weaksvr-export RUN --out {}"),
        ("onnxruntime-tensorrt", "DeviceError", GPU, "pip install 'weaksvr[gpu]' 'tensorrt-cu13<11'"),
        ("onnxruntime-tensorrt", "DeviceError", NO_GPU, "weaksvr-verify A B --bundle {} --backend onnxruntime"),
    ],
)
def test_what_mends_tensorrt(toy_bundle, backend, kind, gpus, remedy):
    wanted = Wanted(bundle=Bundle.open(toy_bundle), backend=backend, device="auto", precision="auto")
    outcome = Outcome(kind=kind, library="tensorrt", reason="loading the bundle: it does not work")
    (networks,), runs = judge_networks(outcome, wanted, gpus=gpus, retry=never)
    assert runs is None
    assert (networks.state, networks.what) == ("problem", f"the networks do not run by {backend}")
    assert networks.remedy == remedy.format(toy_bundle)
    no_gpu = gpus is NO_GPU and kind == "DeviceError"
    assert networks.why.endswith("no GPU was found: there is no nvidia-smi" if no_gpu else "it does not work")
