from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from weaksvr.export.to_fp16 import to_fp16
from weaksvr.runtime.errors import ExportError

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


@dataclasses.dataclass
class Typed:
    """A graph and the element type of every tensor in it."""

    model: onnx.ModelProto

    def __post_init__(self):
        graph = onnx.shape_inference.infer_shapes(self.model, strict_mode=True, data_prop=True).graph
        values = [*graph.value_info, *graph.input, *graph.output]
        self.types = {value.name: value.type.tensor_type.elem_type for value in values}
        self.types |= {tensor.name: tensor.data_type for tensor in graph.initializer}

    def of(self, op_type):
        """The types of the outputs of all nodes of a kind."""
        return [self.types[node.output[0]] for node in self.model.graph.node if node.op_type == op_type]


def converted(network):
    return Typed(onnx.load_from_string(to_fp16(network).data))


@pytest.fixture(params=["vision", "temporal", "text"])
def role(request):
    return request.param


def test_the_graph_is_typed_and_its_border_is_fp32(exported, role):
    network = exported.networks[role]
    found = to_fp16(network)
    assert (found.precision, found.inputs, found.outputs) == ("fp16", network.inputs, network.outputs)
    assert to_fp16(network).data == found.data
    assert len(found.data) < 0.75 * len(network.data)
    typed = Typed(onnx.load_from_string(found.data))
    border = [*typed.model.graph.input, *typed.model.graph.output]
    before = onnx.load_from_string(network.data)
    wanted = [*before.graph.input, *before.graph.output]
    assert [value.type for value in border] == [value.type for value in wanted]
    assert HALF in typed.of("MatMul") + typed.of("Conv") + typed.of("Gemm")
    for kept in ("LayerNormalization", "Softmax", "InstanceNormalization", "ReduceMean", "Pow", "Sqrt", "Div"):
        assert set(typed.of(kept)) <= {FLOAT}
    assert before.metadata_props == typed.model.metadata_props


def test_the_last_projections_are_fp32(exports):
    maker_of = {}
    for role, network in exports["vit"].networks.items():
        typed = converted(network)
        maker_of = {name: node for node in typed.model.graph.node for name in node.output}
        for output in typed.model.graph.output:
            node = maker_of[output.name]
            while node.op_type not in ("MatMul", "Gemm"):
                assert node.op_type != "Cast", (role, output.name)
                node = maker_of[next(name for name in node.input if name in maker_of)]
            assert {typed.types[name] for name in node.input} == {FLOAT}


def test_what_it_computes_is_near(exported, role):
    """By ONNX's reference implementation, which really computes in half precision."""
    network = exported.networks[role]
    rng = np.random.default_rng(1)
    (tensor,) = network.inputs
    shape = [2 if isinstance(side, str) else side for side in tensor.shape]
    values = rng.integers(1, 400, shape) if tensor.dtype == "int64" else rng.normal(size=shape)
    feed = {tensor.name: values.astype(tensor.dtype)}
    wanted, found = (ReferenceEvaluator(data).run(None, feed) for data in (network.data, to_fp16(network).data))
    for before, after in zip(wanted, found, strict=True):
        assert after.dtype == np.float32
        assert 0 < np.abs(before - after).max() < 0.02 * np.abs(before).max()


def network_of(nodes, weights, *, like):
    """A network x (N, 4) -> y (N, 4)."""
    values = [helper.make_tensor_value_info(name, FLOAT, ["N", 4]) for name in ("x", "y")]
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "test", values[:1], values[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    return dataclasses.replace(like, data=model.SerializeToString())


@pytest.fixture
def like(exports):
    return exports["vit"].networks["vision"]


def test_weights_that_half_precision_cannot_hold_stay_as_they_are(like):
    weight = np.eye(4, dtype=np.float32) * 1e5
    nodes = [
        helper.make_node("MatMul", ["x", "large"], ["a"]),
        helper.make_node("MatMul", ["a", "small"], ["b"]),
        helper.make_node("Add", ["b", "mask"], ["c"]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    mask = np.array([0, -np.inf, 0, 0], np.float32)
    network = network_of(nodes, {"large": weight, "small": weight / 1e10, "mask": mask}, like=like)
    typed = converted(network)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in typed.model.graph.initializer}
    assert {name: array.dtype.name for name, array in weights.items()} == {
        "large": "float32",
        "small.fp16": "float16",
        "mask.fp16": "float16",
    }
    assert weights["mask.fp16"].tolist() == [0, -np.inf, 0, 0]


def test_a_cast_is_shared_and_values_that_are_only_moved_keep_their_precision(like):
    nodes = [
        helper.make_node("Softmax", ["x"], ["s"]),
        helper.make_node("Transpose", ["s"], ["t"]),
        helper.make_node("Transpose", ["t"], ["u"]),
        helper.make_node("Relu", ["u"], ["a"]),
        helper.make_node("Tanh", ["u"], ["b"]),
        helper.make_node("Mul", ["a", "b"], ["c"]),
        helper.make_node("Softmax", ["c"], ["y"]),
    ]
    typed = converted(network_of(nodes, {}, like=like))
    assert set(typed.of("Transpose")) == {FLOAT}
    assert {kind for op in ("Relu", "Tanh", "Mul") for kind in typed.of(op)} == {HALF}
    assert [node.op_type for node in typed.model.graph.node].count("Cast") == 2


def test_a_residual_connection_has_no_last_projection(like):
    weights = {name: np.eye(4, dtype=np.float32) for name in ("v", "w")}
    nodes = [
        helper.make_node("MatMul", ["x", "v"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    typed = converted(network_of(nodes, weights, like=like))
    assert set(typed.of("MatMul")) == {HALF}


def test_a_graph_that_is_not_valid_is_refused(like):
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Softmax", ["a"], ["y"], axis=7)]
    with pytest.raises(ExportError, match="the vision network cannot be converted to fp16: "):
        to_fp16(network_of(nodes, {}, like=like))
