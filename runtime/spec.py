"""The contract between training and deployment: how frames are chosen and prepared, what tensors look like.

These values are stored in checkpoints and bundles and read back by whoever runs the model, so the two cannot drift
apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from .errors import OptionError

__all__ = [
    "CLEANINGS",
    "METHODS",
    "Cleaning",
    "Method",
    "PreprocessSpec",
    "SamplingPolicy",
    "SamplingSpec",
    "TensorSpec",
    "paragraph",
]

SamplingPolicy = Literal["uniform", "three-view", "segment"]
Resize = Literal["shorter", "squash"]
Method = Literal["vector", "alignment"]
METHODS: tuple[Method, ...] = get_args(Method)
Cleaning = Literal["lower", "whitespace", "canonicalize"]
CLEANINGS: tuple[Cleaning, ...] = get_args(Cleaning)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SamplingSpec:
    """Which frames of a video the network sees.

    Attributes:
        policy: `uniform` takes the middle frame of each of T equal segments; `three-view` takes the published test
            protocol, three frames a segment as three views (see `sampling.three_view_indices`); `segment` takes of
            each of T equal segments the frame that is decoded at the least cost, always the same of the same file.
        num_frames: T, frames a view.
    """

    policy: SamplingPolicy = "uniform"
    num_frames: int = 16

    def __post_init__(self) -> None:
        if self.policy not in get_args(SamplingPolicy):
            raise OptionError(f"sampling policy {self.policy!r} is not known; use one of {get_args(SamplingPolicy)}")
        if self.num_frames < 2:
            raise OptionError(f"{self.num_frames = } must be at least 2")

    @property
    def num_views(self) -> int:
        """V, the number of views a video."""
        return 3 if self.policy == "three-view" else 1

    @property
    def key(self) -> str:
        """A short name, e.g. `uniform-16`, under which thresholds are kept."""
        return f"{self.policy}-{self.num_frames}"

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SamplingSpec:
        return cls(policy=data["policy"], num_frames=int(data["num_frames"]))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessSpec:
    """How an upright RGB frame becomes the network's input.

    Attributes:
        height, width: size of the input in pixels.
        resize: `shorter` scales (bicubic) until the frame just covers height x width and crops the centre (CLIP);
            `squash` scales to exactly height x width, so that nothing is cut off.
        mean, std: per channel (R, G, B), for pixel values scaled to [0, 1].
    """

    height: int = 224
    width: int = 224
    resize: Resize = "shorter"
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise OptionError(f"input size {self.height} x {self.width} must be at least 1 x 1")
        if self.resize not in get_args(Resize):
            raise OptionError(f"resize {self.resize!r} is not known; use one of {get_args(Resize)}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise OptionError("mean and std need three values each, and std must be positive")

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PreprocessSpec:
        red, green, blue = (float(value) for value in data["mean"])
        std_red, std_green, std_blue = (float(value) for value in data["std"])
        return cls(
            height=int(data["height"]),
            width=int(data["width"]),
            resize=data["resize"],
            mean=(red, green, blue),
            std=(std_red, std_green, std_blue),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TensorSpec:
    """One input or output of an exported network.

    Attributes:
        name: tensor name in the graph.
        dtype: numpy name, e.g. `float32`.
        shape: one entry a dimension; an int is fixed, a string names a dynamic one (`B`, `T`, `N`).
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TensorSpec:
        return cls(name=data["name"], dtype=data["dtype"], shape=tuple(data["shape"]))


def paragraph(steps: Sequence[str]) -> str:
    """The text of a whole procedure: its steps joined by commas, without spaces, as published."""
    return ",".join(steps)
