"""From an fp32 network to one that computes in half precision, with the precision written into the graph.

A pass of our own, since what the known converters do is not what is wanted here: they hand every fp32 result on in
half precision, so that nothing between two kept operators stays fp32, and they cut weights at 1e4 in silence.

- Operators of `_HALF` compute in half precision; their weights are stored so.
- Operators of `_CARRIED` only move values: they compute in the precision of what they move.
- All others compute in fp32, LayerNormalization, Softmax and hand-written norms among them, and so does the last
  projection before an output.
- Inputs and outputs of the network stay fp32. Where precisions meet there is one Cast, shared by all readers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper

from ..runtime.bundle import NewNetwork
from ..runtime.errors import ExportError

__all__ = ["to_fp16"]

_PROJECTIONS = frozenset({"Gemm", "MatMul"})
_HALF = frozenset(
    {"Add", "BatchNormalization", "Clip", "Conv", "Erf", "Gelu", "HardSigmoid", "HardSwish", "Mul", "Neg", "Relu"}
    | {"Sigmoid", "Sub", "Tanh"}
    | _PROJECTIONS
)
_CARRIED = frozenset(
    {"AveragePool", "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity"}
    | {"GlobalAveragePool", "MaxPool", "Pad", "ReduceMax", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze"}
    | {"Tile", "Transpose", "Unsqueeze"}
)
_SINGLE, _HALVED = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
_LARGEST = float(np.finfo(np.float16).max)


def to_fp16(network: NewNetwork) -> NewNetwork:
    """Convert an fp32 network; the same bytes in, the same bytes out.

    Raises:
        ExportError: if the result is no valid, fully typed graph.
    """
    model = _Conversion.of(onnx.load_from_string(network.data)).run()
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ExportError(f"the {network.role} network cannot be converted to fp16: {reason}") from error
    return dataclasses.replace(network, precision="fp16", data=model.SerializeToString(deterministic=True))


@dataclasses.dataclass(kw_only=True)
class _Conversion:
    """The graph while it is rewritten.

    Attributes:
        types: element type of every tensor in the fp32 graph.
        weights: initializers by name.
        kept: names of the outputs of the last projections.
        halved: names of tensors that are half precision under their own name.
        nodes: of the new graph, in order.
        cast: the other form of a tensor, by name and element type.
    """

    model: onnx.ModelProto
    types: dict[str, int]
    weights: dict[str, onnx.TensorProto]
    kept: frozenset[str]
    halved: set[str] = dataclasses.field(default_factory=set)
    nodes: list[onnx.NodeProto] = dataclasses.field(default_factory=list)
    cast: dict[tuple[str, int], str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, model: onnx.ModelProto) -> _Conversion:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        values = [*inferred.value_info, *inferred.input, *inferred.output]
        types = {value.name: value.type.tensor_type.elem_type for value in values}
        weights = {tensor.name: tensor for tensor in model.graph.initializer}
        types |= {name: tensor.data_type for name, tensor in weights.items()}
        return cls(model=model, types=types, weights=weights, kept=frozenset(_last_projections(model.graph, types)))

    def run(self) -> onnx.ModelProto:
        graph = self.model.graph
        outputs = {value.name for value in graph.output}
        for node in graph.node:
            self._convert(node, outputs)
        del graph.node[:]
        graph.node.extend(self.nodes)
        read = {name for node in self.nodes for name in node.input} | outputs
        unread = [tensor for tensor in graph.initializer if tensor.name not in read]
        for tensor in unread:
            graph.initializer.remove(tensor)
        for value in graph.value_info:
            if value.name in self.halved:
                value.type.tensor_type.elem_type = _HALVED
        return self.model

    def _convert(self, node: onnx.NodeProto, outputs: set[str]) -> None:
        new = onnx.NodeProto()
        new.CopyFrom(node)
        half = self._computes_in_half(node)
        for position, name in enumerate(node.input):
            if self.types.get(name) == _SINGLE:
                new.input[position] = self._as(name, _HALVED if half else _SINGLE)
        self.nodes.append(new)
        for position, name in enumerate(node.output):
            if not half or self.types.get(name) != _SINGLE:
                continue
            if name in outputs:
                new.output[position] = self.cast[name, _HALVED] = f"{name}.fp16"
                self.nodes.append(_cast(f"{name}.fp16", name, _SINGLE))
            else:
                self.halved.add(name)

    def _computes_in_half(self, node: onnx.NodeProto) -> bool:
        read = [name for name in node.input if self.types.get(name) == _SINGLE]
        if node.domain or self.kept.intersection(node.output) or not all(map(self._fits, read)):
            return False
        if node.op_type in _CARRIED:
            return bool(read) and all(name in self.halved or name in self.weights for name in read)
        return node.op_type in _HALF

    def _fits(self, name: str) -> bool:
        """Whether no finite weight becomes infinite."""
        if name not in self.weights:
            return True
        values = numpy_helper.to_array(self.weights[name])
        return not (np.abs(values[np.isfinite(values)]) > _LARGEST).any()

    def _as(self, name: str, wanted: int) -> str:
        """The name under which a tensor is there in the wanted precision, made on first use."""
        if wanted == (_HALVED if name in self.halved else _SINGLE):
            return name
        key = (name, wanted)
        if key not in self.cast:
            self.cast[key] = f"{name}.{'fp16' if wanted == _HALVED else 'fp32'}"
            if name in self.weights:
                values = numpy_helper.to_array(self.weights[name]).astype(np.float16)
                self.model.graph.initializer.append(numpy_helper.from_array(values, self.cast[key]))
            else:
                self.nodes.append(_cast(name, self.cast[key], wanted))
        return self.cast[key]


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return onnx.helper.make_node("Cast", [source], [target], name=f"{target}.cast", to=to)


def _last_projections(graph: onnx.GraphProto, types: dict[str, int]) -> Iterator[str]:
    """Names of the outputs of the last projections, and of what stands between them and the network's outputs.

    From an output back through operators with one source, as the addition of a bias is one: where there are two, as at
    a residual connection, or another kind of operator, nothing is the last projection.
    """
    maker = {name: node for node in graph.node for name in node.output}
    for output in graph.output:
        name, passed = output.name, list[str]()
        while name in maker:
            node = maker[name]
            sources = [source for source in node.input if source in maker and types.get(source) == _SINGLE]
            passed.append(name)
            if node.op_type in _PROJECTIONS:
                yield from passed
                break
            if len(sources) != 1 or node.op_type not in _CARRIED | {"Add", "Mul"}:
                break
            name = sources[0]
