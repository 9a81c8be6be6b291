"""An optimal transport of frames to steps that keeps their order, by entropic regularisation (Sinkhorn)."""

from __future__ import annotations

import torch
from torch import Tensor

from .monotonic import even_belief

__all__ = ["transport_plan"]

_ROUNDS = 30


def transport_plan(similarities: Tensor, num_steps: Tensor) -> Tensor:
    """What each frame shows, where every step gets an equal share of the frames.

    The plan maximises <plan, similarities + belief> + entropy(plan) among those whose frames weigh 1 each and whose
    steps weigh T / K each; the belief (a Gaussian about the even split) is the order prior.

    Args:
        similarities: scaled (the scale is the inverse of the entropy's weight), (N, T, K_max).
        num_steps: int64 (N,), K.

    Returns:
        (N, T, K_max), without gradient; rows add up to 1, columns from K on are 0.
    """
    with torch.no_grad():
        num_frames, width = similarities.shape[1:]
        scores = similarities.float() + even_belief(num_frames, num_steps)
        outside = torch.arange(width, device=scores.device)[None, :] >= num_steps[:, None]  # (N, K)
        scores = scores.masked_fill(outside[:, None, :], float("-inf"))
        share = (num_frames / num_steps).log()[:, None]
        plan = scores.log_softmax(dim=2)
        for _ in range(_ROUNDS):
            columns = plan.logsumexp(dim=1)
            plan = plan + (share - columns).masked_fill(outside, 0.0)[:, None, :]
            plan = plan.log_softmax(dim=2)
        return plan.exp()
