"""Engines in an export and in `weaksvr-build-engines`, over a stand-in for TensorRT and a simulated GPU."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import onnx
import pytest
import weaksvr.export.child as tasks
import weaksvr.export.engines as subject
import weaksvr.export.gate as gate_module
from click.testing import CliRunner
from onnx import numpy_helper
from weaksvr.export.calibration import without_pairs
from weaksvr.export.commands.build_engines import command as build_engines
from weaksvr.export.commands.export import command as export
from weaksvr.export.engine_options import EngineOptions
from weaksvr.export.engines import find_machine, with_engines
from weaksvr.export.export import ExportOptions, export_run, export_source
from weaksvr.export.gate import Variant
from weaksvr.export.rebuild import rebuild_engines
from weaksvr.export.source import ExportSource
from weaksvr.export.to_fp16 import to_fp16
from weaksvr.runtime.bundle import DEFAULT_BUNDLE, Bundle, Calibration, NewTokenizer, Threshold, write_manifest
from weaksvr.runtime.engine_file import Machine, rebuild_command
from weaksvr.runtime.errors import ExportError, MissingExtraError, OptionError, OutputError
from weaksvr.runtime.spec import METHODS

TESTS = Path(__file__).parents[1]
VERSION = "11.4.0.106"


def loaded(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


gpu = loaded("simulated_gpu", TESTS / "runtime/backends/conftest.py")
stand_in = loaded("tensorrt_replica", TESTS / "export/tensorrt_replica.py")
made = stand_in.made


class Here:
    """A `Child` without a process: its tasks run here, each child with networks of its own."""

    def __init__(self, what, *, library="ONNX Runtime"):
        self.what, self.library, self.opened = what, library, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.opened.clear()

    def call(self, doing, task, *arguments, report=lambda _done, _total: None):
        tasks._OPENED[:] = self.opened
        original, tasks._answer = tasks._answer, lambda _, parts: report(*parts)
        try:
            result = tasks._TASKS[task](*arguments)
        except Exception as error:
            raise ExportError(f"{self.what}: {doing}: {str(error).splitlines()[0]}") from error
        finally:
            tasks._answer = original
        self.opened[:] = tasks._OPENED
        return result


class Builder:
    """What TensorRT builds here: plans that the simulated GPU runs.

    Attributes:
        change: what the builder makes of a network, by role; a good one makes nothing of it.
        types: of the layers that the inspector finds.
    """

    def __init__(self):
        self.change = {}
        self.types = ["Float"]
        self.parsed = b""

    def module(self, cuda):
        found = stand_in.replica(
            VERSION,
            {
                "Builder.create_network": lambda *_: made(found, "INetworkDefinition", num_layers=1),
                "Builder.create_builder_config": lambda _: made(found, "IBuilderConfig"),
                "Builder.create_optimization_profile": lambda _: made(found, "IOptimizationProfile"),
                "Builder.build_serialized_network": lambda *_: self.plan(),
                "IBuilderConfig.add_optimization_profile": lambda *_: 0,
                "IBuilderConfig.set_timing_cache": lambda *_: True,
                "IBuilderConfig.get_timing_cache": lambda _: made(found, "ITimingCache"),
                "ITimingCache.serialize": lambda _: b"timings",
                "OnnxParser.parse": lambda _, model: setattr(self, "parsed", model) or True,
                "INetworkDefinition.get_layer": lambda *_: made(found, "ILayer", num_outputs=1),
                "ILayer.get_output": lambda *_: made(found, "ITensor", dtype=self.dtype(found)),
            },
        )
        for kind in gpu.SIMULATED:
            setattr(found, kind.__name__, kind)
        types = self.types

        class Engine(gpu.ICudaEngine):
            @property
            def num_optimization_profiles(self):
                return 2 if self.get_tensor_name(0) == "frames" else 1

            def create_engine_inspector(self):
                return self

            def get_engine_information(self, _):
                return json.dumps({"Layers": [{"Name": "a", "Outputs": [{"DataType": kind}]} for kind in types]})

        class Runtime(gpu.Runtime):
            def deserialize_cuda_engine(self, serialized_engine):
                return Engine(cuda, serialized_engine)

        found.Runtime = Runtime
        found.nptype = lambda dtype: np.dtype(dtype).type
        found.__spec__ = ModuleSpec("tensorrt", None)
        return found

    def dtype(self, module):
        kinds = {tensor.data_type for tensor in onnx.load_from_string(self.parsed).graph.initializer}
        return module.DataType.HALF if onnx.TensorProto.FLOAT16 in kinds else module.DataType.FLOAT

    def plan(self):
        model = onnx.load_from_string(self.parsed)
        (role,) = [{"frames": "vision", "features": "temporal", "tokens": "text"}[i.name] for i in model.graph.input]
        return gpu.PLAN + self.change.get(role, lambda data: data)(self.parsed)


@pytest.fixture
def builder(monkeypatch, tmp_path):
    """TensorRT and a GPU, as it seems."""
    cuda, found = gpu.SimulatedCuda(), Builder()
    monkeypatch.setitem(sys.modules, "tensorrt", found.module(cuda))
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for module in (subject, gate_module):
        monkeypatch.setattr(module, "Child", Here)
    find_machine.cache_clear()
    yield found
    find_machine.cache_clear()


@pytest.fixture
def run(runs):
    return runs["workbench"]


@pytest.fixture(scope="module")
def pairs(data, tmp_path_factory):
    videos = [data / f"videos/val/000{number}.mp4" for number in range(4)]
    rows = [(0, 1, 1), (0, 2, 0), (1, 3, 0)]
    file = tmp_path_factory.mktemp("pairs") / "few.csv"
    lines = [f"{videos[a]},{videos[b]},{same}" for a, b, same in rows]
    file.write_text("\n".join(["video_a,video_b,same", *lines]) + "\n")
    return file


@pytest.fixture(scope="module")
def plain(exports, tmp_path_factory):
    """A bundle without engines, with thresholds that divide the pairs."""
    bundle = exports["workbench"].bundle(tmp_path_factory.mktemp("plain") / "bundle")
    calibrated = Calibration(pairs=3, same=1, auc=1.0, eer=0.0, rule="for tests")
    sampling = bundle.manifest.sampling.key
    thresholds = tuple(
        Threshold(method=method, precision="fp32", sampling=sampling, threshold=0.01, calibrated=calibrated)
        for method in METHODS
    )
    checks = {"gate": {"precisions": {"fp32": {}, "fp32-tensorrt": {}}}}
    return write_manifest(bundle.path, dataclasses.replace(bundle.manifest, thresholds=thresholds, checks=checks))


def larger(data):
    """A network whose weights are 1 % larger."""
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.01), tensor.name))
    return model.SerializeToString()


def test_the_machine_is_asked_once(builder):
    wanted = Machine(tensorrt=VERSION, compute_capability="9.0", device_name="NVIDIA H200")
    assert find_machine() == wanted
    sys.modules["tensorrt"].__version__ = "12.0.0.1"
    assert find_machine() == wanted
    find_machine.cache_clear()
    with pytest.raises(ExportError, match=r"TensorRT 12\.0\.0\.1 is installed, but 10 or 11 is needed"):
        find_machine()


def test_without_tensorrt():
    find_machine.cache_clear()
    if importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("TensorRT is installed")
    with pytest.raises(
        MissingExtraError, match=r"needs TensorRT, which is not installed: pip install 'weaksvr\[tensor"
    ):
        find_machine()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("__version__ = '11.4.0.106'", r"the GPU does not work: cudaError\w+; weaksvr-doctor --device cuda says more"),
        ("__version__ = '8.6.1'", r"TensorRT 8\.6\.1 is installed, but 10 or 11 is needed"),
        ("raise OSError('libnvinfer.so.11: cannot open shared object file')", r"libnvinfer\.so\.11: cannot open .*"),
        ("import os; os.kill(os.getpid(), 11)", r"TensorRT crashed the process \(SIGSEGV\)"),
    ],
)
def test_what_does_not_work_is_one_line_before_the_work(plain, tmp_path, monkeypatch, code, reason):
    (tmp_path / "tensorrt.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    find_machine.cache_clear()
    result = invoke(build_engines, plain.path, "--out", tmp_path / "out")
    assert isinstance(result.exception, ExportError)
    assert re.fullmatch(rf"TensorRT: looking for a GPU: {reason}", str(result.exception))
    assert result.stderr == ""
    assert not (tmp_path / "out").exists()


def test_an_export_with_engines(builder, run, pairs, tmp_path):
    stages = []
    options = ExportOptions(engines=EngineOptions(portability="ampere-plus"))
    bundle, report = export_run(
        run, tmp_path / "out", pairs_file=pairs, options=options, progress=lambda *stage: stages.append(stage)
    )
    manifest = Bundle.open(bundle.path).manifest
    assert {(engine.role, engine.precision) for engine in manifest.engines} == {
        (role, "fp32") for role in ("vision", "temporal", "text")
    }
    assert {engine.portability for engine in manifest.engines} == {"ampere-plus"}
    assert len(manifest.thresholds) == 2
    checks = manifest.checks["gate"]["precisions"]
    assert list(checks) == ["fp32", "fp32-tensorrt"]
    assert (checks["fp32-tensorrt"]["precision"], checks["fp32-tensorrt"]["device"]) == ("fp32", "cuda")
    assert checks["fp32-tensorrt"]["provider"] == f"TensorRT {VERSION}"
    assert checks["fp32-tensorrt"]["notes"][0] == "vision: 0 of 1 layers in half precision"
    for method, found in checks["fp32-tensorrt"]["methods"].items():
        assert found["threshold"] == manifest.threshold(method, "fp32", manifest.sampling.key).threshold
    assert checks["fp32-tensorrt"]["num_bytes"] == sum(engine.bytes for engine in manifest.engines)
    text = bundle.read(manifest.reports[-1]).decode()
    assert "| fp32-tensorrt | vector |" in text
    assert f"cuda (TensorRT {VERSION}, all rewrites)" in text
    assert ("building the vision engine, fp32, for NVIDIA H200", 0, 1) in stages
    assert "fp32-tensorrt" in {entry.name for entry in report.precisions}
    assert "cuda" not in manifest.speed


def test_an_engine_that_is_off_leaves_nothing(builder, run, pairs, tmp_path):
    builder.change = {"temporal": larger}
    with pytest.raises(
        ExportError, match=r"^fp32-tensorrt: the temporal network, .* differs from PyTorch by .*written$"
    ):
        export_run(run, tmp_path / "out", pairs_file=pairs, options=ExportOptions(engines=EngineOptions()))
    assert not (tmp_path / "out").exists()


def test_an_engine_in_another_precision_is_refused(builder, exports):
    builder.types[:] = ["Half"]
    with pytest.raises(
        ExportError, match=r"^fp32-tensorrt: building the vision engine: the network asks for fp32, but "
    ):
        engines_of(exports["workbench"], "fp32")


def test_engines_need_pairs_at_an_export(builder, exports, tmp_path):
    exported = exports["workbench"]
    model = exported.checkpoint.model
    tokenizer = NewTokenizer(context_length=model.context_length, data=exported.vocabulary.encode())
    source = ExportSource(
        model=model, tokenizer=tokenizer, data=without_pairs(), name="n", description="d", training={}
    )
    with pytest.raises(OptionError, match="fp16, int8 and TensorRT engines need pairs of videos"):
        export_source(source, tmp_path / "out", options=ExportOptions(engines=EngineOptions()))


def engines_of(exported, precision, **options):
    model, networks = exported.checkpoint.model, exported.networks
    if precision == "fp16":
        networks = {role: to_fp16(network) for role, network in networks.items()}
    return with_engines(
        Variant(precision=precision, networks=networks),
        EngineOptions(**options),
        sampling=model.sampling,
        preprocess=model.preprocess,
        progress=lambda *_: None,
    )


def test_engines_of_half_precision(builder, exports):
    builder.types[:] = ["Half", "Float"]
    built = engines_of(exports["workbench"], "fp16", stripped=True)
    assert {engine.precision for engine in built.engines.values()} == {"fp16"}
    assert all(engine.stripped for engine in built.engines.values())
    assert built.name == "fp16-tensorrt"
    assert built.notes[0] == "vision: 1 of 2 layers in half precision"


def test_timings_that_cannot_be_kept_are_said_once(builder, exports, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    built = engines_of(exports["workbench"], "fp32")
    assert [note for note in built.notes if "timings" in note] == [built.notes[-1]]


def test_a_bundles_engines_are_built_anew(builder, plain, pairs, tmp_path):
    out = tmp_path / "out"
    first, _ = rebuild_engines(plain, out, options=EngineOptions())
    bundle, report = rebuild_engines(first, out, options=EngineOptions(stripped=False), pairs_file=pairs)
    manifest = Bundle.open(out).manifest
    assert manifest.files == plain.manifest.files
    assert manifest.thresholds == plain.manifest.thresholds
    assert len(manifest.engines) == 3
    assert report.source == "ONNX Runtime"
    found = manifest.checks["engines"]
    assert found["inputs"] == "videos"
    assert found["pairs_from"] == "few.csv"
    verdicts = found["gate"]["precisions"]["fp32-tensorrt"]["methods"]
    for method, verdict in verdicts.items():
        threshold = manifest.threshold(method, "fp32", manifest.sampling.key).threshold
        assert verdict["threshold"] == verdict["source_threshold"] == threshold
        assert verdict["flips"] == 0
    assert manifest.checks["gate"]["precisions"] == {"fp32": {}}  # nothing is said of engines that are gone
    assert len(manifest.reports) == len(plain.manifest.reports) + 2  # those of the first build went
    text = bundle.read(manifest.reports[-1]).decode()
    assert "Every variant was compared with ONNX Runtime in fp32" in text
    assert plain.manifest.engines == ()


def test_an_engine_that_is_off_leaves_the_bundle_as_it_was(builder, plain, pairs, tmp_path):
    out = tmp_path / "out"
    rebuild_engines(plain, out, options=EngineOptions())
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    builder.change = {"vision": larger}
    with pytest.raises(
        ExportError, match=r"^fp32-tensorrt: the vision network, .* differs from ONNX Runtime by .*ten$"
    ):
        rebuild_engines(Bundle.open(out), out, options=EngineOptions(), pairs_file=pairs)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_what_cannot_be_rebuilt(builder, plain, tmp_path):
    files = tuple(dataclasses.replace(file, precision="int8") for file in plain.manifest.files)
    other = Bundle(plain.path, dataclasses.replace(plain.manifest, files=files))
    with pytest.raises(OptionError, match="has no fp32 networks to compare engines with, only int8; export it anew"):
        rebuild_engines(other, tmp_path / "out", options=EngineOptions())
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists and is not a bundle"):
        rebuild_engines(plain, tmp_path / "taken", options=EngineOptions())


def invoke(command, *arguments):
    return CliRunner().invoke(command, list(map(str, arguments)), standalone_mode=False)


def test_the_bundle_of_the_package_gets_no_engines():
    with pytest.raises(OutputError, match=r"comes with the package and is read-only; write a copy with --out DIR"):
        build_engines.main([str(DEFAULT_BUNDLE)], standalone_mode=False)
    assert rebuild_command(DEFAULT_BUNDLE).endswith(" --out DIR")
    assert rebuild_command("bundle") == "weaksvr-build-engines bundle"


def test_the_command_says_how_little_noise_proves(builder, plain, tmp_path):
    result = invoke(build_engines, plain.path, "--out", tmp_path / "out", "--engine-version-compatible")
    assert result.exit_code == 0, result.exception
    lines = result.stdout.splitlines()
    assert lines[0].startswith(
        "compared with ONNX Runtime on noise, network by network; whether verdicts stay is not kn"
    )
    assert lines[1].startswith("fp32-tensorrt  ")
    assert lines[-2] == f"bundle: {tmp_path / 'out'}, engines for NVIDIA H200"
    manifest = Bundle.open(tmp_path / "out").manifest
    assert manifest.checks["engines"]["inputs"] == "noise, network by network: verdicts were not compared"
    assert all(engine.version_compatible for engine in manifest.engines)


def test_the_commands_document(builder, plain, pairs, tmp_path):
    result = invoke(build_engines, plain.path, "--out", tmp_path / "out", "--pairs", pairs, "--json")
    assert result.exit_code == 0, result.exception
    document = json.loads(result.stdout)
    assert document["schema"] == "weaksvr.build-engines/1"
    assert [engine["role"] for engine in document["engines"]] == ["vision", "temporal", "text"]
    assert document["checks"]["inputs"] == "videos"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strip-engines"], "Options for engines belong to --tensorrt"),
        (["--engine-portability", "ampere-plus"], "Options for engines belong to --tensorrt"),
    ],
)
def test_options_without_engines(run, tmp_path, options, message):
    result = invoke(export, run, "--out", tmp_path / "out", *options)
    assert message in str(result.exception)


def test_without_tensorrt_nothing_is_begun(run, tmp_path):
    if importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("TensorRT is installed")
    find_machine.cache_clear()
    result = invoke(export, run, "--out", tmp_path / "out", "--tensorrt")
    assert isinstance(result.exception, MissingExtraError)
    assert result.stderr == ""
    assert not (tmp_path / "out").exists()


def test_engines_are_built_without_torch():
    code = "import sys, weaksvr.export.rebuild, weaksvr.export.commands.build_engines, weaksvr.export.to_tensorrt"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print(sorted({{'torch', 'onnx'}} & set(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
