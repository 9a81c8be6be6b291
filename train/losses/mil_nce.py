"""The loss of MIL-NCE (Miech et al., 2020), as the published code computes it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["mil_nce_loss"]


def mil_nce_loss(video_vectors: Tensor, sentences: Sequence[Tensor]) -> Tensor:
    """Videos against the sentences of the batch, of which a video's own are positives together, not each by itself.

    With x_ijk = v_i · t_jk, not normalised and without a temperature: the mean over i of
    log( Σ_jk exp x_ijk + Σ_jk exp x_jik ) - log Σ_k exp x_iik. The first sum compares the video with all sentences,
    the second its sentences with all videos, and so the positives stand twice in the denominator, as published. A
    sentence that several videos have is a negative of the ones from another's list.

    Args:
        video_vectors: v, (B, D), of all videos of the joint batch.
        sentences: one (K, D) a video, K at least 1, may differ; a tensor (B, K, D) is the case where it does not.

    Returns:
        Scalar.
    """
    counts = torch.tensor([len(steps) for steps in sentences], device=video_vectors.device)
    owners = torch.arange(len(counts), device=counts.device)
    foreign = owners[:, None] != owners.repeat_interleave(counts)[None, :]  # (B, S), S sentences in all
    similarities = video_vectors @ torch.cat(list(sentences)).T  # (B, S)
    of_sentences = similarities.logsumexp(dim=0).expand_as(foreign)  # each over all videos
    positives = similarities.masked_fill(foreign, float("-inf")).logsumexp(dim=1)
    denominators = torch.logaddexp(
        similarities.logsumexp(dim=1), of_sentences.masked_fill(foreign, float("-inf")).logsumexp(dim=1)
    )
    return (denominators - positives).mean()
