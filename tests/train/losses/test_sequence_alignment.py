from __future__ import annotations

import math

import pytest
import torch
from weaksvr.train.losses import sequence_alignment_loss


def transcribed(left, right):
    """The formula with loops over pairs, frames and numbers."""
    total = 0.0
    for a, b in zip(left.tolist(), right.tolist(), strict=True):
        norms = [[math.sqrt(sum(x * x for x in row)) + 1e-6 for row in video] for video in (a, b)]
        cosines = [
            [
                sum(x * y for x, y in zip(row, other, strict=True)) / (norms[0][i] * norms[1][j])
                for j, other in enumerate(b)
            ]
            for i, row in enumerate(a)
        ]
        count = len(a)
        for t in range(count):
            own = math.exp(cosines[t][t])
            row = sum(math.exp(cosines[t][j]) for j in range(count))
            column = sum(math.exp(cosines[i][t]) for i in range(count))
            total += 1 - 0.5 * (own / row + own / column)
    return total / len(left)


def test_it_is_the_formula():
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(3, 5, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    assert float(sequence_alignment_loss(left, right)) == pytest.approx(transcribed(left, right), abs=1e-12)


def test_the_least_loss_of_16_frames_is_the_published_one():
    """As executed with the published code: about 13.54 where frames equal their own partner and no other."""
    frames = torch.eye(16)[None]
    assert float(sequence_alignment_loss(frames, frames)) == pytest.approx(13.54, abs=0.01)


def test_its_gradient_brings_partners_together():
    generator = torch.Generator().manual_seed(1)
    left = torch.randn(1, 6, 8, generator=generator, requires_grad=True)
    right = torch.randn(1, 6, 8, generator=generator)
    before = torch.cosine_similarity(left[0], right[0]).mean()
    sequence_alignment_loss(left, right).backward()
    after = torch.cosine_similarity((left - 5 * left.grad)[0], right[0]).mean()
    assert after > before
