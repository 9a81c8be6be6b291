"""From a PyTorch network to one self-contained ONNX file with a dynamic first dimension."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import onnx
import torch

from ..runtime.bundle import NewNetwork
from ..runtime.bundle_format import ROLES
from ..runtime.errors import ExportError
from ..runtime.spec import TensorSpec
from .graphs import RoleGraph

__all__ = ["OPSET", "export_onnx"]

OPSET = 20
"""The first operator set in which both LayerNormalization and Gelu are single operators."""

_MAX_WEIGHT_BYTES = 2**31 - 2**24  # one file holds 2 GiB, of which the graph itself may take 16 MiB


def export_onnx(graph: RoleGraph, *, metadata: Mapping[str, str]) -> NewNetwork:
    """Export one network in fp32. The same network gives the same bytes, wherever it is exported.

    Args:
        graph: what to export.
        metadata: written into the ONNX file itself.

    Raises:
        ExportError: if the exporter fails, a dimension is not what it should be, or the weights need a second file.
    """
    _refuse_too_large(graph)
    layout = ROLES[graph.role]
    proto = _trace(graph)
    _strip(proto)
    _share(proto.graph)
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    return NewNetwork(
        role=graph.role,
        precision="fp32",
        opset=OPSET,
        inputs=_tensor_specs(proto.graph.input, layout.inputs, graph),
        outputs=_tensor_specs(proto.graph.output, layout.outputs, graph),
        data=proto.SerializeToString(deterministic=True),
    )


def _refuse_too_large(graph: RoleGraph) -> None:
    module = graph.module
    size = sum(tensor.nbytes for tensor in itertools.chain(module.parameters(), module.buffers()))
    if size > _MAX_WEIGHT_BYTES:
        raise ExportError(
            f"the {graph.role} network has {size / 2**30:.1f} GiB of weights, but one ONNX file holds 2 GiB; "
            "train a smaller one"
        )


def _trace(graph: RoleGraph) -> onnx.ModelProto:
    layout = ROLES[graph.role]
    try:
        with _quiet():
            program = torch.onnx.export(
                graph.module,
                (graph.example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[tensor.name for tensor in layout.inputs],
                output_names=[tensor.name for tensor in layout.outputs],
                dynamic_shapes=({0: torch.export.Dim(graph.rows, min=1)},),
                external_data=False,
                verbose=False,
            )
            if program is None:
                raise ExportError(f"the {graph.role} network cannot be exported to ONNX: the exporter gave nothing")
            return program.model_proto
    except ExportError:
        raise
    except Exception as error:  # whatever a network may do wrong under the tracer
        cause = error.__cause__ or error  # the exporter's own text is about the exporter
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise ExportError(f"the {graph.role} network cannot be exported to ONNX: {reason}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's own lines, logs and deprecation warnings are not the user's business; its exceptions are."""
    disabled = logging.root.manager.disable
    nowhere = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(disabled)


def _strip(proto: onnx.ModelProto) -> None:
    """Remove what the exporter notes at every node: stack traces, with the paths of the machine that exported."""
    graph = proto.graph
    for holders in (graph.node, graph.value_info, graph.input, graph.output, graph.initializer, (graph, proto)):
        for holder in holders:
            del holder.metadata_props[:]
            holder.ClearField("doc_string")


def _share(graph: onnx.GraphProto) -> None:
    """Keep equal constants once: the exporter writes a causal mask for every layer that uses it."""
    first: dict[tuple[Any, ...], str] = {}
    names: dict[str, str] = {}
    for tensor in graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        key = (tensor.data_type, array.shape, hashlib.sha256(array.tobytes()).digest())
        names[tensor.name] = first.setdefault(key, tensor.name)
    for index in reversed(range(len(graph.initializer))):
        name = graph.initializer[index].name
        if names[name] != name:
            del graph.initializer[index]
    for node in _nodes(graph):
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, those of branches and loops included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _tensor_specs(
    values: Iterable[onnx.ValueInfoProto], layout: tuple[TensorSpec, ...], graph: RoleGraph
) -> tuple[TensorSpec, ...]:
    """The graph's inputs or outputs, checked: the first dimension is dynamic and one and the same, the rest fixed."""
    specs = []
    for value, wanted in zip(values, layout, strict=True):
        tensor = value.type.tensor_type
        shape = tuple(
            side.dim_value if side.HasField("dim_value") else side.dim_param or "?" for side in tensor.shape.dim
        )
        if shape[:1] != (graph.rows,) or not all(isinstance(side, int) for side in shape[1:]):
            raise ExportError(
                f"the {graph.role} network cannot be exported to ONNX: {value.name} has shape {_shown(shape)} in the "
                f"graph; its first dimension must be {graph.rows}, and only that"
            )
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        if dtype != wanted.dtype:
            raise ExportError(f"the {graph.role} network has {value.name} in {dtype}, but needs {wanted.dtype}")
        specs.append(TensorSpec(name=value.name, dtype=wanted.dtype, shape=shape))
    return tuple(specs)


def _shown(shape: Iterable[int | str]) -> str:
    return f"({', '.join(map(str, shape))})"
