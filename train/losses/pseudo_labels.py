"""Pseudo labels: which step each frame shows, guessed from similarities and from the order of the steps.

All functions take the scaled similarities of one video, float (T, K), and return int64 (T,), non-decreasing, without
gradient. `sort` and `split` are the paper's section 3.4 (Eq. 8 to 12); `viterbi` is solved in log space here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...runtime.alignment import monotonic_viterbi
from .monotonic import even_belief

__all__ = ["sort_labels", "split_labels", "viterbi_labels"]


def split_labels(num_frames: int, num_steps: int) -> Tensor:
    """An even split: frame t shows step floor(t K / T).

    Returns:
        int64 (T,).
    """
    return torch.arange(num_frames) * num_steps // num_frames


def sort_labels(similarities: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Each frame draws a step (Gumbel-max), and the drawn steps are put in ascending order.

    Args:
        similarities: scaled, (T, K).
        generator: source of the draw; without one the most similar step is taken.
    """
    scores = similarities.detach().float().cpu()
    if generator is not None:
        uniform = torch.rand(scores.shape, generator=generator).clamp_(1e-9, 1 - 1e-7)
        scores = scores - torch.log(-torch.log(uniform))
    return scores.argmax(dim=1).sort().values


def viterbi_labels(similarities: Tensor) -> Tensor:
    """The likeliest path that never goes back, under a weak belief that the steps are evenly spread.

    Before the features know anything, the path that the similarities alone favour is arbitrary, and training on it
    confirms it. The belief, a Gaussian about the even split, decides until the similarities know better. Where the
    path would still leave a step without a frame, the even split is taken. With fewer frames than steps the path is
    taken as it is.

    Args:
        similarities: scaled, (T, K).
    """
    scores = torch.log_softmax(similarities.detach().float().cpu(), dim=1)
    num_frames, num_steps = scores.shape
    path = torch.from_numpy(monotonic_viterbi(scores + even_belief(num_frames, torch.tensor([num_steps]))[0]))
    if num_frames >= num_steps and len(path.unique()) < num_steps:
        return split_labels(num_frames, num_steps)
    return path
