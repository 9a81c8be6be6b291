"""The text tower of MIL-NCE: a table of word vectors, two linear layers, and a maximum over the words between them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .backbones import TextEncoder

__all__ = ["WordTower"]

_PADDING = 0


class WordTower(TextEncoder):
    """Texts as sets of words: what words there are counts, not their order.

    The published table holds word2vec vectors of 66250 words. Here a word is a token of CLIP's tokenizer, so that a
    bundle keeps that tokenizer, and the table starts as random numbers. Padding (id 0) takes no part in the maximum,
    where the published code lets it; id 0 is also CLIP's `!` inside a word, which is left out with it. The start and
    the end token are words like others.

    Args:
        num_words: rows of the table.
        embedding_dim: size of a word's vector.
        hidden: size of what the maximum is taken of.
        dim: D.
        train_table: whether the table is learned; else it stays as it is and is no parameter.
    """

    def __init__(
        self,
        num_words: int = 49408,
        *,
        embedding_dim: int = 300,
        hidden: int = 2048,
        dim: int,
        train_table: bool = True,
    ) -> None:
        super().__init__()
        table = torch.randn(num_words, embedding_dim)
        if train_table:
            self.table = nn.Parameter(table)
        else:
            self.register_buffer("table", table)
        self.project_in = nn.Linear(embedding_dim, hidden)
        self.project_out = nn.Linear(hidden, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token ids int64 (N, L) to features (N, D), not normalised. L may be any from 1 on."""
        words = F.relu(self.project_in(F.embedding(tokens, self.table)))  # (N, L, hidden)
        is_word = (tokens != _PADDING)[..., None].to(words.dtype)
        return self.project_out((words * is_word).amax(dim=1))  # no value is below 0: padding as 0 changes nothing

    @property
    def causal(self) -> bool:
        """True: padding takes no part."""
        return True

    def trim(self, tokens: Tensor) -> Tensor:
        """Cut trailing columns of int64 tokens (N, L) that hold padding only, but never the first."""
        used = (tokens != _PADDING).any(dim=0).nonzero()
        return tokens[:, : int(used.max()) + 1 if len(used) else 1]
