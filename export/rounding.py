"""Half precision on a CPU: ONNX Runtime computes fp16 graphs there in fp32 throughout, which hides what rounding does.

`with_rounding` writes the rounding into the graph. Each operator then computes in fp32, and its result is rounded to
half precision, which is what a GPU's matrix units do: they add up in fp32. A result that is too large becomes infinite.
"""

from __future__ import annotations

import onnx
from onnx import numpy_helper

__all__ = ["with_rounding"]

_SINGLE, _HALVED = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def with_rounding(data: bytes) -> bytes:
    """An fp16 network as one that computes in fp32 and rounds to half precision whatever is stored in it."""
    model = onnx.load_from_string(data)
    graph = model.graph
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    halved = {value.name for value in inferred.value_info if value.type.tensor_type.elem_type == _HALVED}
    for tensor in graph.initializer:
        if tensor.data_type == _HALVED:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float32"), tensor.name))
    nodes = list(graph.node)
    del graph.node[:], graph.value_info[:]
    for node in nodes:
        stored = [name for name in node.output if name in halved]
        exact = onnx.NodeProto()
        exact.CopyFrom(node)
        for position, name in enumerate(node.output):
            exact.output[position] = f"{name}.exact" if name in stored else name
        for attribute in exact.attribute:
            if exact.op_type == "Cast" and attribute.name == "to" and attribute.i == _HALVED:
                attribute.i = _SINGLE
        graph.node.append(exact)
        for name in stored:
            graph.node.append(onnx.helper.make_node("Cast", [f"{name}.exact"], [f"{name}.rounded"], to=_HALVED))
            graph.node.append(onnx.helper.make_node("Cast", [f"{name}.rounded"], [name], to=_SINGLE))
    result: bytes = model.SerializeToString(deterministic=True)
    return result
