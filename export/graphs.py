"""The networks as they are exported: one module a role, with the tensors that the bundle's roles name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .source import SourceModel

__all__ = ["RoleGraph", "role_graphs"]

_TRACE_ROWS = 3  # not 0 or 1, which the exporter would take for constants


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoleGraph:
    """A network and how it is traced.

    Attributes:
        role: `vision`, `temporal` or `text`.
        module: in evaluation mode, on the CPU.
        example: its input, with a dynamic first dimension.
        rows: name of the dynamic first dimension in the bundle's roles, `N` or `B`.
    """

    role: str
    module: nn.Module
    example: Tensor
    rows: str


def role_graphs(model: SourceModel) -> Mapping[str, RoleGraph]:
    """The networks of a model, which is moved to the CPU and put into evaluation mode; `text` where it has texts."""
    model.cpu().eval()
    spec = model.preprocess
    frames = torch.zeros(_TRACE_ROWS, 3, spec.height, spec.width)
    with torch.no_grad():
        feature_dim = model.vision(frames[:1]).shape[-1]
    features = torch.zeros(_TRACE_ROWS, model.sampling.num_frames, feature_dim)
    graphs = [
        RoleGraph(role="vision", module=model.vision, example=frames, rows="N"),
        RoleGraph(role="temporal", module=model.temporal, example=features, rows="B"),
    ]
    if model.text is not None:
        tokens = torch.zeros(_TRACE_ROWS, model.context_length, dtype=torch.int64)
        graphs.append(RoleGraph(role="text", module=model.text, example=tokens, rows="N"))
    return {graph.role: graph for graph in graphs}
