"""int8 by ONNX Runtime's own tools; works in the child process, as calibrating runs the network."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

__all__ = ["quantize"]

_STATIC_OPS = ["Conv", "Gemm", "MatMul"]
_DYNAMIC_OPS = ["Gemm", "MatMul"]  # a convolution with scales found at run time is slower than one in fp32
_QUANTIZED = frozenset({"ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger"})


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # the library is untyped
    def __init__(self, name: str, batches: Sequence[NDArray[Any]]) -> None:
        self._feeds = iter([{name: batch} for batch in batches])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._feeds, None)


def quantize(data: bytes, *, static: bool, name: str, batches: Sequence[NDArray[Any]]) -> bytes | None:
    """Quantize what multiplies with weights: these per channel, int8 and symmetric; activations uint8, per tensor.

    Products of two activations, as in attention, stay fp32.

    Args:
        data: the fp32 network.
        static: ranges of the activations are found on `batches` and written into the graph (QDQ, convolutions too);
            else they are found anew at every run.
        name: the network's input.
        batches: real inputs, for `static`.

    Returns:
        The int8 network, None if it has nothing that can be quantized so.
    """
    logging.disable(logging.WARNING)  # advice to optimise the graph first, which makes it one of this version alone
    model = onnx.load_from_string(data)
    del model.graph.value_info[:]  # the tools transpose weights, and then find these shapes wrong
    options = {"MatMulConstBOnly": True}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        if static:
            quantize_static(
                model,
                target,
                _Batches(name, batches),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_STATIC_OPS,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                extra_options=options,
            )
        else:
            quantize_dynamic(
                model,
                target,
                op_types_to_quantize=_DYNAMIC_OPS,
                per_channel=True,
                weight_type=QuantType.QInt8,
                extra_options=options,
            )
        found = onnx.load(target)
    if _QUANTIZED.isdisjoint(node.op_type for node in found.graph.node):
        return None
    result: bytes = found.SerializeToString(deterministic=True)
    return result
