"""Soft targets: the marginal likelihood's gradient by enumeration, and loops."""

import itertools
import math

import pytest
import torch
from weaksvr.train.losses import soft_fine_loss


def unit(x):
    return x / (x.norm(dim=-1, keepdim=True) + 1e-6)


def log_shares(frames, distinct, scale):
    """Log softmax over every sentence, (B, T, U), by loops."""
    centred = unit(distinct - sum(distinct) / len(distinct))
    videos = []
    for video in frames:
        rows = [torch.stack([scale * unit(h) @ s for s in centred]) for h in video]
        videos.append(torch.stack([row - torch.log(sum(torch.exp(x) for x in row)) for row in rows]))
    return torch.stack(videos)


def test_gradient_is_that_of_the_scripts_likelihood():
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(2, 5, 6, generator=generator).requires_grad_()
    distinct = torch.randn(7, 6, generator=generator).requires_grad_()
    steps = [torch.tensor([0, 3, 6]), torch.tensor([3, 3])]
    ours = soft_fine_loss(frames, distinct, steps, scale=4.0)
    logs = log_shares(frames, distinct, 4.0)
    total = 0.0
    for video, rows in zip(logs, steps, strict=True):
        likelihood = 0.0
        for path in itertools.combinations_with_replacement(range(len(rows)), 5):
            if set(path) != set(range(len(rows))):
                continue
            belief = sum(-(((t + 0.5) / 5 - (k + 0.5) / len(rows)) ** 2) / (2 * 0.15**2) for t, k in enumerate(path))
            likelihood = likelihood + torch.exp(belief + sum(video[t, rows[k]] for t, k in enumerate(path)))
        total = total - torch.log(likelihood) / 10
    gradients = [torch.autograd.grad(loss, (frames, distinct)) for loss in (ours, total)]
    for ours_part, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours_part, expected, rtol=1e-4, atol=1e-6)


def test_value_equals_the_loops_for_a_repeated_step():
    generator = torch.Generator().manual_seed(1)
    frames, distinct = torch.randn(1, 5, 5, generator=generator), torch.randn(4, 5, generator=generator)
    rows = [2, 0, 2]
    loss = soft_fine_loss(frames, distinct, [torch.tensor(rows)], scale=5.0)
    logs = log_shares(frames, distinct, 5.0)[0]
    weights = {}
    for path in itertools.combinations_with_replacement(range(3), 5):
        if set(path) == {0, 1, 2}:
            belief = sum(-(((t + 0.5) / 5 - (k + 0.5) / 3) ** 2) / (2 * 0.15**2) for t, k in enumerate(path))
            weights[path] = math.exp(belief + sum(float(logs[t, rows[k]]) for t, k in enumerate(path)))
    costs = {path: -sum(float(logs[t, rows[k]]) for t, k in enumerate(path)) / 5 for path in weights}
    expected = sum(weights[path] * costs[path] for path in weights) / sum(weights.values())
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_descending_finds_the_planted_steps():
    generator = torch.Generator().manual_seed(3)
    distinct = torch.randn(9, 16, generator=generator)
    planted = torch.tensor([4, 4, 4, 0, 0, 0, 7, 7, 7])
    frames = (distinct[planted] + 0.8 * torch.randn(9, 16, generator=generator))[None].requires_grad_()
    optimizer = torch.optim.Adam([frames], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        soft_fine_loss(frames, distinct, [torch.tensor([4, 0, 7])], scale=10.0).backward()
        optimizer.step()
    assert (unit(frames[0]) @ unit(distinct).T).argmax(dim=1).tolist() == planted.tolist()


def test_more_steps_than_frames_is_finite():
    frames = torch.randn(1, 2, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    distinct = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    loss = soft_fine_loss(frames, distinct, [torch.tensor([0, 1, 2, 3])], scale=10.0)
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert frames.grad.isfinite().all()
