"""The fine loss as the published code computes it: padding, inverted temperature and all, for comparison.

Facts that make it differ from the paper's Eq. 7 to 12: sentences are padded to K_max and padding columns take part in
softmax, labels and Viterbi; the learned scale (about 14) divides the similarities instead of multiplying them; the
sampled one-hot rows serve as logits of a second softmax; Viterbi multiplies raw cosines as if they were probabilities
and takes its back-pointers before the emission; the image direction of `split` carries no gradient while K <= T.
"""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .contrastive import unit

__all__ = ["official_fine_loss", "official_viterbi"]


def _gumbel_one_hot(logits: Tensor, temperature: Tensor, generator: torch.Generator | None) -> Tensor:
    """Hard straight-through Gumbel-softmax over the last axis."""
    uniform = torch.rand(logits.shape, generator=generator).clamp_(1e-9, 1 - 1e-7).to(logits.device)
    soft = torch.softmax((logits - torch.log(-torch.log(uniform))) / temperature, dim=-1)
    hard = F.one_hot(soft.argmax(dim=-1), logits.shape[-1]).to(soft.dtype)
    return hard + soft - soft.detach()


def official_viterbi(similarities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Path of the published recursion: products of raw similarities, forward jumps only.

    Args:
        similarities: (N observations, n states), any sign.

    Returns:
        int64 (N,).
    """
    num_observations, num_states = similarities.shape
    allowed = np.triu(np.full((num_states, num_states), 1.0 / num_states))
    delta = similarities[0] / num_states
    pointers = np.zeros((num_observations, num_states), dtype=np.int64)
    for step in range(1, num_observations):
        arriving = delta[:, None] * allowed  # (from, to)
        pointers[step] = arriving.argmax(axis=0)
        delta = (arriving * similarities[step][None, :]).max(axis=0)
    path = np.empty(num_observations, dtype=np.int64)
    path[-1] = delta.argmax()
    for step in range(num_observations - 1, 0, -1):
        path[step - 1] = pointers[step, path[step]]
    return path


def _labels(samples: Tensor, similarities: Tensor, labels: Literal["sort", "viterbi"]) -> Tensor:
    """Labels (B, N) for every row of (B, N, n)."""
    if labels == "sort":
        return samples.detach().argmax(dim=-1).sort(dim=-1).values
    paths = [official_viterbi(video) for video in similarities.detach().double().cpu().numpy()]
    return torch.from_numpy(np.stack(paths)).to(similarities.device)


def _block_mean(rows: Tensor, groups: int) -> Tensor:
    """Average (N, n) rows in `groups` runs of nearly equal length."""
    borders = [round(group * len(rows) / groups) for group in range(groups + 1)]
    return torch.stack([rows[start:end].mean(dim=0) for start, end in itertools.pairwise(borders)])


def _split_loss(similarities: Tensor, num_steps: Tensor) -> Tensor:
    """Both directions of the published `split` for similarities (B, T, K_max)."""
    batch, num_frames, padded = similarities.shape
    image_logits, image_labels, text_losses = [], [], []
    for video, count in zip(similarities, num_steps.tolist(), strict=True):
        labels = torch.arange(num_frames, device=video.device)
        logits = torch.zeros_like(video)
        if count > num_frames:
            groups = _block_mean(video.T[:count], num_frames).T  # (T, T)
            logits = F.pad(groups, (0, padded - num_frames)) if padded > num_frames else groups[:, :padded]
        else:
            labels = torch.tensor([round(i * count / num_frames) for i in range(num_frames)], device=video.device)
        image_logits.append(logits)
        image_labels.append(labels.clamp_max(padded - 1))
        groups = min(count, num_frames)
        block = _block_mean(video[:, :count], groups)  # (groups, K)
        text_logits = torch.zeros(padded, padded, device=video.device, dtype=video.dtype)
        text_logits[:count, :groups] = block.T
        text_labels = torch.zeros(padded, dtype=torch.int64, device=video.device)
        text_labels[:count] = torch.arange(count, device=video.device).clamp_max(groups - 1)
        mask = torch.arange(padded, device=video.device) < count
        text_losses.append(F.cross_entropy(text_logits, text_labels, reduction="none") * mask)
    image = F.cross_entropy(torch.cat(image_logits), torch.cat(image_labels))
    return image + torch.stack(text_losses).sum() / (batch * padded)


def official_fine_loss(
    frame_features: Tensor,
    sentences: Tensor,
    num_steps: Tensor,
    temperature: Tensor,
    *,
    labels: Literal["sort", "viterbi", "split"],
    generator: torch.Generator | None = None,
) -> Tensor:
    """Frames against padded sentences, both directions, as published.

    A label that would fall on column K_max (`split`, K = K_max) is put on the last column, where the published code
    stops with an IndexError.

    Args:
        frame_features: H, (B, T, D).
        sentences: (B, K_max, D); rows from K on hold the features of the empty (all-zero) token row.
        num_steps: int64 (B,), the true K.
        temperature: scalar that divides the similarities.
        labels: kind of pseudo labels.
        generator: source of the Gumbel noise.

    Returns:
        Scalar.
    """
    similarities = unit(frame_features) @ unit(sentences).transpose(1, 2)  # (B, T, K_max)
    if labels == "split":
        return _split_loss(similarities, num_steps)
    loss = similarities.new_zeros(())
    image = _gumbel_one_hot(similarities, temperature, generator)
    image_labels = _labels(image, similarities, labels)
    loss = loss + F.cross_entropy(image.flatten(0, 1), image_labels.flatten())
    reverse = similarities.transpose(1, 2)  # (B, K_max, T)
    text = _gumbel_one_hot(reverse, temperature, generator)
    text_labels = _labels(text, reverse, labels)
    per_row = F.cross_entropy(text.flatten(0, 1), text_labels.flatten(), reduction="none")
    mask = torch.arange(sentences.shape[1], device=num_steps.device)[None, :] < num_steps[:, None]
    return loss + (per_row * mask.flatten()).mean()
