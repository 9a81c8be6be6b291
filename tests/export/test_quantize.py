from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from weaksvr.export.isolated import Child
from weaksvr.export.quantize import quantize


def ops(data):
    return {node.op_type for node in onnx.load_from_string(data).graph.node}


def batches_of(network, count=3):
    (tensor,) = network.inputs
    rng = np.random.default_rng(4)
    shape = [2 if isinstance(side, str) else side for side in tensor.shape]
    made = (rng.integers(1, 400, shape) if tensor.dtype == "int64" else rng.normal(size=shape) for _ in range(count))
    return [batch.astype(tensor.dtype) for batch in made]


def outputs(data, name, batch):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(None, {name: batch})


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
@pytest.mark.parametrize("role", ["vision", "temporal"])
def test_a_transformer_is_quantized_per_channel(exports, role, static):
    network = exports["vit"].networks[role]
    name, batches = network.inputs[0].name, batches_of(network)
    found = quantize(network.data, static=static, name=name, batches=batches)
    assert quantize(network.data, static=static, name=name, batches=batches) == found
    assert ("QuantizeLinear" if static else "MatMulInteger") in ops(found)
    graph = onnx.load_from_string(found).graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    integer = {name: array for name, array in weights.items() if array.dtype == np.int8 and array.ndim > 1}
    scales = {len(array.ravel()) for name, array in weights.items() if name.endswith("_scale")}
    assert integer
    assert scales & {array.shape[-1] for array in integer.values()} - {1}
    for wanted, got in zip(outputs(network.data, name, batches[0]), outputs(found, name, batches[0]), strict=True):
        difference = np.abs(wanted - got).max()
        assert 0 < difference < 0.2 * np.abs(wanted).max()


def test_convolutions_are_for_static_quantization(exports):
    network = exports["workbench"].networks["vision"]
    batches = batches_of(network)
    assert quantize(network.data, static=False, name="frames", batches=()) is None
    found = quantize(network.data, static=True, name="frames", batches=batches)
    assert len(found) < 0.5 * len(network.data)
    (wanted,), (got,) = (outputs(data, "frames", batches[0]) for data in (network.data, found))
    assert 0 < np.abs(wanted - got).max() < 0.2 * np.abs(wanted).max()


def test_products_of_two_activations_stay(exports):
    network = exports["vit"].networks["vision"]
    products = [node for node in onnx.load_from_string(network.data).graph.node if node.op_type == "MatMul"]
    weights = {tensor.name for tensor in onnx.load_from_string(network.data).graph.initializer}
    of_two = sum(not weights.intersection(node.input) for node in products)
    assert of_two
    dynamic = onnx.load_from_string(quantize(network.data, static=False, name="frames", batches=())).graph
    assert sum(node.op_type == "MatMul" for node in dynamic.node) == of_two


def test_it_works_in_the_child(exports):
    network = exports["vit"].networks["text"]
    with Child("int8") as child:
        found = child.call("quantizing the text network", "quantize", network.data, False, "tokens", [])
    assert found == quantize(network.data, static=False, name="tokens", batches=())
