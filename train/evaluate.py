"""Protocols to numbers, for a network that is being trained and for a finished RUN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ..runtime.embedder import Embedder, SampledVideo, VideoEmbedding
from ..runtime.evaluate import embed_videos, pair_distances
from ..runtime.manifest import Clip, Pair
from ..runtime.metrics import roc_auc
from ..runtime.spec import METHODS
from .checkpoint import Checkpoint
from .model import WeakSVR
from .torch_backend import TorchBackend
from .tower_tokenizer import model_tokenizer, tokenizer_of

__all__ = ["Validator", "checkpoint_embedder"]

_KEPT_BYTES = 1 << 30  # decoded validation frames kept in memory between epochs


def checkpoint_embedder(checkpoint: Checkpoint, *, device: torch.device) -> Embedder:
    """The deployed embedding code over a RUN's best weights, texts included.

    Raises:
        OptionError: if the text tower has a tokenizer of its own that is not at hand.
    """
    model = checkpoint.model.to(device)
    tokenizer = tokenizer_of(model_tokenizer(checkpoint.config.model))
    return Embedder(
        TorchBackend(model, device), sampling=model.sampling, preprocess=model.preprocess, tokenizer=tokenizer
    )


class _KeepingEmbedder(Embedder):
    """Keeps sampled frames in memory up to 1 GiB; the frames do not change while the weights do."""

    def __init__(self, model: WeakSVR, device: torch.device) -> None:
        super().__init__(TorchBackend(model, device), sampling=model.sampling, preprocess=model.preprocess)
        self._kept: dict[tuple[Path, float | None, float | None], SampledVideo] = {}
        self._room = _KEPT_BYTES

    def embed(self, path: Path, *, start: float | None = None, end: float | None = None) -> VideoEmbedding:
        key = (path, start, end)
        sampled = self._kept.get(key) or self.read(path, start=start, end=end)
        if key not in self._kept and sampled.frames.nbytes <= self._room:
            self._kept[key] = sampled
            self._room -= sampled.frames.nbytes
        return self.embed_sampled(sampled)


class Validator:
    """AUC of both ways to compare on the pairs of a split.

    Args:
        model: the network, in evaluation mode when called.
        splits: by name, clips and pairs of both kinds.
        device: where the network is.
    """

    def __init__(
        self, model: WeakSVR, splits: Mapping[str, tuple[Sequence[Clip], Sequence[Pair]]], *, device: torch.device
    ) -> None:
        self._embedder = _KeepingEmbedder(model, device)
        self._splits = splits

    def __call__(self, split: str) -> dict[str, float]:
        """`auc_vector` and `auc_alignment` (positive = same procedure)."""
        clips, pairs = self._splits[split]
        same = np.array([pair.same for pair in pairs])
        videos = [path for pair in pairs for path in (pair.video_a, pair.video_b)]
        embeddings = embed_videos(self._embedder, videos, clips=clips)
        return {
            f"auc_{method}": round(roc_auc(same, pair_distances(embeddings, pairs, method=method)), 6)
            for method in METHODS
        }
