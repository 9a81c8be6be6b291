"""The published computation against transcriptions by loops, and against the figures that were measured of it."""

import math

import numpy as np
import pytest
import torch
from weaksvr.train.losses import official_fine_loss
from weaksvr.train.losses.fine_official import _gumbel_one_hot, _split_loss, official_viterbi


def naive_viterbi(similarity):
    """The published recursion, cell by cell: pointers before the emission, values after it."""
    count, states = len(similarity), len(similarity[0])
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


def naive_term(similarity, noise, tau, labels):
    """Cross-entropy of each row (a list), logits being a hard straight-through sample of the row."""
    samples, drawn = [], []
    for row, uniform in zip(similarity, noise, strict=True):
        noisy = [(x - math.log(-math.log(float(u)))) / tau for x, u in zip(row, uniform, strict=True)]
        total = sum(torch.exp(x) for x in noisy)
        soft = [torch.exp(x) / total for x in noisy]
        best = max(range(len(soft)), key=lambda k: float(soft[k].detach()))
        drawn.append(best)
        samples.append([(1.0 if k == best else 0.0) + x - x.detach() for k, x in enumerate(soft)])
    if labels == "sort":
        target = sorted(drawn)
    else:
        target = naive_viterbi([[float(x.detach()) for x in row] for row in similarity])
    return [torch.log(sum(torch.exp(x) for x in p)) - p[y] for p, y in zip(samples, target, strict=True)]


def naive_official(frames, sentences, counts, tau, labels, seed):
    """Both directions: frames over all columns, padding too; in the text direction padding counts as 0 in the mean."""
    batch, num_frames, _ = frames.shape
    width = sentences.shape[1]
    generator = torch.Generator().manual_seed(seed)
    noise = [torch.rand(batch, *size, generator=generator) for size in ((num_frames, width), (width, num_frames))]
    image, text = 0.0, 0.0
    for b in range(batch):
        h = [x / (x.norm() + 1e-6) for x in frames[b]]
        s = [x / (x.norm() + 1e-6) for x in sentences[b]]
        image = image + sum(naive_term([[x @ y for y in s] for x in h], noise[0][b], tau, labels))
        rows = naive_term([[x @ y for x in h] for y in s], noise[1][b], tau, labels)
        text = text + sum(row for k, row in enumerate(rows) if k < counts[b])
    return image / (batch * num_frames) + text / (batch * width)


@pytest.mark.parametrize("labels", ["sort", "viterbi"])
def test_loss_and_gradients_equal_the_loops(labels):
    generator = torch.Generator().manual_seed(5)
    frames = torch.randn(2, 5, 4, generator=generator).requires_grad_()
    sentences = torch.randn(2, 6, 4, generator=generator).requires_grad_()
    tau = torch.tensor(14.3, requires_grad=True)
    ours = official_fine_loss(
        frames, sentences, torch.tensor([3, 6]), tau, labels=labels, generator=torch.Generator().manual_seed(9)
    )
    expected = naive_official(frames, sentences, [3, 6], tau, labels, 9)
    assert float(ours.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    gradients = [torch.autograd.grad(loss, (frames, sentences, tau)) for loss in (ours, expected)]
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-7)


def drawn_labels(similarity, rows=1, seed=0):
    """The steps that the published sampling draws for T frames, (rows, T)."""
    generator = torch.Generator().manual_seed(seed)
    sample = _gumbel_one_hot(similarity.expand(rows, *similarity.shape), torch.tensor(14.3), generator)
    return sample.argmax(dim=-1)


def test_sampling_hardly_sees_the_similarities():
    """A planted cosine of 0.9 among 20 columns is drawn about 11 times in 100; chance is 5."""
    similarity = torch.zeros(16, 20)
    similarity[:, 7] = 0.9
    hit = (drawn_labels(similarity, rows=2000) == 7).float().mean()
    assert float(hit) == pytest.approx(math.exp(0.9) / (math.exp(0.9) + 19), abs=0.01)
    assert 0.10 < float(hit) < 0.13


def test_sorted_labels_are_a_ramp_over_the_padding_too():
    """Whatever the data: about 0.7 for the first frame, 18.3 for the last one, half of them on padding of 10 steps."""
    similarity = 0.1 * torch.randn(16, 20, generator=torch.Generator().manual_seed(0))
    labels = drawn_labels(similarity, rows=2000).sort(dim=1).values.float()
    ramp = labels.mean(dim=0)
    assert float(ramp[0]) == pytest.approx(0.7, abs=0.2)
    assert float(ramp[-1]) == pytest.approx(18.3, abs=0.2)
    torch.testing.assert_close(ramp, torch.linspace(float(ramp[0]), float(ramp[-1]), 16), rtol=0, atol=0.5)
    assert float((labels >= 10).float().mean()) == pytest.approx(0.49, abs=0.03)


def test_viterbi_over_mixed_signs_goes_back_or_collapses():
    """A quarter of the frames' paths go back; a fifth of all paths, texts' among them, are zeros alone."""
    rng = np.random.default_rng(1)
    frames, texts = ([official_viterbi(rng.uniform(-1, 1, size)) for _ in range(300)] for size in ((16, 20), (20, 16)))
    assert np.mean([(np.diff(path) < 0).any() for path in frames]) == pytest.approx(0.24, abs=0.08)
    assert np.mean([(path == 0).all() for path in [*frames, *texts]]) == pytest.approx(0.2, abs=0.06)


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


def naive_split_text(similarity, count):
    """The text direction of `split` for one video: block means of the frames, labels 0, 1, 2, ..., zeros elsewhere."""
    num_frames, width = similarity.shape
    groups = min(count, num_frames)
    borders = [round(g * num_frames / groups) for g in range(groups + 1)]
    total = 0.0
    for k in range(count):
        row = [0.0] * width
        for g in range(groups):
            block = [float(similarity[t, k]) for t in range(borders[g], borders[g + 1])]
            row[g] = sum(block) / len(block)
        total += math.log(sum(math.exp(x) for x in row)) - row[min(k, groups - 1)]
    return total / width


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


@pytest.mark.parametrize(("count", "reaches_frames"), [(4, False), (16, False), (20, True)])
def test_split_image_direction_reaches_the_frames_only_with_more_steps_than_frames(count, reaches_frames):
    similarities = torch.randn(1, 16, 20, generator=torch.Generator().manual_seed(0))
    losses = []
    for factor in (1.0, -1.0):  # a text direction without its own part: what is left is the image direction
        both = _split_loss(factor * similarities, torch.tensor([count]))
        losses.append(float(both) - naive_split_text(factor * similarities[0], count))
    if reaches_frames:
        assert losses[0] != pytest.approx(losses[1], abs=1e-3)
    else:
        assert losses == pytest.approx([math.log(20)] * 2, abs=1e-4)


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
