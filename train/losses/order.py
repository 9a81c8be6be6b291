"""The order contrast: a video's frames against whole scripts, step after step."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from .contrastive import unit
from .monotonic import even_belief, log_partition

__all__ = ["order_loss", "script_scores"]


def script_scores(similarities: Tensor, scripts: Tensor, num_steps: Tensor, *, scale: float) -> Tensor:
    """How well each video's frames follow each of its scripts: a soft mean of the similarity along the best paths.

    With the path drawn from the belief that steps are evenly spread, the score is
    log E[exp(scale * sum over t of similarity(t, k_t))] / (scale * T): between the mean over the believed paths (scale
    near 0) and that of the best path (scale large), for scripts of any length.

    Args:
        similarities: cosines (B, T, U).
        scripts: int64 (B, C, K_max): rows of the U sentences, C scripts for each video; padding holds any row.
        num_steps: int64 (B, C), K.
        scale: see above.

    Returns:
        (B, C), in [-1, 1].
    """
    batch, num_frames, _ = similarities.shape
    count, width = scripts.shape[1:]
    index = scripts[:, :, None, :].expand(-1, -1, num_frames, -1)
    along = similarities[:, None].expand(-1, count, -1, -1).gather(3, index).flatten(0, 1)  # (B C, T, K)
    lengths = num_steps.flatten()
    belief = even_belief(num_frames, lengths)
    if belief.shape[2] < width:
        along = along[:, :, : belief.shape[2]]
    total = log_partition(scale * along + belief, lengths) - log_partition(belief, lengths)
    return (total / (scale * num_frames)).view(batch, count)


def order_loss(
    frame_features: Tensor,
    distinct: Tensor,
    scripts: Tensor,
    num_steps: Tensor,
    own: Tensor,
    *,
    scale: float,
    contrast: float = 20.0,
    excluded: Tensor | None = None,
) -> Tensor:
    """InfoNCE of each video's own script against other scripts, by `script_scores`.

    Args:
        frame_features: H, (B, T, D).
        distinct: features of the U distinct sentences, (U, D); their mean is subtracted.
        scripts: int64 (B, C, K_max), rows of `distinct`.
        num_steps: int64 (B, C).
        own: int64 (B,), the place of each video's own script among its C.
        scale: of the paths.
        contrast: factor of the scores.
        excluded: bool (B, C): scripts that are no negatives.

    Returns:
        Scalar: mean over the videos.
    """
    if len(distinct) > 1:
        distinct = distinct - distinct.mean(dim=0, keepdim=True)
    similarities = (unit(frame_features) @ unit(distinct).T).float()
    logits = contrast * script_scores(similarities, scripts, num_steps, scale=scale)
    if excluded is not None:
        logits = logits.masked_fill(excluded, float("-inf"))
    return F.cross_entropy(logits, own)
