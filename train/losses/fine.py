"""The fine loss (paper, Eq. 7 to 12) without padding, inside each paragraph or against the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .contrastive import unit
from .monotonic import even_belief, step_posteriors
from .pseudo_labels import sort_labels, split_labels, viterbi_labels

__all__ = ["batch_fine_loss", "frame_labels", "masked_fine_loss", "soft_fine_loss"]

Labels = Literal["sort", "viterbi", "split"]


def frame_labels(similarities: Tensor, labels: Labels, generator: torch.Generator | None = None) -> Tensor:
    """Pseudo labels int64 (T,) of one video from its scaled similarities (T, K)."""
    if labels == "sort":
        return sort_labels(similarities, generator)
    if labels == "viterbi":
        return viterbi_labels(similarities)
    return split_labels(*similarities.shape)


def _text_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Step to frames: mean over the labelled steps of -log(share of the softmax over T that falls on its frames).

    Args:
        logits: scaled similarities (T, K).
        target: int64 (T,), the step of each frame.
    """
    present = torch.unique(target)
    log_share = torch.log_softmax(logits.T[present], dim=1)  # (K', T)
    own = target[None, :] == present[:, None]
    return -log_share.masked_fill(~own, float("-inf")).logsumexp(dim=1).mean()


def masked_fine_loss(
    frame_features: Tensor,
    sentences: Sequence[Tensor],
    *,
    scale: float,
    labels: Labels,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Frames against the sentences of their own paragraph, both directions; mean over the videos.

    Args:
        frame_features: H, (B, T, D).
        sentences: one (K, D) a video, K may differ.
        scale: factor of the cosines.
        labels: kind of pseudo labels.
        generator: source of the draw of `sort`.

    Returns:
        Scalar.
    """
    losses = []
    for features, steps in zip(unit(frame_features), sentences, strict=True):
        logits = scale * features @ unit(steps).T  # (T, K)
        target = frame_labels(logits, labels, generator).to(logits.device)
        losses.append(F.cross_entropy(logits, target) + _text_loss(logits, target))
    return torch.stack(losses).mean()


def _batch_logits(frame_features: Tensor, distinct: Tensor, scale: float) -> Tensor:
    """Scaled cosines (B, T, U) of the frames and the sentences, whose mean is subtracted first.

    The features of an untrained text tower share a large common part, beside which what tells sentences apart would
    hardly count.
    """
    if len(distinct) > 1:
        distinct = distinct - distinct.mean(dim=0, keepdim=True)
    return scale * unit(frame_features) @ unit(distinct).T


def batch_fine_loss(
    frame_features: Tensor,
    distinct: Tensor,
    steps: Sequence[Tensor],
    *,
    scale: float,
    labels: Labels,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Frames against every distinct sentence of the batch; the labels still come from the own paragraph alone.

    Args:
        frame_features: H, (B, T, D).
        distinct: features of the U distinct sentences of the batch, (U, D); their mean is subtracted.
        steps: one int64 (K,) a video: the rows of `distinct` that are its steps, in order.
        scale: factor of the cosines.
        labels: kind of pseudo labels.
        generator: source of the draw of `sort`.

    Returns:
        Scalar: mean over all frames of the cross-entropy.
    """
    logits = _batch_logits(frame_features, distinct, scale)
    host = logits.detach().float().cpu()
    targets = [
        rows.cpu()[frame_labels(similarities[:, rows.cpu()], labels, generator)]
        for similarities, rows in zip(host, steps, strict=True)
    ]
    return F.cross_entropy(logits.flatten(0, 1), torch.cat(targets).to(logits.device))


def soft_fine_loss(frame_features: Tensor, distinct: Tensor, steps: Sequence[Tensor], *, scale: float) -> Tensor:
    """As `batch_fine_loss`, with a share of every own step as each frame's target instead of one label.

    The shares are the posteriors of a hidden Markov model that visits every step, under a weak belief that the steps
    are evenly spread. The gradient is that of -log of the sum over all paths of the belief times the product over the
    frames of softmax(logits): the likelihood of the script, whatever the path.

    Args:
        frame_features: H, (B, T, D).
        distinct: features of the U distinct sentences of the batch, (U, D); their mean is subtracted.
        steps: one int64 (K,) a video: the rows of `distinct` that are its steps, in order.
        scale: factor of the cosines.

    Returns:
        Scalar: mean over all frames of the cross-entropy.
    """
    logits = _batch_logits(frame_features, distinct, scale)
    padded = nn.utils.rnn.pad_sequence(list(steps), batch_first=True).to(logits.device)  # (B, K)
    num_steps = torch.tensor([len(rows) for rows in steps], device=logits.device)
    index = padded[:, None, :].expand(-1, logits.shape[1], -1)
    own = logits.detach().float().gather(2, index)  # (B, T, K)
    shares = step_posteriors(own + even_belief(logits.shape[1], num_steps), num_steps)
    target = torch.zeros_like(logits, dtype=torch.float32).scatter_add_(2, index, shares)
    return -(target * logits.float().log_softmax(dim=2)).sum(dim=2).mean()
