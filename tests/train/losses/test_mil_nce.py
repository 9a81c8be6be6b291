import math

import pytest
import torch
from weaksvr.train.losses import mil_nce_loss


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def naive(videos, sentences):
    """Loops over the definition; the features are lists, or tensors where a gradient is wanted."""
    total = 0.0
    for i, video in enumerate(videos):
        own = [dot(video, steps) for steps in sentences[i]]
        from_video = [dot(video, steps) for other in sentences for steps in other]
        from_sentences = [dot(other, steps) for other in videos for steps in sentences[i]]
        numerator = sum(math.e**x for x in own)
        denominator = sum(math.e**x for x in from_video) + sum(math.e**x for x in from_sentences)
        ratio = numerator / denominator
        total = total - (ratio.log() if isinstance(ratio, torch.Tensor) else math.log(ratio))
    return total / len(videos)


def batch(counts, dim=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    videos = torch.randn(len(counts), dim, generator=generator, dtype=torch.float64)
    return videos, [torch.randn(count, dim, generator=generator, dtype=torch.float64) for count in counts]


@pytest.mark.parametrize("counts", [(1,), (3,), (2, 2), (1, 4, 2), (3, 1, 1, 5)])
def test_equals_the_loops_with_its_gradient(counts):
    videos, sentences = batch(counts, seed=len(counts))
    leaves = [videos.requires_grad_(), *(steps.requires_grad_() for steps in sentences)]
    loss = mil_nce_loss(videos, sentences)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(naive(videos.tolist(), [steps.tolist() for steps in sentences]), rel=1e-9)
    expected = torch.autograd.grad(naive(list(videos), [list(steps) for steps in sentences]), leaves)
    for found, wanted in zip(torch.autograd.grad(loss, leaves), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-9)


def test_gradient_equals_finite_differences():
    videos, sentences = batch((2, 1, 3))
    inputs = [tensor.requires_grad_() for tensor in (videos, *sentences)]
    assert torch.autograd.gradcheck(lambda first, *rest: mil_nce_loss(first, rest), inputs)


def test_positives_stand_twice_in_the_denominator():
    vectors = torch.zeros(3, 4)
    assert mil_nce_loss(vectors, torch.zeros(3, 2, 4)).item() == pytest.approx(math.log(12 / 2), rel=1e-6)
    assert mil_nce_loss(vectors[:1], torch.zeros(1, 2, 4)).item() == pytest.approx(math.log(2), rel=1e-6)


def test_one_tensor_is_the_list_of_its_rows():
    videos, sentences = batch((3, 3, 3, 3))
    assert torch.equal(mil_nce_loss(videos, sentences), mil_nce_loss(videos, torch.stack(sentences)))


def test_lengths_of_the_features_matter():
    videos, sentences = batch((2, 2, 2))
    assert abs(mil_nce_loss(videos, sentences) - mil_nce_loss(2 * videos, sentences)) > 1e-3


@pytest.mark.parametrize("sign", [1, -1])
def test_large_features_are_finite(sign):
    axes = 300 * torch.eye(3, dtype=torch.float64)
    videos = axes.clone().requires_grad_()
    loss = mil_nce_loss(videos, sign * axes[:, None])
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2) if sign == 1 else 90_000 + math.log(4), rel=1e-9)
    assert videos.grad.isfinite().all()
