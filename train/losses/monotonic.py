"""All ways in which frames can follow an ordered list of steps: their total weight, and what each frame then shows.

A way is a path (k_1, ..., k_T). With at least as many frames as steps it begins with the first step, ends with the last
one, and goes on by at most one step a frame; with fewer frames it never goes back and may jump. A path weighs
exp(sum over t of score(t, k_t)). N sequences at once, each with K of its own, padded to the largest.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["even_belief", "log_partition", "step_posteriors"]

_BELIEF_SPREAD = 0.15  # share of the video
_FORBIDDEN = -1e5  # finite, because the gradient of logaddexp(-inf, -inf) is NaN


def even_belief(num_frames: int, num_steps: Tensor) -> Tensor:
    """A weak belief that the steps are evenly spread: log of an unscaled Gaussian about the even split.

    Args:
        num_frames: T.
        num_steps: int64 (N,), the true K of each sequence.

    Returns:
        float32 (N, T, K_max); columns from K on mean nothing.
    """
    frame_places = (torch.arange(num_frames, device=num_steps.device) + 0.5) / num_frames
    steps = torch.arange(int(num_steps.max()), device=num_steps.device)
    step_places = (steps + 0.5) / num_steps[:, None]  # (N, K)
    return -((frame_places[None, :, None] - step_places[:, None, :]) ** 2) / (2 * _BELIEF_SPREAD**2)


def log_partition(scores: Tensor, num_steps: Tensor) -> Tensor:
    """Log of the sum of all paths' weights (the forward recursion of a hidden Markov model, in log space).

    Args:
        scores: float (N, T, K_max); columns from K on are not read.
        num_steps: int64 (N,), K.

    Returns:
        (N,), with gradient.
    """
    count, num_frames, width = scores.shape
    columns = torch.arange(width, device=scores.device)
    outside = columns[None, :] >= num_steps[:, None]  # (N, K)
    tied = (num_steps <= num_frames)[:, None]
    scores = scores.masked_fill(outside[:, None, :], _FORBIDDEN)
    border = scores.new_full((count, 1), _FORBIDDEN)
    all_tied = bool(tied.all())
    total = scores[:, 0].masked_fill(tied & (columns > 0)[None, :], _FORBIDDEN)
    for t in range(1, num_frames):
        arriving = torch.logaddexp(total, torch.cat([border, total[:, :-1]], dim=1))
        if not all_tied:
            arriving = torch.where(tied, arriving, total.logcumsumexp(dim=1))
        total = arriving + scores[:, t]
    last = total.gather(1, num_steps[:, None] - 1)[:, 0]
    return last if all_tied else torch.where(tied[:, 0], last, total.logsumexp(dim=1))


def step_posteriors(scores: Tensor, num_steps: Tensor) -> Tensor:
    """Share of the paths' weight that has frame t at step k (forward-backward).

    It is the derivative of `log_partition` by the scores, and so computed.

    Args:
        scores: float (N, T, K_max).
        num_steps: int64 (N,).

    Returns:
        (N, T, K_max), without gradient; rows add up to 1, columns from K on are 0.
    """
    with torch.enable_grad():
        leaf = scores.detach().requires_grad_()
        (posteriors,) = torch.autograd.grad(log_partition(leaf, num_steps).sum(), leaf)
    return posteriors
