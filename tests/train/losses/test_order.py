"""The order contrast against an enumeration of the paths, and what it tells apart."""

import itertools
import math

import pytest
import torch
from weaksvr.train.losses import order_loss
from weaksvr.train.losses.order import script_scores


def unit(x):
    return x / (x.norm(dim=-1, keepdim=True) + 1e-6)


def naive_score(cosines, script, scale):
    """Log of the mean of exp(scale * summed cosine) over the believed paths, by enumeration."""
    num_frames, count = len(cosines), len(script)
    value, belief = 0.0, 0.0
    for path in itertools.product(range(count), repeat=num_frames):
        moves = [b - a for a, b in itertools.pairwise(path)]
        if count <= num_frames:
            if path[0] != 0 or path[-1] != count - 1 or not all(move in (0, 1) for move in moves):
                continue
        elif min(moves) < 0:
            continue
        prior = 1.0
        for t, k in enumerate(path):
            distance = (t + 0.5) / num_frames - (k + 0.5) / count
            prior *= math.exp(-(distance**2) / (2 * 0.15**2))
        belief += prior
        value = value + prior * torch.exp(scale * sum(cosines[t][script[k]] for t, k in enumerate(path)))
    return torch.log(value / belief) / (scale * num_frames)


def naive_loss(frames, distinct, scripts, own, scale, contrast, excluded):
    centred = unit(distinct - sum(distinct) / len(distinct))
    total = 0.0
    for video, candidates, place, out in zip(frames, scripts, own, excluded, strict=True):
        cosines = [[unit(h) @ s for s in centred] for h in video]
        logits = [contrast * naive_score(cosines, script, scale) for script in candidates]
        kept = [logit for logit, left_out in zip(logits, out, strict=True) if not left_out]
        total = total - logits[place] + torch.log(sum(torch.exp(logit) for logit in kept))
    return total / len(frames)


def padded(scripts):
    width = max(len(script) for row in scripts for script in row)
    rows = [[script + [0] * (width - len(script)) for script in row] for row in scripts]
    return torch.tensor(rows), torch.tensor([[len(script) for script in row] for row in scripts])


@pytest.mark.parametrize("num_frames", [5, 2])
def test_loss_and_gradients_equal_the_enumeration(num_frames):
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(2, num_frames, 6, generator=generator).requires_grad_()
    distinct = torch.randn(5, 6, generator=generator).requires_grad_()
    scripts = [[[0, 3, 4], [1, 2], [3, 0, 4, 4]], [[2, 1, 0], [4], [1, 3]]]
    excluded = [[False, False, False], [False, False, True]]
    own = [0, 1]
    place = torch.tensor(own)
    left_out = torch.tensor(excluded)
    losses = (
        order_loss(frames, distinct, *padded(scripts), place, scale=7.0, contrast=9.0, excluded=left_out),
        naive_loss(frames, distinct, scripts, own, 7.0, 9.0, excluded),
    )
    results = [(loss.detach(), *torch.autograd.grad(loss, (frames, distinct))) for loss in losses]
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_scores_lie_between_the_believed_mean_and_the_best_path():
    cosines = torch.rand(1, 6, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    scripts, counts = padded([[[0, 1, 2]]])
    low, high = (float(script_scores(cosines, scripts, counts, scale=scale)) for scale in (1e-2, 1e3))
    sums = [
        sum(float(cosines[0, t, k]) for t, k in enumerate(path)) / 6
        for path in itertools.combinations_with_replacement(range(3), 6)
        if set(path) == {0, 1, 2}
    ]
    assert high == pytest.approx(max(sums), abs=0.01)
    assert low < high


@pytest.mark.parametrize(
    "wrong",
    [[4, 2, 0, 7], [4, 0, 7], [4, 0, 4, 2, 7], [4, 0, 2, 5]],
    ids=["swap", "drop", "repeat", "replace"],
)
def test_the_own_script_scores_best(wrong):
    distinct = torch.eye(8)
    frames = distinct[torch.tensor([4, 4, 4, 0, 0, 0, 2, 2, 2, 7, 7, 7])][None]
    scripts, counts = padded([[[4, 0, 2, 7], wrong]])
    own, other = script_scores(frames @ distinct.T, scripts, counts, scale=10.0)[0].tolist()
    assert own > other + 0.05


def test_descending_tells_a_script_from_its_swap():
    generator = torch.Generator().manual_seed(3)
    distinct = torch.randn(6, 16, generator=generator)
    frames = torch.randn(1, 9, 16, generator=generator).requires_grad_()
    scripts, counts = padded([[[1, 4, 2], [4, 1, 2], [1, 2, 4], [1, 4]]])
    optimizer = torch.optim.Adam([frames], lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        order_loss(frames, distinct, scripts, counts, torch.tensor([0]), scale=10.0, contrast=20.0).backward()
        optimizer.step()
    centred = distinct - distinct.mean(dim=0)
    shown = (unit(frames[0]) @ unit(centred[[1, 4, 2]]).T).argmax(dim=1).tolist()
    assert shown == sorted(shown)
    assert set(shown) == {0, 1, 2}
