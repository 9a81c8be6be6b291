"""In which precision an engine's layers compute, and whether that is what the network asks for.

Nothing else shows it: a builder may leave out half precision, or put it in, and the plan still builds and runs.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, Self

from ..runtime.errors import ExportError

__all__ = ["LayerCount", "refuse_other_precision"]

_HALF: Final = re.compile(r"\b(?:half|fp16|float16)\b", re.IGNORECASE)
_SINGLE: Final = re.compile(r"\b(?:float|fp32|float32)\b", re.IGNORECASE)
_FAR_FEWER: Final = 4
"""Engines have fewer layers than their networks, as these are fused; a share this many times smaller is no fusion."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LayerCount:
    """How many layers there are, of which `known` have a floating-point tensor, and `half` one in half precision."""

    half: int
    known: int
    layers: int

    @classmethod
    def of_types(cls, layers: Iterable[Iterable[str]]) -> Self:
        """Count layers by the names of their tensors' types, such as `HALF` or `Row major linear FP16 format`."""
        found = [" ; ".join(types) for types in layers]
        return cls(
            half=sum(bool(_HALF.search(text)) for text in found),
            known=sum(bool(_HALF.search(text) or _SINGLE.search(text)) for text in found),
            layers=len(found),
        )

    @classmethod
    def of_engine(cls, information: str) -> Self:
        """Count the layers that TensorRT's engine inspector lists as JSON. Raises `ExportError` if it is none."""
        try:
            layers = json.loads(information)["Layers"]
        except (ValueError, TypeError, KeyError) as error:
            raise ExportError("TensorRT's engine inspector lists no layers") from error
        return cls.of_types(_types(layer) for layer in layers)

    @property
    def share(self) -> float:
        """Of the layers whose precision is known, those with half precision."""
        return self.half / self.known if self.known else 0.0

    def __str__(self) -> str:
        return f"{self.half} of {self.known} layers in half precision"


def _types(layer: Any) -> Iterator[str]:
    """The types of a layer's tensors and weights. TensorRT 10 has one field for format and type, 11 one for each."""
    if not isinstance(layer, dict):  # its name alone
        return
    for tensor in (*(layer.get("Inputs") or ()), *(layer.get("Outputs") or ())):
        if isinstance(tensor, dict):
            yield str(tensor.get("DataType") or tensor.get("Format/Datatype") or "")
    for weights in (layer.get("Weights"), layer.get("Bias")):
        if isinstance(weights, dict):
            yield str(weights.get("Type", ""))


def refuse_other_precision(asked: LayerCount, found: LayerCount) -> None:
    """Compare what a network asks for with what its engine does.

    Args:
        asked: the layers of the network, as TensorRT read it.
        found: the layers of the engine.

    Raises:
        ExportError: if half precision is used where none is asked for, or almost none where it is; or if it is not
            known.
    """
    if not found.known:
        raise ExportError("TensorRT's engine inspector does not say in which precision the engine's layers compute")
    if not asked.half and found.half:
        raise ExportError(f"the network asks for fp32, but the engine has {found}")
    if found.share * _FAR_FEWER < asked.share:
        raise ExportError(f"the network asks for half precision ({asked}), but the engine has {found}")
