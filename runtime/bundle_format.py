"""What a bundle's `manifest.json` says, as values: the networks, their tensors, the thresholds, where it comes from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Self

from .engine_file import EngineFile
from .errors import BundleError, BundleVersionError
from .json_values import get_typed, malformed_as_bundle_error
from .spec import CLEANINGS, Cleaning, Method, PreprocessSpec, SamplingSpec, TensorSpec
from .thresholds import Calibration, Threshold, known_method

__all__ = [
    "REQUIRED_ROLES",
    "ROLES",
    "SCHEMA_VERSION",
    "Calibration",
    "Entry",
    "Manifest",
    "NetworkFile",
    "ReportFile",
    "RoleLayout",
    "Threshold",
    "TokenizerFile",
]

SCHEMA: Final = "weaksvr.bundle"
SCHEMA_VERSION: Final = 1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RoleLayout:
    """The tensors of a role. Letters: N rows, H W pixels, F tower width, B videos, T frames, D dimensions, L tokens."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def _tensor(name: str, dtype: str, *shape: int | str) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)


ROLES: Final[Mapping[str, RoleLayout]] = MappingProxyType(
    {
        "vision": RoleLayout(
            inputs=(_tensor("frames", "float32", "N", 3, "H", "W"),),
            outputs=(_tensor("features", "float32", "N", "F"),),
        ),
        "temporal": RoleLayout(
            inputs=(_tensor("features", "float32", "B", "T", "F"),),
            outputs=(
                _tensor("frame_features", "float32", "B", "T", "D"),
                _tensor("video_vector", "float32", "B", "D"),
            ),
        ),
        "text": RoleLayout(
            inputs=(_tensor("tokens", "int64", "N", "L"),),
            outputs=(_tensor("text_features", "float32", "N", "D"),),
        ),
    }
)
REQUIRED_ROLES: Final = ("vision", "temporal")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NetworkFile:
    """One network in one precision. Two entries may name the same file, e.g. where int8 leaves a role as it is.

    Attributes:
        role: a key of `ROLES`.
        precision: `fp32`, `fp16`, `int8`, ...
        path: relative to the bundle, with forward slashes.
        bytes: size of the file.
        sha256: hex digest of its content.
        opset: ONNX operator set.
        inputs, outputs: tensors, named and typed as `ROLES` says.
    """

    role: str
    precision: str
    path: str
    bytes: int
    sha256: str
    opset: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __post_init__(self) -> None:
        layout = ROLES.get(self.role)
        if layout is None:
            raise BundleError(f"role {self.role!r} is not known; this version knows {', '.join(ROLES)}")
        if not re.fullmatch(r"[a-z0-9]{1,16}", self.precision):
            raise BundleError(f"precision {self.precision!r} must be lower-case letters and digits")
        for given, wanted in ((self.inputs, layout.inputs), (self.outputs, layout.outputs)):
            if [_form(tensor) for tensor in given] != [_form(tensor) for tensor in wanted]:
                raise BundleError(f"the {self.role} network has tensors {_names(given)}, but needs {_names(wanted)}")

    def to_json(self) -> dict[str, Any]:
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        tensors = {key: [tensor.to_json() for tensor in data[key]] for key in ("inputs", "outputs")}
        return {**data, **tensors}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            role=get_typed(data, "role", str),
            precision=get_typed(data, "precision", str),
            path=get_typed(data, "path", str),
            bytes=get_typed(data, "bytes", int),
            sha256=get_typed(data, "sha256", str),
            opset=get_typed(data, "opset", int),
            inputs=tuple(TensorSpec.from_json(tensor) for tensor in get_typed(data, "inputs", list)),
            outputs=tuple(TensorSpec.from_json(tensor) for tensor in get_typed(data, "outputs", list)),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerFile:
    """The text network's tokenizer: a `tokenizers` file, and what such a file cannot say.

    Attributes:
        context_length: L, the number of tokens a text is padded or cut to.
        cleaning: what is done to a text before, see `tokenizer.clean_text`.
        zeroed_id: an id that becomes 0 afterwards, wherever it stands; None for none.
    """

    path: str
    bytes: int
    sha256: str
    context_length: int
    cleaning: Cleaning = "lower"
    zeroed_id: int | None = None

    def __post_init__(self) -> None:
        if self.cleaning not in CLEANINGS:
            raise BundleError(f"cleaning {self.cleaning!r} is not known; use one of {', '.join(CLEANINGS)}")

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            path=get_typed(data, "path", str),
            bytes=get_typed(data, "bytes", int),
            sha256=get_typed(data, "sha256", str),
            context_length=get_typed(data, "context_length", int),
            cleaning=data.get("cleaning", "lower"),  # bundles that say nothing are CLIP's
            zeroed_id=None if data.get("zeroed_id") is None else get_typed(data, "zeroed_id", int),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ReportFile:
    """Something for people that comes with a bundle, e.g. what the export's gate found; nothing runs it."""

    path: str
    bytes: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            path=get_typed(data, "path", str),
            bytes=get_typed(data, "bytes", int),
            sha256=get_typed(data, "sha256", str),
        )


Entry = NetworkFile | EngineFile | TokenizerFile | ReportFile
"""Anything that `manifest.json` lists."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """Everything that `manifest.json` says.

    Attributes:
        name: short name, shown with every result.
        description: what the model knows and what it does not, for people.
        sampling, preprocess: how videos become the networks' input.
        default_method: the way to compare that is used if none is asked for.
        files: the networks.
        engines: TensorRT plans of some of them, at most one for a role and precision; none in bundles of before.
        tokenizer: None without a text network.
        thresholds: one for each (method, precision, sampling) that was calibrated.
        checks: results of the export's comparisons with its source, free form.
        reports: the same for people. Bundles made before there were any have none.
        speed: milliseconds that the networks took for a video at the export, by precision, on a CPU with instructions
            for int8; empty where it was not measured on such a one.
        tools: versions of what made the bundle.
        training: where the weights come from, free form.
        made_from: digests of all that the bundle was made from, by which an export sees what has changed; free form,
            empty where that is not known.
    """

    name: str
    description: str
    sampling: SamplingSpec
    preprocess: PreprocessSpec
    default_method: Method
    files: tuple[NetworkFile, ...] = ()
    engines: tuple[EngineFile, ...] = ()
    tokenizer: TokenizerFile | None = None
    thresholds: tuple[Threshold, ...] = ()
    checks: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reports: tuple[ReportFile, ...] = ()
    speed: Mapping[str, float] = dataclasses.field(default_factory=dict)
    tools: Mapping[str, str] = dataclasses.field(default_factory=dict)
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    made_from: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        known_method(self.default_method)
        networks = [f"{file.role} {file.precision}" for file in self.files]
        engines = [f"{engine.role} {engine.precision}" for engine in self.engines]
        keys = [f"{entry.method} {entry.precision} {entry.sampling}" for entry in self.thresholds]
        for items, what in ((networks, "network"), (engines, "engine"), (keys, "threshold")):
            twice = next((item for item in items if items.count(item) > 1), None)
            if twice is not None:
                raise BundleError(f"{what} {twice} is listed twice")
        for engine in self.engines:
            network = self.network(engine.role, engine.precision)
            if network is None or network.sha256 != engine.network_sha256:
                raise BundleError(f"the {engine.role} engine in {engine.precision} is of a network that is not there")
            engine.check_inputs(network.inputs)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All files of the bundle."""
        tokenizer = () if self.tokenizer is None else (self.tokenizer,)
        return (*self.files, *self.engines, *tokenizer, *self.reports)

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions in which every required role is there, in the order of the files."""
        there = {(file.role, file.precision) for file in self.files}
        seen = dict.fromkeys(file.precision for file in self.files)
        return tuple(name for name in seen if all((role, name) in there for role in REQUIRED_ROLES))

    def network(self, role: str, precision: str) -> NetworkFile | None:
        """The file of `role` in `precision`, None if there is none."""
        return next((file for file in self.files if (file.role, file.precision) == (role, precision)), None)

    def engine(self, role: str, precision: str) -> EngineFile | None:
        """The TensorRT plan of `role` in `precision`, None if there is none."""
        return next((file for file in self.engines if (file.role, file.precision) == (role, precision)), None)

    def threshold(self, method: Method, precision: str, sampling: str) -> Threshold | None:
        """The threshold calibrated for exactly this combination, None if there is none."""
        wanted = (method, precision, sampling)
        return next((e for e in self.thresholds if (e.method, e.precision, e.sampling) == wanted), None)

    def embedding_id(self, precision: str, sampling: SamplingSpec) -> str:
        """What the embedding of a video depends on besides the video, as 64 hex digits; thresholds are no part of it.

        It is the SHA-256 of the hashes of the networks that embed videos, the sampling and the preprocessing.

        Args:
            precision: one of `precisions`.
            sampling: how frames are taken, which need not be the manifest's own way.

        Raises:
            BundleError: if the bundle has no such precision.
        """
        networks = {role: self.network(role, precision) for role in REQUIRED_ROLES}
        hashes = {role: file.sha256 for role, file in networks.items() if file is not None}
        if len(hashes) < len(networks):
            raise BundleError(f"has no precision {precision!r}; it has {', '.join(self.precisions)}")
        parts = {"networks": hashes, "sampling": sampling.to_json(), "preprocess": self.preprocess.to_json()}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": f"{SCHEMA}/{SCHEMA_VERSION}",
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "description": self.description,
            "sampling": self.sampling.to_json(),
            "preprocess": self.preprocess.to_json(),
            "default_method": self.default_method,
            "files": [file.to_json() for file in self.files],
            "engines": [engine.to_json() for engine in self.engines],
            "tokenizer": None if self.tokenizer is None else self.tokenizer.to_json(),
            "thresholds": [threshold.to_json() for threshold in self.thresholds],
            "checks": dict(self.checks),
            "reports": [report.to_json() for report in self.reports],
            "speed": dict(self.speed),
            "tools": dict(self.tools),
            "training": dict(self.training),
            **({"made_from": dict(self.made_from)} if self.made_from else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave.

        Raises:
            BundleVersionError: if a newer version of this package wrote it.
            BundleError: if something is missing, of the wrong type or not possible.
        """
        if not isinstance(data, Mapping) or not str(data.get("schema", "")).startswith(f"{SCHEMA}/"):
            raise BundleError(f"has no schema {SCHEMA}/{SCHEMA_VERSION}: not a weaksvr bundle")
        version = data.get("schema_version")
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise BundleVersionError(
                f"has schema version {version}, but this version of weaksvr reads up to {SCHEMA_VERSION}; "
                "upgrade with: pip install --upgrade weaksvr"
            )
        if type(version) is not int or version != SCHEMA_VERSION:
            raise BundleError(f"has schema version {version!r}, expected {SCHEMA_VERSION}")
        with malformed_as_bundle_error():
            tokenizer = data.get("tokenizer")
            data = {"engines": [], "reports": [], "speed": {}, "made_from": {}, **data}  # old bundles lack these
            return cls(
                name=get_typed(data, "name", str),
                description=get_typed(data, "description", str),
                sampling=SamplingSpec.from_json(get_typed(data, "sampling", dict)),
                preprocess=PreprocessSpec.from_json(get_typed(data, "preprocess", dict)),
                default_method=known_method(data["default_method"]),
                files=tuple(NetworkFile.from_json(file) for file in get_typed(data, "files", list)),
                engines=tuple(EngineFile.from_json(file) for file in get_typed(data, "engines", list)),
                tokenizer=None if tokenizer is None else TokenizerFile.from_json(tokenizer),
                thresholds=tuple(Threshold.from_json(entry) for entry in get_typed(data, "thresholds", list)),
                checks=get_typed(data, "checks", dict),
                reports=tuple(ReportFile.from_json(entry) for entry in get_typed(data, "reports", list)),
                speed=_speed(get_typed(data, "speed", dict)),
                tools=get_typed(data, "tools", dict),
                training=get_typed(data, "training", dict),
                made_from=get_typed(data, "made_from", dict),
            )


def _speed(data: Mapping[str, Any]) -> dict[str, float]:
    speed = {precision: get_typed(data, precision, float) for precision in data}
    if not all(math.isfinite(value) and value > 0 for value in speed.values()):
        raise BundleError(f"speed is {speed}, but must be milliseconds above 0")
    return speed


def _form(tensor: TensorSpec) -> tuple[str, str, int]:
    return tensor.name, tensor.dtype, len(tensor.shape)


def _names(tensors: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{tensor.name} ({tensor.dtype}, {len(tensor.shape)} dimensions)" for tensor in tensors)
