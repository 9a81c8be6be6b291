"""The coarse loss: videos against paragraphs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["coarse_loss", "unit"]


def unit(x: Tensor) -> Tensor:
    """X / (|x| + 1e-6) over the last axis, as the published code normalises."""
    return x / (x.norm(dim=-1, keepdim=True) + 1e-6)


def coarse_loss(
    video_vectors: Tensor,
    paragraphs: Tensor,
    scale: Tensor,
    *,
    labels: Tensor | None = None,
    negatives: Tensor | None = None,
) -> Tensor:
    """Symmetric InfoNCE between videos and their paragraphs (paper, Eq. 4 to 6): the sum of both directions.

    Args:
        video_vectors: v, (B, D).
        paragraphs: l, (B, D), features of the paragraphs; row i belongs to video i.
        scale: factor of the cosines, a scalar.
        labels: int64 (B,); videos with the same label are not negatives of one another.
        negatives: (B, M, D) further paragraphs, M wrong ones for each video, which only that video is compared with.

    Returns:
        Scalar.
    """
    videos, texts = unit(video_vectors), unit(paragraphs)
    logits = scale * videos @ texts.T  # (B, B)
    if labels is not None:
        same = labels[:, None] == labels[None, :]
        same.fill_diagonal_(False)
        logits = logits.masked_fill(same, float("-inf"))
    target = torch.arange(len(logits), device=logits.device)
    to_text = logits
    if negatives is not None:
        own = scale * torch.einsum("bd,bmd->bm", videos, unit(negatives))  # (B, M)
        to_text = torch.cat([logits, own], dim=1)
    return F.cross_entropy(to_text, target) + F.cross_entropy(logits.T, target)
