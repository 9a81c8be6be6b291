"""From an ONNX network to a TensorRT engine, for TensorRT 10 and 11. Runs on the GPU that the engine is for.

Precision is in the graph (`to_fp16`), and the builder may not change it: networks are strongly typed, always in
TensorRT 11 and by a flag in 10, and TF32 is off, with which fp32 would not be fp32.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from ..runtime.bundle import NewEngine, NewNetwork
from ..runtime.engine_file import Machine, Profile
from ..runtime.errors import ExportError, WeakSVRError
from ..runtime.storage import write_bytes
from .engine_layers import LayerCount, refuse_other_precision
from .engine_options import HARDWARE_LEVELS, EngineOptions
from .engine_progress import PhaseTree

__all__ = ["BuildOrder", "BuiltEngine", "build_engine", "this_machine"]

_MAJORS: Final = ("10", "11")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BuildOrder:
    """What is to be built.

    Attributes:
        network: in the precision of the engine.
        profiles: the ranges of its inputs' shapes.
        machine: the one that this runs on.
        timing_cache: a file, which is read if it is there, and written.
    """

    network: NewNetwork
    profiles: tuple[Profile, ...]
    options: EngineOptions
    machine: Machine
    timing_cache: Path


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BuiltEngine:
    """An engine, and what is to be said about it.

    Attributes:
        layers: of the engine, by precision.
        note: what went wrong beside it; empty if nothing did.
    """

    engine: NewEngine
    layers: LayerCount
    note: str = ""


def this_machine() -> Machine:
    """The GPU and the TensorRT of this machine.

    Raises:
        DeviceError: if there is no working GPU.
        ExportError: if TensorRT is of another version than those that this is made for.
        MissingExtraError: if the GPU's memory cannot be reached for want of a package.
    """
    from ..runtime.backends.cuda_memory import open_cuda

    found: str = importlib.import_module("tensorrt").__version__
    if found.partition(".")[0] not in _MAJORS:
        raise ExportError(f"TensorRT {found} is installed, but {' or '.join(_MAJORS)} is needed")
    with contextlib.closing(open_cuda()) as cuda:
        return Machine(tensorrt=found, compute_capability=cuda.compute_capability, device_name=cuda.device_name)


def build_engine(order: BuildOrder, report: Callable[[int, int], None]) -> BuiltEngine:
    """Build an engine.

    Args:
        order: what is to be built.
        report: called with (parts done, parts in all).

    Raises:
        ExportError: if TensorRT cannot read the network or build it, or the engine computes in another precision.
    """
    trt = importlib.import_module("tensorrt")
    log = _log(trt)
    builder = trt.Builder(log)
    network = _parsed(trt, builder, log, order.network.data)
    config = _config(trt, builder, order)
    monitor = _monitor(trt, PhaseTree(report))
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ExportError(f"TensorRT cannot build it: {log.reason()}")
    data = bytes(plan)
    found = _layers_of_engine(trt, log, data, order.profiles[0])
    refuse_other_precision(_layers_of_network(network), found)
    return BuiltEngine(engine=_engine(order, data), layers=found, note=_keep_timings(config, order.timing_cache))


def _log(trt: ModuleType) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc,name-defined]  # the library is untyped
        """Keeps the errors."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(" ".join(msg.split()))

        def reason(self) -> str:
            return self.errors[0] if self.errors else "it gives no reason"

    return Log()


def _monitor(trt: ModuleType, phases: PhaseTree) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc,name-defined]
        """Hands the phases on."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            phases.step(phase_name, step)
            return True  # go on

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    return Monitor()


def _parsed(trt: ModuleType, builder: Any, log: Any, data: bytes) -> Any:
    """The network as TensorRT reads it."""
    weakly_typed_by_default = trt.__version__.startswith("10.")
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if weakly_typed_by_default else 0
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(data):
        errors = [parser.get_error(row) for row in range(parser.num_errors)]
        said = " ".join(errors[0].desc().split()) if errors else log.reason()
        at = f" (at {errors[0].node_name()}, {errors[0].node_operator()})" if errors and errors[0].node_name() else ""
        raise ExportError(f"TensorRT cannot read it: {said}{at}")
    return network


def _config(trt: ModuleType, builder: Any, order: BuildOrder) -> Any:
    options = order.options
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    for name in options.flags:
        config.set_flag(getattr(trt.BuilderFlag, name))
    config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, HARDWARE_LEVELS[options.portability])
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else the inspector knows no precision
    for ranges in order.profiles:
        profile = builder.create_optimization_profile()
        for item in ranges.inputs:
            profile.set_shape(item.name, item.min, item.opt, item.max)
        if config.add_optimization_profile(profile) < 0:
            raise ExportError(f"TensorRT refuses the shapes {ranges}")
    timings = b""
    with contextlib.suppress(OSError):
        timings = order.timing_cache.read_bytes()
    if not config.set_timing_cache(config.create_timing_cache(timings), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)
    return config


def _keep_timings(config: Any, file: Path) -> str:
    """Write the timing cache, which other builds of the same kind then start from; why not, if that fails."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, bytes(config.get_timing_cache().serialize()))
    except (OSError, WeakSVRError) as error:
        return f"TensorRT's timings are not kept, so that another build takes as long: {error}"
    return ""


def _layers_of_network(network: Any) -> LayerCount:
    layers = [network.get_layer(row) for row in range(network.num_layers)]
    return LayerCount.of_types([str(layer.get_output(i).dtype) for i in range(layer.num_outputs)] for layer in layers)


def _layers_of_engine(trt: ModuleType, log: Any, data: bytes, ranges: Profile) -> LayerCount:
    """What the engine inspector says; where it needs shapes to say it, with those of a profile."""
    engine = trt.Runtime(log).deserialize_cuda_engine(data)
    if engine is None:
        raise ExportError(f"TensorRT cannot load what it built: {log.reason()}")
    inspector = engine.create_engine_inspector()
    found = LayerCount.of_engine(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    if found.known:
        return found
    context = engine.create_execution_context()
    for item in ranges.inputs:
        context.set_input_shape(item.name, item.opt)
    inspector.execution_context = context
    return LayerCount.of_engine(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def _engine(order: BuildOrder, data: bytes) -> NewEngine:
    network, machine, options = order.network, order.machine, order.options
    return NewEngine(
        role=network.role,
        precision=network.precision,
        network_sha256=hashlib.sha256(network.data).hexdigest(),
        tensorrt=machine.tensorrt,
        compute_capability=machine.compute_capability,
        device_name=machine.device_name,
        portability=options.portability,
        version_compatible=options.version_compatible,
        stripped=options.stripped,
        profiles=order.profiles,
        data=data,
    )
