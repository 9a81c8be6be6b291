"""The sequence alignment loss of the supervised setting: two videos of one procedure, frame by frame."""

from __future__ import annotations

import torch
from torch import Tensor

from .contrastive import unit

__all__ = ["sequence_alignment_loss"]


def sequence_alignment_loss(left: Tensor, right: Tensor) -> Tensor:
    """Mean over the pairs of sum_t (1 - M_tt), where M is the mean of the row and the column softmax of the cosines.

    The alignment that SVIP introduced and the paper adopts: frame t of one video is to be most like frame t of the
    other. The cosines are not scaled, as published, so that the loss of T frames ends near T - T e / (e + T - 1).

    Args:
        left, right: (B, T, E), frame features of the two videos of each pair.

    Returns:
        Scalar.
    """
    similarities = unit(left) @ unit(right).transpose(1, 2)  # (B, T, T)
    matched = 0.5 * (torch.softmax(similarities, dim=1) + torch.softmax(similarities, dim=2))
    return (1.0 - matched.diagonal(dim1=1, dim2=2)).sum(dim=1).mean()
