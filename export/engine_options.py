"""What a TensorRT engine is built for: options, ranges of shapes, and where the builder's timings are kept."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, get_args

from ..runtime.embedder import CHUNK
from ..runtime.engine_file import Machine, Portability, Profile, ShapeRange
from ..runtime.errors import ExportError, OptionError
from ..runtime.spec import PreprocessSpec, SamplingSpec, TensorSpec

__all__ = ["HARDWARE_LEVELS", "EngineOptions", "engine_profiles", "timing_cache_file"]

HARDWARE_LEVELS: Final[Mapping[Portability, str]] = MappingProxyType(
    {
        "none": "NONE",
        "same-compute-capability": "SAME_COMPUTE_CAPABILITY",
        "ampere-plus": "AMPERE_PLUS",
    }
)
"""TensorRT's names of what engines may be built for."""

_MANY_FRAMES: Final = (1, 64, 128)
_VIEWS: Final = 64
_TEXTS: Final = (1, 16, 256)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EngineOptions:
    """How engines are built.

    Attributes:
        portability: the GPUs that can run them: `none` is the model that they are built on.
        version_compatible: TensorRT's lean runtime can run them, too.
        stripped: their weights are taken from the networks when they are loaded.
    """

    portability: Portability = "none"
    version_compatible: bool = False
    stripped: bool = False

    def __post_init__(self) -> None:
        if self.portability not in get_args(Portability):
            raise OptionError(f"portability {self.portability!r} is not known; use one of {get_args(Portability)}")
        if self.version_compatible and self.stripped:
            raise OptionError("stripped engines cannot be version compatible: the lean runtime cannot put weights in")

    @property
    def flags(self) -> tuple[str, ...]:
        """The names of TensorRT's builder flags that are set. A lean runtime in a plan would be code in a data file."""
        compatible = ("VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME") if self.version_compatible else ()
        return (*compatible, *(("STRIP_PLAN", "REFIT_IDENTICAL") if self.stripped else ()))


def engine_profiles(
    role: str, inputs: Sequence[TensorSpec], *, sampling: SamplingSpec, preprocess: PreprocessSpec
) -> tuple[Profile, ...]:
    """The ranges of shapes that an engine is built for.

    Frames have two: one video's, as many as go through the tower at a time, and more. One wide range would be tuned
    for neither. Views and texts have one.

    Args:
        role: of the network.
        inputs: its tensors; the first dimension of each is the batch.
        sampling, preprocess: give the other dimensions where the network leaves them open.

    Raises:
        ExportError: if one is open that these do not give.
    """
    if role == "vision":
        one_video = min(sampling.num_views * sampling.num_frames, CHUNK)
        rows = ((1, one_video, one_video), _MANY_FRAMES)
    else:
        rows = ((1, sampling.num_views, _VIEWS),) if role == "temporal" else (_TEXTS,)
    known = {"T": sampling.num_frames, "H": preprocess.height, "W": preprocess.width}
    fixed = {tensor.name: _fixed(role, tensor, known) for tensor in inputs}
    return tuple(
        Profile(
            inputs=tuple(
                ShapeRange(name=name, min=(least, *sides), opt=(usual, *sides), max=(most, *sides))
                for name, sides in fixed.items()
            )
        )
        for least, usual, most in rows
    )


def _fixed(role: str, tensor: TensorSpec, known: Mapping[str, int]) -> tuple[int, ...]:
    """All dimensions but the first."""
    sides = [known.get(side, side) if isinstance(side, str) else side for side in tensor.shape[1:]]
    unknown = [side for side in sides if isinstance(side, str)]
    if unknown:
        raise ExportError(f"the {role} network leaves dimension {unknown[0]} of {tensor.name} open; export it anew")
    return tuple(side for side in sides if isinstance(side, int))


def timing_cache_file(machine: Machine, *, environment: Mapping[str, str], home: Path) -> Path:
    """Where the timings of a GPU model under a version of TensorRT are kept, in the user's folder for caches."""
    folder = Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "weaksvr" / "tensorrt"
    device = re.sub(r"[^a-z0-9]+", "-", machine.device_name.lower()).strip("-")
    return folder / f"{device}.{machine.compute_capability}.{machine.tensorrt}.timings"
