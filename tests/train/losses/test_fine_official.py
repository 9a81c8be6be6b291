"""The published computation against transcriptions by loops, and against the figures that were measured of it."""

import math

import numpy as np
import pytest
import torch
from weaksvr.train.losses import official_fine_loss
from weaksvr.train.losses.fine_official import official_viterbi


def naive_viterbi(similarity):
    """The published recursion, cell by cell: pointers before the emission, values after it."""
    count, states = similarity.shape
    delta = [similarity[0][k] / states for k in range(states)]
    pointers = []
    for t in range(1, count):
        row, new = [], []
        for k in range(states):
            arriving = [delta[j] * (1.0 / states if k >= j else 0.0) for j in range(states)]
            row.append(int(np.argmax(arriving)))
            new.append(max(value * similarity[t][k] for value in arriving))
        pointers.append(row)
        delta = new
    path = [int(np.argmax(delta))]
    for row in reversed(pointers):
        path.append(row[path[-1]])
    return path[::-1]


@pytest.mark.parametrize("low", [0.01, -1.0])
def test_viterbi_equals_the_loops(low):
    rng = np.random.default_rng(0)
    for _ in range(20):
        similarity = rng.uniform(low, 1.0, size=(6, 5))
        path = official_viterbi(similarity)
        assert path.tolist() == naive_viterbi(similarity)
        if low > 0:
            assert (np.diff(path) >= 0).all()


def test_range_of_the_image_and_text_terms():
    """One-hot logits bound each term: 2.078 to 3.078 for 20 columns, 1.875 to 2.875 for 16 frames."""
    generator = torch.Generator().manual_seed(0)
    frames, sentences = torch.randn(2, 16, 8, generator=generator), torch.randn(2, 20, 8, generator=generator)
    steps = torch.tensor([20, 20])
    low = math.log(math.e + 19) - 1 + math.log(math.e + 15) - 1
    for labels in ("sort", "viterbi"):
        noise = torch.Generator().manual_seed(1)
        loss = float(official_fine_loss(frames, sentences, steps, torch.tensor(14.3), labels=labels, generator=noise))
        assert low - 1e-3 <= loss <= low + 2 + 1e-3


def test_split_carries_no_image_gradient_and_finite_text_gradient():
    frames = torch.randn(1, 16, 8, requires_grad=True)
    sentences = torch.randn(1, 6, 8)
    loss = official_fine_loss(frames, sentences, torch.tensor([4]), torch.tensor(14.3), labels="split")
    image = math.log(6)  # constant logits over six columns
    labels = [round(i * 4 / 16) for i in range(16)]
    blocks = torch.stack([frames[0, 4 * k : 4 * k + 4] for k in range(4)])
    similarity = torch.einsum(
        "gtd,kd->gtk",
        blocks / (blocks.norm(dim=-1, keepdim=True) + 1e-6),
        sentences[0, :4] / (sentences[0, :4].norm(dim=-1, keepdim=True) + 1e-6),
    ).mean(dim=1)
    text = 0.0
    for k in range(4):
        row = [similarity[g, k].item() for g in range(4)] + [0.0, 0.0]
        text += (-row[k] + math.log(sum(math.exp(x) for x in row))) / 6
    assert max(labels) == 4  # the published rounding reaches a padding column
    assert loss.item() == pytest.approx(image + text, rel=1e-5)


def test_split_with_as_many_steps_as_columns_does_not_stop():
    frames, sentences = torch.randn(1, 16, 8), torch.randn(1, 4, 8)
    loss = official_fine_loss(frames, sentences, torch.tensor([4]), torch.tensor(14.3), labels="split")
    assert math.isfinite(float(loss))


def test_features_get_almost_no_gradient():
    """The measured defect: the published fine loss hardly reaches the features."""
    frames = torch.randn(8, 16, 32, requires_grad=True, generator=torch.Generator().manual_seed(0))
    sentences = torch.randn(8, 20, 32, generator=torch.Generator().manual_seed(1))
    noise = torch.Generator().manual_seed(2)
    steps = torch.full((8,), 10)
    official_fine_loss(frames, sentences, steps, torch.tensor(14.3), labels="sort", generator=noise).backward()
    assert 0 < float(frames.grad.norm()) < 0.01
