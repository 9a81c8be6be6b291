from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import sys
from pathlib import Path

import pytest
from weaksvr.export.engine_options import EngineOptions, engine_profiles
from weaksvr.export.to_tensorrt import BuildOrder, build_engine
from weaksvr.runtime.bundle import NewNetwork
from weaksvr.runtime.engine_file import Machine
from weaksvr.runtime.errors import ExportError
from weaksvr.runtime.spec import PreprocessSpec, SamplingSpec, TensorSpec

SPEC = importlib.util.spec_from_file_location("tensorrt_replica", Path(__file__).parent / "tensorrt_replica.py")
stand_in = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(stand_in)
VERSIONS, made, replica = stand_in.VERSIONS, stand_in.made, stand_in.replica

INPUTS = (TensorSpec(name="frames", dtype="float32", shape=("N", 3, 32, 32)),)
OUTPUTS = (TensorSpec(name="features", dtype="float32", shape=("N", 8)),)


class TensorRT:
    """What the stand-in does, and what was done to it."""

    def __init__(self, version, monkeypatch):
        self.flags, self.profiles, self.created = {"TF32"}, [], None
        self.errors, self.builds, self.attaches = [], True, True
        self.network_types, self.reports, self.shapes = ["FLOAT", "FLOAT"], [["FLOAT"], ["FLOAT"]], {}
        self.caches, self.config, self.profile_indices = [], None, iter(range(9))
        does = {
            "Builder.__init__": lambda made_by, logger: setattr(made_by, "log", logger),
            "Builder.create_network": self.create_network,
            "Builder.create_builder_config": lambda _: made(self.module, "IBuilderConfig"),
            "Builder.create_optimization_profile": lambda _: made(self.module, "IOptimizationProfile"),
            "Builder.build_serialized_network": self.build,
            "IBuilderConfig.set_flag": lambda _, flag: self.flags.add(str(flag).partition(".")[2]),
            "IBuilderConfig.clear_flag": lambda _, flag: self.flags.discard(str(flag).partition(".")[2]),
            "IBuilderConfig.add_optimization_profile": lambda *_: next(self.profile_indices),
            "IBuilderConfig.create_timing_cache": lambda _, data: self.caches.append(data) or data,
            "IBuilderConfig.set_timing_cache": lambda _, cache, mismatch: not mismatch and (self.attaches or not cache),
            "IBuilderConfig.get_timing_cache": lambda _: made(self.module, "ITimingCache"),
            "ITimingCache.serialize": lambda _: b"timings",
            "IOptimizationProfile.set_shape": lambda _, *shapes: self.profiles.append(shapes),
            "OnnxParser.parse": lambda *_: not self.errors,
            "OnnxParser.get_error": lambda _, index: self.errors[index],
            "OnnxParser.__init__": lambda parser, *_: vars(parser).update(num_errors=len(self.errors)),
            "ParserError.desc": lambda error: error.said,
            "ParserError.node_name": lambda error: error.at,
            "ParserError.node_operator": lambda _: "MatMul",
            "INetworkDefinition.get_layer": self.layer,
            "ILayer.get_output": lambda layer, index: layer.outputs[index],
            "Runtime.deserialize_cuda_engine": lambda _, plan: made(self.module, "ICudaEngine") if plan else None,
            "ICudaEngine.create_engine_inspector": lambda _: made(self.module, "EngineInspector"),
            "ICudaEngine.create_execution_context": lambda _: made(self.module, "IExecutionContext"),
            "IExecutionContext.set_input_shape": lambda _, name, shape: self.shapes.update({name: shape}) or True,
            "EngineInspector.get_engine_information": self.information,
        }
        self.module = replica(version, does)
        monkeypatch.setitem(sys.modules, "tensorrt", self.module)

    def create_network(self, _, flags=0):
        self.created = flags
        return made(self.module, "INetworkDefinition", num_layers=len(self.network_types))

    def layer(self, _, index):
        dtype = getattr(self.module.DataType, self.network_types[index])
        return made(self.module, "ILayer", num_outputs=1, outputs=[made(self.module, "ITensor", dtype=dtype)])

    def build(self, builder, _, config):
        self.config = config
        monitor = config.progress_monitor
        monitor.phase_start("Build", None, 2)
        assert monitor.step_complete("Build", 0) is True
        assert monitor.step_complete("Build", 1) is True
        monitor.phase_finish("Build")
        builder.log.log(self.module.ILogger.WARNING, "a warning")
        builder.log.log(self.module.ILogger.ERROR, "no kernel\nfits")
        return b"plan" if self.builds else None

    def information(self, inspector, _):
        known = "execution_context" in vars(inspector)
        layers = [
            {"Name": "a", "Inputs": [], "Outputs": [{"DataType": kind} for kind in kinds]} for kinds in self.reports
        ]
        return json.dumps({"Layers": layers if known or not self.shapes_needed else ["a"]})

    shapes_needed = False


@pytest.fixture(params=VERSIONS)
def tensorrt(request, monkeypatch):
    return TensorRT(request.param, monkeypatch)


@pytest.fixture
def order(tmp_path, tensorrt):
    network = NewNetwork(role="vision", precision="fp32", opset=18, inputs=INPUTS, outputs=OUTPUTS, data=b"network")
    sampling = SamplingSpec(num_frames=4)
    return BuildOrder(
        network=network,
        profiles=engine_profiles("vision", INPUTS, sampling=sampling, preprocess=PreprocessSpec(height=32, width=32)),
        options=EngineOptions(),
        machine=Machine(
            tensorrt=tensorrt.module.__version__, compute_capability="9.0", device_name="NVIDIA H100 80GB HBM3"
        ),
        timing_cache=tmp_path / "cache" / "timings",
    )


def build(order, **options):
    said = []
    chosen = dataclasses.replace(order, options=EngineOptions(**options))
    return build_engine(chosen, lambda done, total: said.append(done / total)), said


def test_an_engine_says_what_it_was_built_from_and_for(tensorrt, order):
    built, said = build(order)
    engine = built.engine
    assert (engine.role, engine.precision, engine.data) == ("vision", "fp32", b"plan")
    assert engine.network_sha256 == hashlib.sha256(b"network").hexdigest()
    assert (engine.tensorrt, engine.compute_capability) == (tensorrt.module.__version__, "9.0")
    assert (engine.device_name, engine.profiles) == ("NVIDIA H100 80GB HBM3", order.profiles)
    assert (engine.portability, engine.version_compatible, engine.stripped) == ("none", False, False)
    assert engine.as_file().path.startswith("engines/vision.fp32.")
    assert said == [0.0, 0.5, 1.0]
    assert built.note == ""
    assert order.timing_cache.read_bytes() == b"timings"


def test_precision_is_the_networks_alone(tensorrt, order):
    build(order)
    assert tensorrt.flags == set()  # TF32 is off
    typed = 1 << int(tensorrt.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert tensorrt.created == (typed if tensorrt.module.__version__.startswith("10.") else 0)
    assert str(tensorrt.config.profiling_verbosity) == "ProfilingVerbosity.DETAILED"


def test_the_profiles_reach_the_builder(tensorrt, order):
    build(order)
    assert tensorrt.profiles == [
        ("frames", (1, 3, 32, 32), (4, 3, 32, 32), (4, 3, 32, 32)),
        ("frames", (1, 3, 32, 32), (64, 3, 32, 32), (128, 3, 32, 32)),
    ]


@pytest.mark.parametrize(
    ("options", "flags", "level"),
    [
        ({}, set(), "NONE"),
        ({"portability": "same-compute-capability"}, set(), "SAME_COMPUTE_CAPABILITY"),
        ({"portability": "ampere-plus"}, set(), "AMPERE_PLUS"),
        ({"version_compatible": True}, {"VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME"}, "NONE"),
        ({"stripped": True}, {"STRIP_PLAN", "REFIT_IDENTICAL"}, "NONE"),
    ],
)
def test_options_are_the_builders_and_in_the_manifest(tensorrt, order, options, flags, level):
    built, _ = build(order, **options)
    assert tensorrt.flags == flags
    assert str(tensorrt.config.hardware_compatibility_level) == f"HardwareCompatibilityLevel.{level}"
    assert {name: getattr(built.engine, name) for name in options} == options


def test_timings_are_used_again(tensorrt, order):
    build(order)
    build(order)
    assert tensorrt.caches == [b"", b"timings"]


def test_timings_of_something_else_are_left(tensorrt, order):
    order.timing_cache.parent.mkdir()
    order.timing_cache.write_bytes(b"of another GPU")
    tensorrt.attaches = False
    build(order)
    assert tensorrt.caches == [b"of another GPU", b""]


def test_timings_that_cannot_be_kept_are_no_reason_to_build_for_nothing(tensorrt, order):
    order.timing_cache.parent.write_text("a file where the folder should be")
    built, _ = build(order)
    assert built.note.startswith("TensorRT's timings are not kept, so that another build takes as long: ")


def test_a_network_that_cannot_be_read(tensorrt, order):
    tensorrt.errors = [made(tensorrt.module, "ParserError", said="In node 3:\n  no importer", at="node_mm")]
    with pytest.raises(ExportError, match=r"^TensorRT cannot read it: In node 3: no importer \(at node_mm, MatMul\)$"):
        build(order)


def test_a_network_that_cannot_be_built(tensorrt, order):
    tensorrt.builds = False
    with pytest.raises(ExportError, match=r"^TensorRT cannot build it: no kernel fits$"):
        build(order)


def test_shapes_that_are_refused(tensorrt, order):
    tensorrt.profile_indices = iter([-1])
    with pytest.raises(ExportError, match=r"^TensorRT refuses the shapes .*frames"):
        build(order)


def test_a_plan_that_cannot_be_loaded(tensorrt, order, monkeypatch):
    tensorrt.build = None
    monkeypatch.setattr(tensorrt.module.Runtime, "deserialize_cuda_engine", lambda *_: None)
    with pytest.raises(ExportError, match=r"^TensorRT cannot load what it built: no kernel fits$"):
        build(order)


def test_half_precision_that_was_left_out_is_seen(tensorrt, order):
    tensorrt.network_types = ["HALF", "FLOAT"]
    with pytest.raises(ExportError, match=r"asks for half precision \(1 of 2 layers.*engine has 0 of 2 layers in half"):
        build(order)
    assert not order.timing_cache.exists()


def test_the_inspector_is_given_shapes_where_it_needs_them(tensorrt, order):
    tensorrt.shapes_needed = True
    built, _ = build(order)
    assert built.layers.known == 2
    assert tensorrt.shapes == {"frames": (4, 3, 32, 32)}


@pytest.mark.parametrize(
    "breach",
    [
        lambda trt: trt.IPluginV2,
        lambda trt: trt.BuilderFlag.FP17,
        lambda trt: trt.Builder(),
        lambda trt: trt.IBuilderConfig(),
        lambda trt: made(trt, "IBuilderConfig").set_timing_cache(b""),
        lambda trt: setattr(made(trt, "ILayer", num_outputs=1), "num_outputs", 2),
    ],
)
def test_the_stand_in_has_what_tensorrt_has_and_no_more(tensorrt, breach):
    with pytest.raises((AttributeError, TypeError)):
        breach(tensorrt.module)


def test_tensorrt_11_has_no_flags_of_precision():
    old, new = (replica(version, {}) for version in VERSIONS)
    assert hasattr(old.BuilderFlag, "FP16")
    assert not hasattr(new.BuilderFlag, "FP16")
