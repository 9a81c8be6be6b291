"""TensorRT engines of a variant's networks, built for the GPU of this machine in a process of their own."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import os
from pathlib import Path

from ..runtime.engine_file import Machine
from ..runtime.errors import MissingExtraError
from ..runtime.spec import PreprocessSpec, SamplingSpec
from .engine_options import EngineOptions, engine_profiles, timing_cache_file
from .gate import Progress, Variant
from .isolated import Child
from .to_tensorrt import BuildOrder, BuiltEngine

__all__ = ["find_machine", "with_engines"]

_LIBRARY = "TensorRT"


@functools.cache
def find_machine() -> Machine:
    """The GPU and the TensorRT of this machine.

    Raises:
        MissingExtraError: if TensorRT is not installed.
        ExportError: if it or the GPU does not work.
    """
    if importlib.util.find_spec("tensorrt") is None:
        raise MissingExtraError(_LIBRARY, "tensorrt", "building engines")
    with Child(_LIBRARY, library=_LIBRARY) as child:
        machine: Machine = child.call("looking for a GPU", "machine")
    return machine


def with_engines(
    variant: Variant,
    options: EngineOptions,
    *,
    sampling: SamplingSpec,
    preprocess: PreprocessSpec,
    progress: Progress,
) -> Variant:
    """The same variant with an engine of each network.

    Args:
        variant: networks that ONNX Runtime runs.
        options: how engines are built.
        sampling, preprocess: of the bundle, from which the ranges of shapes follow.
        progress: called with (what is being done, parts done, parts in all).

    Raises:
        ExportError: if an engine cannot be built, or computes in another precision than its network.
    """
    machine = find_machine()
    cache = timing_cache_file(machine, environment=os.environ, home=Path.home())
    built: dict[str, BuiltEngine] = {}
    with Child(f"{variant.precision}-tensorrt", library=_LIBRARY) as child:
        for role, network in variant.networks.items():
            what = f"building the {role} engine, {variant.precision}, for {machine.device_name}"
            order = BuildOrder(
                network=dataclasses.replace(network, precision=variant.precision),
                profiles=engine_profiles(role, network.inputs, sampling=sampling, preprocess=preprocess),
                options=options,
                machine=machine,
                timing_cache=cache,
            )
            progress(what, 0, 1)
            built[role] = child.call(
                f"building the {role} engine",
                "build",
                order,
                report=functools.partial(progress, what),
            )
    notes = [f"{role}: {entry.layers}" for role, entry in built.items()]
    notes += dict.fromkeys(entry.note for entry in built.values() if entry.note)
    return Variant(
        precision=variant.precision,
        networks=variant.networks,
        engines={role: entry.engine for role, entry in built.items()},
        notes=tuple(notes),
    )
