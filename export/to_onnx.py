"""From a PyTorch network to one self-contained ONNX file with a dynamic first dimension."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping

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

_MAX_BYTES = 2**31 - 1


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's own progress lines and deprecation warnings are not the user's business."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)


def _tensor_specs(values: list[onnx.ValueInfoProto], layout: tuple[TensorSpec, ...], rows: str) -> tuple[TensorSpec, ...]:
    """The graph's tensors, the dynamic dimension by its name in the roles."""
    specs = []
    for value, wanted in zip(values, layout, strict=True):
        shape: list[int | str] = []
        for index, dimension in enumerate(value.type.tensor_type.shape.dim):
            fixed = dimension.HasField("dim_value")
            if fixed == (index == 0):
                found = dimension.dim_value if fixed else dimension.dim_param
                raise ExportError(
                    f"{value.name}: dimension {index} is {found!r} in the exported graph; only the first may be "
                    "dynamic, and it must be"
                )
            shape.append(dimension.dim_value if fixed else rows)
        specs.append(TensorSpec(name=value.name, dtype=wanted.dtype, shape=tuple(shape)))
    return tuple(specs)


def export_onnx(graph: RoleGraph, *, metadata: Mapping[str, str]) -> NewNetwork:
    """Export one network in fp32.

    Args:
        graph: what to export.
        metadata: written into the ONNX file itself.

    Raises:
        ExportError: if the exporter fails, a dimension is not what it should be, or the file would need a second one.
    """
    layout = ROLES[graph.role]
    rows = torch.export.Dim("rows", min=1)
    try:
        with _quiet():
            program = torch.onnx.export(
                graph.module,
                (graph.example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[tensor.name for tensor in layout.inputs],
                output_names=[tensor.name for tensor in layout.outputs],
                dynamic_shapes=({0: rows},),
                external_data=False,
                verbose=False,
            )
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportError(f"the {graph.role} network cannot be exported to ONNX: {reason[0]}") from error
    if program is None:
        raise ExportError(f"the {graph.role} network cannot be exported to ONNX: the exporter gave nothing")
    proto = program.model_proto
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    if proto.ByteSize() > _MAX_BYTES:
        raise ExportError(f"the {graph.role} network is larger than 2 GiB, which one ONNX file cannot hold")
    return NewNetwork(
        role=graph.role,
        precision="fp32",
        opset=OPSET,
        inputs=_tensor_specs(list(proto.graph.input), layout.inputs, graph.rows),
        outputs=_tensor_specs(list(proto.graph.output), layout.outputs, graph.rows),
        data=proto.SerializeToString(),
    )
