from __future__ import annotations

import json

import pytest
from weaksvr.export.engine_layers import LayerCount, refuse_other_precision
from weaksvr.runtime.errors import ExportError


def inspected(*layers):
    return json.dumps({"Layers": list(layers), "I/O Tensors": [{"Name": "frames", "DataType": "Half"}]})


def layer(inputs, outputs, **more):
    """As TensorRT 10 describes one: format and type in one field."""
    described = [
        [{"Name": "x", "Dimensions": [1, 8], "Format/Datatype": kind} for kind in k] for k in (inputs, outputs)
    ]
    return {"Name": "a", "LayerType": "gemm", "Inputs": described[0], "Outputs": described[1], **more}


def layer_11(*types):
    """As TensorRT 11 does: in two."""
    tensors = [{"Name": "x", "DataType": kind, "Format": "Row major linear (kLINEAR)"} for kind in types]
    return {"Name": "a", "LayerType": "gemm", "Inputs": tensors[:1], "Outputs": tensors[1:]}


SINGLE = "Row major linear FP32"
HALF = "Row major linear FP16 format"
UNKNOWN = "N/A due to dynamic shapes"


@pytest.mark.parametrize(
    ("layers", "count"),
    [
        ([layer([SINGLE], [SINGLE])], (0, 1, 1)),
        ([layer([SINGLE], [HALF]), layer([HALF], [SINGLE])], (2, 2, 2)),
        ([layer(["Channel major FP16 format where channel % 8 == 0"], [SINGLE])], (1, 1, 1)),
        ([layer(["Half"], ["Half"]), layer(["Float"], ["Float"])], (1, 2, 2)),
        ([layer_11("Float", "Half"), layer_11("Float", "Float"), layer_11("Int64", "Int64")], (1, 2, 3)),
        ([layer(["BFloat16"], ["BFloat16"]), layer(["Int8"], ["FP8"])], (0, 0, 2)),
        ([layer([UNKNOWN], [UNKNOWN], Weights={"Type": "Half", "Count": 9})], (1, 1, 1)),
        ([layer([UNKNOWN], [UNKNOWN], Bias={"Type": "Float", "Count": 9})], (0, 1, 1)),
        ([layer([UNKNOWN], [UNKNOWN])], (0, 0, 1)),
        (["a name alone", "another"], (0, 0, 2)),
        ([{"Name": "no tensors", "Inputs": None}], (0, 0, 1)),
        ([], (0, 0, 0)),
    ],
)
def test_layers_are_counted_by_their_types(layers, count):
    found = LayerCount.of_engine(inspected(*layers))
    assert (found.half, found.known, found.layers) == count


def test_layers_of_a_network_are_counted_by_their_types():
    found = LayerCount.of_types([["DataType.HALF"], ["DataType.FLOAT", "DataType.INT64"], ["DataType.BOOL"], []])
    assert found == LayerCount(half=1, known=2, layers=4)
    assert found.share == 0.5
    assert str(found) == "1 of 2 layers in half precision"


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "Layers: a, b"])
def test_what_is_no_list_of_layers(text):
    with pytest.raises(ExportError, match="TensorRT's engine inspector lists no layers"):
        LayerCount.of_engine(text)


def count(half, known):
    return LayerCount(half=half, known=known, layers=known + 3)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (count(0, 90), count(0, 30)),  # fp32
        (count(60, 90), count(25, 30)),  # fp16
        (count(60, 90), count(5, 30)),  # fp16, much of it fused
        (count(1, 90), count(1, 30)),
    ],
)
def test_what_was_asked_for_is_accepted(asked, found):
    refuse_other_precision(asked, found)


@pytest.mark.parametrize(
    ("asked", "found", "message"),
    [
        (
            count(0, 90),
            count(1, 30),
            r"^the network asks for fp32, but the engine has 1 of 30 layers in half precision$",
        ),
        (count(60, 90), count(0, 30), r"asks for half precision \(60 of 90 layers.* but the engine has 0 of 30 layers"),
        (count(60, 90), count(4, 30), r"asks for half precision .* but the engine has 4 of 30 layers"),
        (count(60, 90), count(0, 0), r"inspector does not say in which precision the engine's layers compute$"),
        (count(0, 0), count(0, 0), r"inspector does not say in which precision"),
    ],
)
def test_what_was_not_asked_for_is_refused(asked, found, message):
    with pytest.raises(ExportError, match=message):
        refuse_other_precision(asked, found)
