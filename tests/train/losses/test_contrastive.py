import math

import pytest
import torch
from weaksvr.train.losses import coarse_loss


def cosine(a, b):
    norm_a = math.sqrt(sum(x * x for x in a)) + 1e-6
    norm_b = math.sqrt(sum(x * x for x in b)) + 1e-6
    return sum(x * y for x, y in zip(a, b, strict=True)) / (norm_a * norm_b)


def naive(videos, texts, scale, labels=None, negatives=None):
    """Triple loop over the paper's Eq. 4 to 6."""
    total = 0.0
    count = len(videos)
    for i in range(count):
        columns, rows = [], []
        for j in range(count):
            if labels is not None and i != j and labels[i] == labels[j]:
                continue
            columns.append(math.exp(scale * cosine(videos[i], texts[j])))
            rows.append(math.exp(scale * cosine(videos[j], texts[i])))
        if negatives is not None:
            columns += [math.exp(scale * cosine(videos[i], wrong)) for wrong in negatives[i]]
        own = math.exp(scale * cosine(videos[i], texts[i]))
        total -= (math.log(own / sum(columns)) + math.log(own / sum(rows))) / count
    return total


@pytest.mark.parametrize("batch", [2, 5])
@pytest.mark.parametrize("with_labels", [False, True])
@pytest.mark.parametrize("with_negatives", [False, True])
def test_equals_the_loops(batch, with_labels, with_negatives):
    generator = torch.Generator().manual_seed(batch)
    videos = torch.randn(batch, 7, generator=generator)
    texts = torch.randn(batch, 7, generator=generator)
    labels = torch.tensor([0, 1, 0, 2, 1][:batch]) if with_labels else None
    negatives = torch.randn(batch, 3, 7, generator=generator) if with_negatives else None
    loss = coarse_loss(videos, texts, torch.tensor(9.0), labels=labels, negatives=negatives)
    expected = naive(
        videos.tolist(),
        texts.tolist(),
        9.0,
        None if labels is None else labels.tolist(),
        None if negatives is None else negatives.tolist(),
    )
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_one_procedure_alone_has_nothing_to_learn():
    videos = torch.randn(4, 6, requires_grad=True)
    loss = coarse_loss(videos, torch.randn(4, 6), torch.tensor(5.0), labels=torch.zeros(4, dtype=torch.int64))
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert torch.allclose(videos.grad, torch.zeros_like(videos), atol=1e-7)


def test_extreme_scale_is_finite():
    videos = torch.eye(3)
    assert math.isfinite(float(coarse_loss(videos, videos.flip(0), torch.tensor(100.0))))
