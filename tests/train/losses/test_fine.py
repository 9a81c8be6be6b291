import math

import pytest
import torch
from weaksvr.train.losses import batch_fine_loss, masked_fine_loss
from weaksvr.train.losses.fine import frame_labels


def unit(x):
    return x / (x.norm(dim=-1, keepdim=True) + 1e-6)


def naive_masked(frames, sentences, scale, labels):
    """Loops: cross-entropy of each frame over its own K sentences, and of each labelled step over the T frames."""
    total = 0.0
    for video, steps in zip(frames, sentences, strict=True):
        similarity = [[scale * float(unit(h) @ unit(s)) for s in steps] for h in video]
        target = frame_labels(torch.tensor(similarity), labels).tolist()
        image = sum(
            -row[k] + math.log(sum(math.exp(x) for x in row)) for row, k in zip(similarity, target, strict=True)
        )
        text = 0.0
        for k in sorted(set(target)):
            column = [math.exp(row[k]) for row in similarity]
            own = sum(value for value, label in zip(column, target, strict=True) if label == k)
            text -= math.log(own / sum(column))
        total += image / len(target) + text / len(set(target))
    return total / len(frames)


@pytest.mark.parametrize("labels", ["viterbi", "split"])
def test_masked_equals_the_loops(labels):
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(3, 8, 6, generator=generator)
    sentences = [torch.randn(count, 6, generator=generator) for count in (2, 5, 1)]
    loss = masked_fine_loss(frames, sentences, scale=7.0, labels=labels)
    assert float(loss) == pytest.approx(naive_masked(frames, sentences, 7.0, labels), rel=1e-4)


@pytest.mark.parametrize("labels", ["viterbi", "split"])
def test_batch_equals_the_loops(labels):
    generator = torch.Generator().manual_seed(1)
    frames = torch.randn(2, 6, 5, generator=generator)
    distinct = torch.randn(7, 5, generator=generator)
    steps = [torch.tensor([0, 3, 6]), torch.tensor([3, 1])]
    loss = batch_fine_loss(frames, distinct, steps, scale=10.0, labels=labels)
    total, count = 0.0, 0
    for video, rows in zip(frames, steps, strict=True):
        centred = [s - sum(distinct) / len(distinct) for s in distinct]
        similarity = torch.tensor([[10.0 * float(unit(h) @ unit(s)) for s in centred] for h in video])
        target = rows[frame_labels(similarity[:, rows], labels)]
        for row, label in zip(similarity.tolist(), target.tolist(), strict=True):
            total += -row[label] + math.log(sum(math.exp(x) for x in row))
            count += 1
    assert float(loss) == pytest.approx(total / count, rel=1e-4)


def test_padding_cannot_matter_because_there_is_none():
    frames = torch.randn(1, 8, 6)
    steps = torch.randn(3, 6)
    alone = masked_fine_loss(frames, [steps], scale=5.0, labels="split")
    beside = masked_fine_loss(frames.repeat(2, 1, 1), [steps, steps], scale=5.0, labels="split")
    assert torch.allclose(alone, beside)


@pytest.mark.parametrize("labels", ["sort", "viterbi", "split"])
def test_descending_finds_the_planted_steps(labels):
    generator = torch.Generator().manual_seed(3)
    distinct = torch.randn(9, 16, generator=generator)
    planted = torch.tensor([4, 4, 4, 0, 0, 0, 7, 7, 7])
    frames = (distinct[planted] + 0.8 * torch.randn(9, 16, generator=generator))[None].requires_grad_()
    optimizer = torch.optim.Adam([frames], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        noise = torch.Generator().manual_seed(0)
        batch_fine_loss(
            frames, distinct, [torch.tensor([4, 0, 7])], scale=10.0, labels=labels, generator=noise
        ).backward()
        optimizer.step()
    assert (unit(frames[0]) @ unit(distinct).T).argmax(dim=1).tolist() == planted.tolist()
