"""The network as a runtime backend, so that training validates with the deployed embedding code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..runtime.errors import BundleError
from .backbones import TextTower

__all__ = ["Networks", "TorchBackend"]


class Networks(Protocol):
    """One network for each role of a bundle; `WeakSVR` is one.

    Attributes:
        vision: (N, 3, H, W) -> (N, F).
        temporal: (B, T, F) -> H (B, T, D), v (B, D).
        text: int64 (N, L) -> (N, D); None where the model has no texts.
    """

    @property
    def vision(self) -> nn.Module: ...

    @property
    def temporal(self) -> nn.Module: ...

    @property
    def text(self) -> TextTower | None: ...


class TorchBackend:
    """Runs the roles of a bundle with PyTorch, in fp32.

    Args:
        model: the networks; put into evaluation mode by the caller.
        device: where they are.
    """

    provider = "PyTorch"
    precision = "fp32"

    def __init__(self, model: Networks, device: torch.device) -> None:
        self.model = model
        self.device = device.type
        self._device = device

    @torch.no_grad()
    def run(self, role: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run `vision`, `temporal` or `text`; names and shapes are those of the bundle's roles.

        Raises:
            BundleError: if `role` is none of them.
        """
        tensors = {
            name: torch.from_numpy(np.array(array, order="C")).to(self._device) for name, array in inputs.items()
        }
        if role == "vision":
            outputs = {"features": self.model.vision(tensors["frames"])}
        elif role == "temporal":
            frame_features, video_vectors = self.model.temporal(tensors["features"])
            outputs = {"frame_features": frame_features, "video_vector": video_vectors}
        elif role == "text" and self.model.text is not None:
            outputs = {"text_features": self.model.text(self.model.text.trim(tensors["tokens"]))}
        else:
            raise BundleError(f"the model has no {role} network")
        return {name: tensor.float().cpu().numpy() for name, tensor in outputs.items()}
