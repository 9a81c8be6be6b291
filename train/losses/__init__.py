"""The losses, one a file, as pure functions of tensors."""

from .contrastive import coarse_loss
from .fine import batch_fine_loss, masked_fine_loss, soft_fine_loss
from .fine_official import official_fine_loss
from .mil_nce import mil_nce_loss
from .order import order_loss
from .pseudo_labels import sort_labels, split_labels, viterbi_labels
from .sequence_alignment import sequence_alignment_loss

__all__ = [
    "batch_fine_loss",
    "coarse_loss",
    "masked_fine_loss",
    "mil_nce_loss",
    "official_fine_loss",
    "order_loss",
    "sequence_alignment_loss",
    "soft_fine_loss",
    "sort_labels",
    "split_labels",
    "viterbi_labels",
]
