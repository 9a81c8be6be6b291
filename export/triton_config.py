"""What the configurations of a Triton model repository say."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from ..runtime.bundle import Bundle
from ..runtime.bundle_format import Manifest, NetworkFile
from ..runtime.errors import BundleError
from ..runtime.spec import TensorSpec
from .pbtxt import Enum, Message

__all__ = ["TOKENIZER", "Content", "TritonDevice"]

TritonDevice = Literal["cpu", "gpu"]

TOKENIZER: Final = "tokenizer.json"
_ENTANGLED: Final = b"DynamicQuantizeLinear"
_MAX_BATCH: Final = 64  # the largest batch that every export compares with PyTorch
_TYPES: Final[Mapping[str, str]] = {"float32": "TYPE_FP32", "int64": "TYPE_INT64"}
_KINDS: Final[Mapping[TritonDevice, str]] = {"cpu": "KIND_CPU", "gpu": "KIND_GPU"}
_EXACT_ON_GPU: Final[Message] = {
    # fp32 stays fp32: ONNX Runtime would round the factors of its products to TF32, which no threshold was made for.
    "execution_accelerators": {
        "gpu_execution_accelerator": [{"name": "cuda", "parameters": [{"key": "use_tf32", "value": "0"}]}]
    }
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What a repository says, before it is written.

    Attributes:
        networks: by role.
        entangled: roles whose networks take the range of their activations from the whole batch, so that what they
            compute of an item depends on what else is in it.
    """

    manifest: Manifest
    precision: str
    device: TritonDevice
    networks: Mapping[str, NetworkFile]
    entangled: frozenset[str]

    @classmethod
    def of(cls, bundle: Bundle, precision: str, device: TritonDevice) -> Content:
        found = {role: bundle.manifest.network(role, precision) for role in ("vision", "temporal", "text")}
        networks = {role: network for role, network in found.items() if network is not None}
        return cls(
            manifest=bundle.manifest,
            precision=precision,
            device=device,
            networks=networks,
            entangled=frozenset(role for role, network in networks.items() if _ENTANGLED in bundle.read(network)),
        )

    def notes(self) -> Iterator[str]:
        for role in self.networks:
            if role in self.entangled:
                yield (
                    f"the {role} network finds the ranges of its integers anew in every batch: Triton does not join "
                    "requests for it, and what it computes differs a little from what the thresholds were calibrated on"
                )

    def model(self, role: str) -> str:
        """The name of a model: of what the bundle is called, the part that may stand in a URL and a file name."""
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", self.manifest.name).strip(".-")
        return f"{name or 'model'}_{role}"

    @property
    def ensemble(self) -> str:
        return self.model("video")

    def configs(self) -> Iterator[tuple[str, Message]]:
        """Model names and their configurations, the ensemble last."""
        vision, temporal = self.networks["vision"], self.networks["temporal"]
        frames = self.manifest.sampling.num_frames
        yield self.model("vision"), self._batching(vision, max(_MAX_BATCH, frames), warm_up=(1, frames))
        yield self.model("temporal"), self._single(temporal)
        if "text" in self.networks:
            yield self.model("text"), self._batching(self.networks["text"], _MAX_BATCH, warm_up=(1,))
        yield self.ensemble, self._chain(vision, temporal)

    def _batching(self, network: NetworkFile, max_batch: int, *, warm_up: tuple[int, ...]) -> Message:
        """A network whose first dimension counts items that have nothing to do with one another."""
        return {
            **self._head(network, max_batch),
            "input": [self._tensor(tensor) for tensor in network.inputs],
            "output": [self._tensor(tensor) for tensor in network.outputs],
            **({} if network.role in self.entangled else {"dynamic_batching": {}}),
            **self._tail(network, warm_up),
        }

    def _single(self, network: NetworkFile) -> Message:
        """A network that gets one item a request, whose first dimension Triton adds."""
        return {
            **self._head(network, 0),
            "input": [self._item(tensor) for tensor in network.inputs],
            "output": [self._item(tensor) for tensor in network.outputs],
            **self._tail(network, (1,)),
        }

    def _chain(self, vision: NetworkFile, temporal: NetworkFile) -> Message:
        (frames,), (features,) = vision.inputs, vision.outputs
        (sequence,) = temporal.inputs
        steps: list[Message] = [
            {
                "model_name": self.model("vision"),
                "model_version": -1,
                **_mapped("input_map", {frames.name: frames.name}),
                **_mapped("output_map", {features.name: features.name}),
            },
            {
                "model_name": self.model("temporal"),
                "model_version": -1,
                **_mapped("input_map", {sequence.name: features.name}),
                **_mapped("output_map", {tensor.name: tensor.name for tensor in temporal.outputs}),
            },
        ]
        view = (self.manifest.sampling.num_frames, *self._sides(frames))
        return {
            "name": self.ensemble,
            "platform": "ensemble",
            "max_batch_size": 0,
            "input": [{"name": frames.name, "data_type": Enum(_TYPES[frames.dtype]), "dims": view}],
            "output": [self._tensor(tensor) for tensor in temporal.outputs],
            "ensemble_scheduling": {"step": steps},
            **_mapped("parameters", self._about()),
        }

    def _head(self, network: NetworkFile, max_batch: int) -> Message:
        return {
            "name": self.model(network.role),
            "backend": "onnxruntime",
            "max_batch_size": max_batch,
        }

    def _tail(self, network: NetworkFile, warm_up: tuple[int, ...]) -> Message:
        (tensor,) = network.inputs
        blank: Message = {"data_type": Enum(_TYPES[tensor.dtype]), "dims": self._sides(tensor), "zero_data": True}
        about = {"weaksvr.role": network.role, "weaksvr.sha256": network.sha256, "weaksvr.opset": str(network.opset)}
        if network.role == "text" and self.manifest.tokenizer is not None:
            about["weaksvr.tokenizer"] = json.dumps({**self.manifest.tokenizer.to_json(), "path": TOKENIZER})
        return {
            "instance_group": [{"count": 1, "kind": Enum(_KINDS[self.device])}],
            **({} if self.device == "cpu" else {"optimization": _EXACT_ON_GPU}),
            "model_warmup": [
                {"name": f"batch of {size}", "batch_size": size, **_mapped("inputs", {tensor.name: blank})}
                for size in dict.fromkeys(warm_up)
            ],
            **_mapped("parameters", about),
        }

    def _about(self) -> dict[str, str]:
        """What a client must do and know to come to the verdict that the bundle would."""
        manifest = self.manifest
        key = manifest.sampling.key
        thresholds = [e for e in manifest.thresholds if (e.precision, e.sampling) == (self.precision, key)]
        return {
            "weaksvr.name": manifest.name,
            "weaksvr.precision": self.precision,
            "weaksvr.sampling": json.dumps({**manifest.sampling.to_json(), "views": manifest.sampling.num_views}),
            "weaksvr.preprocess": json.dumps(manifest.preprocess.to_json()),
            "weaksvr.default_method": manifest.default_method,
            "weaksvr.thresholds": json.dumps([entry.to_json() for entry in thresholds]),
        }

    def _tensor(self, tensor: TensorSpec) -> Message:
        return {"name": tensor.name, "data_type": Enum(_TYPES[tensor.dtype]), "dims": self._sides(tensor)}

    def _item(self, tensor: TensorSpec) -> Message:
        return {**self._tensor(tensor), "reshape": {"shape": (1, *self._sides(tensor))}}

    def _sides(self, tensor: TensorSpec) -> tuple[int, ...]:
        """The tensor's shape without its first dimension. Raises `BundleError` where the bundle does not say it."""
        spec = self.manifest.preprocess
        known: dict[int | str, int] = {"H": spec.height, "W": spec.width, "T": self.manifest.sampling.num_frames}
        sides = [known.get(side, side) for side in tensor.shape[1:]]
        fixed = tuple(side for side in sides if isinstance(side, int))
        if len(fixed) != len(sides):
            raise BundleError(
                f"Triton must know the size of {tensor.name}, but the bundle says {list(tensor.shape)}; export it anew"
            )
        return fixed


def _mapped(field: str, values: Mapping[str, str | Message]) -> Message:
    """A map field: in text, an entry with key and value for each. `parameters` wrap a string in a message."""
    entries: list[Message] = [
        {"key": key, "value": {"string_value": value} if field == "parameters" else value}
        for key, value in values.items()
    ]
    return {field: entries}
