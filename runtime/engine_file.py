"""TensorRT engines in a bundle: what their plans were built from and for, and whether a machine can run them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

from .errors import BundleError
from .json_values import get_typed
from .spec import TensorSpec

__all__ = [
    "ENGINE_FOLDER",
    "EngineFile",
    "Machine",
    "NewEngine",
    "Portability",
    "Profile",
    "ShapeRange",
    "rebuild_command",
    "why_unusable",
]

ENGINE_FOLDER: Final = "engines"

Portability = Literal["none", "same-compute-capability", "ampere-plus"]
Shape = tuple[int, ...]
AMPERE: Final = (8, 0)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ShapeRange:
    """The shapes that an input may have; fixed dimensions are the same in all three.

    Attributes:
        name: of the input.
        min, opt, max: the smallest shape, the one that the engine is fastest with, the largest.
    """

    name: str
    min: Shape
    opt: Shape
    max: Shape

    def __post_init__(self) -> None:
        shapes = (self.min, self.opt, self.max)
        same_rank = len({len(shape) for shape in shapes}) == 1 and len(self.min) > 0
        if not same_rank or not all(1 <= a <= b <= c for a, b, c in zip(*shapes, strict=True)):
            listed = ", ".join(map(str, shapes))
            raise BundleError(f"input {self.name} has the shapes {listed}, which do not grow")

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "min": list(self.min), "opt": list(self.opt), "max": list(self.max)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        smallest, usual, largest = (_shape(get_typed(data, key, list)) for key in ("min", "opt", "max"))
        return cls(name=get_typed(data, "name", str), min=smallest, opt=usual, max=largest)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """One optimization profile of an engine: a range for every input. Dimension 0 of each is the batch."""

    inputs: tuple[ShapeRange, ...]

    @property
    def min_batch(self) -> int:
        return max(item.min[0] for item in self.inputs)

    @property
    def max_batch(self) -> int:
        return min(item.max[0] for item in self.inputs)

    def to_json(self) -> dict[str, Any]:
        return {"inputs": [item.to_json() for item in self.inputs]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(inputs=tuple(ShapeRange.from_json(item) for item in get_typed(data, "inputs", list)))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EngineFile:
    """One TensorRT plan, the raw file with nothing before it, beside the network that it was built from.

    Attributes:
        role, precision: of the network.
        path: relative to the bundle, with forward slashes.
        bytes: size of the file.
        sha256: hex digest of its content.
        network_sha256: hex digest of the ONNX file that it was built from.
        tensorrt: full version of the builder, e.g. `11.4.0.106`.
        compute_capability: of the GPU that it was built on, e.g. `9.0`.
        device_name: of that GPU, as CUDA names it.
        portability: the GPUs that it was built for (TensorRT's hardware compatibility level): `none` that model alone.
        version_compatible: whether TensorRT's lean runtime can run it, too. Of either runtime it needs its own version:
            the lean runtime is not packed into it, since that would be code in a data file.
        stripped: whether its weights are taken from the ONNX file when it is loaded.
        profiles: in the engine's order, at least one.
    """

    role: str
    precision: str
    path: str
    bytes: int
    sha256: str
    network_sha256: str
    tensorrt: str
    compute_capability: str
    device_name: str
    portability: Portability
    version_compatible: bool
    stripped: bool
    profiles: tuple[Profile, ...]

    def __post_init__(self) -> None:
        if self.portability not in get_args(Portability):
            raise BundleError(f"portability {self.portability!r} is not known; use one of {get_args(Portability)}")
        for value, pattern in ((self.tensorrt, r"\d+(\.\d+){2,3}"), (self.compute_capability, r"\d+\.\d+")):
            if not re.fullmatch(pattern, value):
                raise BundleError(f"the {self.role} engine has {value!r} where a version belongs")
        if not self.profiles or not all(profile.inputs for profile in self.profiles):
            raise BundleError(f"the {self.role} engine has no profile, or an empty one")
        if self.version_compatible and self.stripped:
            raise BundleError(f"the {self.role} engine is stripped, which the lean runtime cannot mend")

    def check_inputs(self, tensors: Sequence[TensorSpec]) -> None:
        """Compare the profiles with the inputs of the network. Raises `BundleError`."""
        for profile in self.profiles:
            found = {item.name: item for item in profile.inputs}
            if sorted(found) != sorted(tensor.name for tensor in tensors) or len(found) < len(profile.inputs):
                raise BundleError(f"the {self.role} engine has a profile for {', '.join(found)}, not for its inputs")
            for tensor in tensors:
                item = found[tensor.name]
                fits = len(item.min) == len(tensor.shape) and all(
                    isinstance(side, str) or side == low == high
                    for side, low, high in zip(tensor.shape, item.min, item.max, strict=True)
                )
                if not fits:
                    raise BundleError(
                        f"the {self.role} engine takes {item.name} from {item.min} to {item.max}, "
                        f"but its network takes {tensor.shape}"
                    )

    def to_json(self) -> dict[str, Any]:
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**data, "profiles": [profile.to_json() for profile in self.profiles]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            role=get_typed(data, "role", str),
            precision=get_typed(data, "precision", str),
            path=get_typed(data, "path", str),
            bytes=get_typed(data, "bytes", int),
            sha256=get_typed(data, "sha256", str),
            network_sha256=get_typed(data, "network_sha256", str),
            tensorrt=get_typed(data, "tensorrt", str),
            compute_capability=get_typed(data, "compute_capability", str),
            device_name=get_typed(data, "device_name", str),
            portability=data["portability"],
            version_compatible=get_typed(data, "version_compatible", bool),
            stripped=get_typed(data, "stripped", bool),
            profiles=tuple(Profile.from_json(profile) for profile in get_typed(data, "profiles", list)),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NewEngine:
    """An engine that is to be written into a bundle; `data` is the plan. The other attributes are `EngineFile`'s."""

    role: str
    precision: str
    network_sha256: str
    tensorrt: str
    compute_capability: str
    device_name: str
    portability: Portability = "none"
    version_compatible: bool = False
    stripped: bool = False
    profiles: tuple[Profile, ...]
    data: bytes = dataclasses.field(repr=False)

    def as_file(self) -> EngineFile:
        """What the manifest says of it. Raises `BundleError` if it cannot be meant."""
        digest = hashlib.sha256(self.data).hexdigest()
        shared = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "data"}
        path = f"{ENGINE_FOLDER}/{self.role}.{self.precision}.{digest[:8]}.plan"
        return EngineFile(**shared, path=path, bytes=len(self.data), sha256=digest)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What an engine would run on.

    Attributes:
        tensorrt: full version of the runtime that would load it.
        compute_capability: of the GPU, e.g. `9.0`.
        device_name: of the GPU, as CUDA names it.
    """

    tensorrt: str
    compute_capability: str
    device_name: str


def why_unusable(engine: EngineFile, machine: Machine) -> str:
    """The one thing that differs so that `machine` cannot run `engine`; empty if it can.

    TensorRT refuses a plan of another version than its own, down to the build's number, and says nothing of the GPU
    until the plan misbehaves.
    """
    if engine.tensorrt != machine.tensorrt:
        return f"it was built by TensorRT {engine.tensorrt}, here is {machine.tensorrt}"
    built, here = _pair(engine.compute_capability), _pair(machine.compute_capability)
    if not (min(built, here) >= AMPERE if engine.portability == "ampere-plus" else built == here):
        return (
            f"it was built on {engine.device_name} with compute capability {engine.compute_capability}, "
            f"here is {machine.device_name} with {machine.compute_capability}"
        )
    if engine.portability == "none" and engine.device_name != machine.device_name:
        return f"it was built on {engine.device_name} for this model alone, here is {machine.device_name}"
    return ""


def rebuild_command(bundle: str | os.PathLike[str]) -> str:
    """The command that builds a bundle's engines for the machine that it runs on, from the networks beside them.

    The bundle that comes with the package stays as it is; its engines go into a copy.
    """
    from .bundle import DEFAULT_BUNDLE

    command = f"weaksvr-build-engines {shlex.quote(os.fspath(bundle))}"
    return f"{command} --out DIR" if Path(bundle).absolute() == DEFAULT_BUNDLE else command


def _pair(capability: str) -> tuple[int, int]:
    major, minor = capability.split(".")
    return int(major), int(minor)


def _shape(values: list[Any]) -> Shape:
    if not all(type(value) is int for value in values):
        raise BundleError(f"a shape is {values}, but must be a list of integers")
    return tuple(values)
