"""Temporal Relation Network, multi-scale (Zhou et al., ECCV 2018): what changes between ordered frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...runtime.errors import OptionError

__all__ = ["RelationNetwork", "frame_subsets"]


def frame_subsets(num_frames: int, scale: int) -> tuple[tuple[int, ...], ...]:
    """The ordered subsets of `scale` frames that stand for all of them: one if `scale` is T, else three.

    The clip is cut into `scale` equal parts. The first subset takes a frame early in each part, the last a late one;
    the second goes from the clip's first frame to its last in steps as equal as frames allow. For each T and scale they
    differ from one another, and they are always the same, so that training, test and export see the same relations.

    Args:
        num_frames: T, at least 2.
        scale: from 2 to T.

    Returns:
        Frame numbers in [0, T), increasing within a subset.
    """
    if scale == num_frames:
        return (tuple(range(num_frames)),)
    parts, last, gaps = range(scale), num_frames - 1, scale - 1
    early, late = (tuple((6 * part + sixth) * num_frames // (6 * scale) for part in parts) for sixth in (1, 5))
    whole = tuple((2 * part * last + gaps) // (2 * gaps) for part in parts)  # rounded
    return early, whole, late


class RelationNetwork(nn.Module):
    """Frame features to H and v = the sum of what each scale's network sees in its frame subsets.

    Published: dropout 0.8, a linear layer to 256 numbers a frame that starts from a normal distribution of standard
    deviation 0.001, and for each scale T, T - 1, ..., 2 a network of its own. The published code draws new subsets at
    every call, also at test; here they are those of `frame_subsets`. Which layer is compared in verification was not
    published: v takes the place of the classes' scores, and H is a linear map of the frames' numbers.

    Args:
        feature_dim: F, size of the image tower's features.
        dim: D, size of H and v.
        num_frames: T, at least 2.
        width: numbers a frame, and of the hidden layers.
        dropout: probability, of the image tower's features.

    Raises:
        OptionError: if T is less than 2.
    """

    def __init__(self, feature_dim: int, *, dim: int, num_frames: int, width: int = 256, dropout: float = 0.8) -> None:
        super().__init__()
        if num_frames < 2:
            raise OptionError(f"a relation network compares frames: {num_frames = } is too few, give at least 2")
        self.num_frames = num_frames
        self.dropout = nn.Dropout(dropout)
        self.frame_layer = nn.Linear(feature_dim, width)
        self.frame_head = nn.Linear(width, dim)
        self.scales = range(num_frames, 1, -1)
        self.relations = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Linear(scale * width, width), nn.ReLU(), nn.Linear(width, dim))
            for scale in self.scales
        )
        for scale in self.scales:
            subsets = torch.tensor(frame_subsets(num_frames, scale))  # (subsets, scale)
            self.register_buffer(f"subsets_{scale}", subsets, persistent=False)
        nn.init.normal_(self.frame_layer.weight, std=0.001)
        nn.init.zeros_(self.frame_layer.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a batch of videos.

        Args:
            features: (B, T, F) frame features in time order.

        Returns:
            H (B, T, D) and v (B, D), neither normalised.
        """
        frames = self.frame_layer(self.dropout(features))  # (B, T, W)
        seen = []
        for scale, relation in zip(self.scales, self.relations, strict=True):
            subsets = self.get_buffer(f"subsets_{scale}")
            chosen = frames[:, subsets.flatten()].reshape(-1, *subsets.shape, frames.shape[-1])  # (B, subsets, s, W)
            seen.append(relation(chosen.flatten(2)).sum(1))
        return self.frame_head(frames), torch.stack(seen).sum(0)
