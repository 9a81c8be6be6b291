from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from weaksvr.runtime.errors import BundleIntegrityError
from weaksvr.runtime.onnx_scan import refuse_external_data

WEIGHT = numpy_helper.from_array(np.arange(16, dtype=np.float32).reshape(4, 4), "w")


def outside(tensor: onnx.TensorProto) -> onnx.TensorProto:
    pointer = onnx.TensorProto()
    pointer.CopyFrom(tensor)
    onnx.external_data_helper.set_external_data(pointer, location="weights.bin", offset=0, length=64)
    pointer.ClearField("raw_data")
    return pointer


def value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4])


def model(*nodes: onnx.NodeProto, initializers=(), functions=(), sparse=()) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes) or [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [value("x")],
        [value("y")],
        list(initializers),
        sparse_initializer=list(sparse),
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(functions))


def sparse_tensor(values: onnx.TensorProto, indices: onnx.TensorProto) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(values=values, indices=indices, dims=[4])


def hidden_pointers() -> dict[str, onnx.ModelProto]:
    constant = helper.make_node("Constant", [], ["w"], value=outside(WEIGHT))
    branch = helper.make_graph([constant], "branch", [], [value("w")])
    loop = helper.make_node("If", ["c"], ["w"], then_branch=branch, else_branch=branch)
    function = helper.make_function("own", "f", [], ["w"], [constant], [helper.make_opsetid("", 18)])
    default = helper.make_attribute("a", outside(WEIGHT))
    by_default = helper.make_function(
        "own", "f", [], ["w"], [], [helper.make_opsetid("", 18)], attribute_protos=[default]
    )
    training = model(initializers=[WEIGHT])
    training.training_info.add().initialization.initializer.append(outside(WEIGHT))
    unmarked = model(initializers=[WEIGHT])
    unmarked.graph.initializer[0].external_data.add(key="location", value="weights.bin")
    marked = model(initializers=[WEIGHT])
    marked.graph.initializer[0].data_location = TensorProto.EXTERNAL
    values = numpy_helper.from_array(np.ones(1, np.float32), "v")
    indices = numpy_helper.from_array(np.ones(1, np.int64), "i")
    several = helper.make_node("Own", [], ["w"], tensors=[outside(WEIGHT)])
    graphs = helper.make_node("Own", [], ["w"], graphs=[branch])
    compiled = helper.make_node(
        "EPContext", ["x"], ["y"], domain="com.microsoft", embed_mode=0, ep_cache_context="../engine.plan"
    )
    return {
        "initializer": model(initializers=[outside(WEIGHT)]),
        "constant": model(constant),
        "branch": model(loop),
        "function": model(functions=[function]),
        "attribute of a function": model(functions=[by_default]),
        "training": training,
        "no mark": unmarked,
        "mark alone": marked,
        "sparse values": model(sparse=[sparse_tensor(outside(values), indices)]),
        "sparse indices": model(sparse=[sparse_tensor(values, outside(indices))]),
        "list of tensors": model(several),
        "compiled by a provider": model(compiled),
        "list of graphs": model(graphs),
        "sparse attribute": model(
            helper.make_node("Own", [], ["w"], sparse_value=sparse_tensor(outside(values), indices))
        ),
    }


@pytest.mark.parametrize("place", hidden_pointers())
def test_pointers_are_found_wherever_they_hide(place):
    data = hidden_pointers()[place].SerializeToString()
    with pytest.raises(BundleIntegrityError, match=r"net\.onnx: keeps weights in another file"):
        refuse_external_data(data, name="net.onnx")


def test_every_place_of_the_format_is_looked_into():
    """The field numbers against the onnx package's own description of the format."""
    from weaksvr.runtime.onnx_scan import NESTED

    protos = {
        "model": onnx.ModelProto,
        "training": onnx.TrainingInfoProto,
        "function": onnx.FunctionProto,
        "graph": onnx.GraphProto,
        "node": onnx.NodeProto,
        "attribute": onnx.AttributeProto,
        "sparse": onnx.SparseTensorProto,
        "tensor": onnx.TensorProto,
    }
    kinds = {proto.DESCRIPTOR.name: kind for kind, proto in protos.items()}
    for kind, proto in protos.items():
        fields = {
            field.number: kinds[field.message_type.name]
            for field in proto.DESCRIPTOR.fields
            if field.message_type is not None and field.message_type.name in kinds
        }
        assert fields == NESTED[kind], kind


def test_why_it_is_needed(tmp_path, monkeypatch):
    """The engine follows pointers even in a network that is given as bytes."""
    monkeypatch.chdir(tmp_path)
    graph = model(initializers=[WEIGHT])
    large = numpy_helper.from_array(np.ones((64, 4), np.float32), "w")
    graph.graph.initializer[0].CopyFrom(large)
    graph.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64]))
    onnx.save_model(graph, "split.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    data = (tmp_path / "split.onnx").read_bytes()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.ones((1, 64), np.float32)})[0].tolist() == [[64.0] * 4]
    with pytest.raises(BundleIntegrityError, match="keeps weights in another file"):
        refuse_external_data(data, name="split.onnx")


def test_whole_networks_pass(toys):
    for graph in toys.model().graphs().values():
        refuse_external_data(graph.SerializeToString(), name="x")
    refuse_external_data(model(initializers=[WEIGHT]).SerializeToString(), name="x")


@pytest.mark.parametrize(
    "data",
    [b"", b"no network", b"\x00" * 40, b"\x3a\xff\xff\xff\x7f", b"\xff" * 30, b"\x08", b"ORTM" * 20],
    ids=["empty", "text", "zeros", "too long", "overlong", "cut", "other format"],
)
def test_other_files_are_refused(data):
    with pytest.raises(BundleIntegrityError, match=r"x\.onnx: is not a readable ONNX file"):
        refuse_external_data(data, name="x.onnx")


def test_any_cut_is_refused_or_harmless(toys):
    data = toys.model().graphs()["temporal"].SerializeToString()
    for end in range(len(data)):
        try:
            refuse_external_data(data[:end], name="x")
        except BundleIntegrityError:
            continue


def test_bottomless_nesting_is_refused():
    body = b""
    for _ in range(200):  # a graph in an attribute in a node in a graph ...
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            size, length = len(body), bytearray()
            while size > 0x7F:
                length.append(size & 0x7F | 0x80)
                size >>= 7
            body = tag + bytes([*length, size]) + body
    with pytest.raises(BundleIntegrityError, match="nested too deep"):
        refuse_external_data(b"\x3a" + bytes([len(body) & 0x7F | 0x80, len(body) >> 7]) + body, name="x")
