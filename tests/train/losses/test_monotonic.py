"""The sums over all paths against their enumeration."""

import itertools
import math

import pytest
import torch
from weaksvr.train.losses.monotonic import even_belief, log_partition, step_posteriors


def paths(num_frames, num_steps):
    """Every allowed path, by trying all sequences of steps."""
    for path in itertools.product(range(num_steps), repeat=num_frames):
        moves = [b - a for a, b in itertools.pairwise(path)]
        if num_steps <= num_frames:
            if path[0] == 0 and path[-1] == num_steps - 1 and all(move in (0, 1) for move in moves):
                yield path
        elif all(move >= 0 for move in moves):
            yield path


def weight(scores, path):
    return math.exp(sum(float(scores[t, k]) for t, k in enumerate(path)))


SHAPES = [(6, (4, 2, 6, 1)), (3, (5, 4)), (3, (2, 5, 3)), (1, (1, 3))]


@pytest.mark.parametrize(("num_frames", "counts"), SHAPES)
def test_partition_and_posteriors_equal_the_enumeration(num_frames, counts):
    generator = torch.Generator().manual_seed(num_frames)
    scores = 2 * torch.randn(len(counts), num_frames, max(counts), generator=generator, dtype=torch.float64)
    num_steps = torch.tensor(counts)
    totals, shares = log_partition(scores, num_steps), step_posteriors(scores, num_steps)
    for row, count in enumerate(counts):
        expected = torch.zeros(num_frames, max(counts), dtype=torch.float64)
        total = 0.0
        for path in paths(num_frames, count):
            value = weight(scores[row], path)
            total += value
            for t, k in enumerate(path):
                expected[t, k] += value
        assert float(totals[row]) == pytest.approx(math.log(total), rel=1e-9)
        torch.testing.assert_close(shares[row], expected / total)


def test_what_stands_in_the_padding_does_not_matter():
    scores = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1))
    num_steps = torch.tensor([2, 4])
    other = scores.clone()
    other[0, :, 2:] = 1e4
    assert torch.equal(log_partition(scores, num_steps), log_partition(other, num_steps))
    assert torch.equal(step_posteriors(scores, num_steps), step_posteriors(other, num_steps))


def test_planted_steps_are_found_and_gradients_are_finite():
    planted = torch.tensor([0, 0, 1, 2, 2, 2, 3])
    scores = torch.randn(1, 7, 5, generator=torch.Generator().manual_seed(2))
    scores[0, torch.arange(7), planted] += 30.0
    scores.requires_grad_()
    shares = step_posteriors(scores, torch.tensor([4]))
    assert shares[0].argmax(dim=1).tolist() == planted.tolist()
    assert float(shares[0, torch.arange(7), planted].min()) > 0.999
    assert not shares.requires_grad
    log_partition(scores, torch.tensor([4])).sum().backward()
    assert scores.grad.isfinite().all()
    torch.testing.assert_close(scores.grad, shares)


def test_posteriors_work_where_gradients_are_off():
    with torch.no_grad():
        shares = step_posteriors(torch.zeros(1, 4, 2), torch.tensor([2]))
    torch.testing.assert_close(shares.sum(dim=2), torch.ones(1, 4))


def test_belief_is_a_gaussian_about_the_even_split():
    belief = even_belief(6, torch.tensor([3, 2]))
    assert belief.shape == (2, 6, 3)
    for row, count in enumerate((3, 2)):
        for t, k in itertools.product(range(6), range(count)):
            distance = (t + 0.5) / 6 - (k + 0.5) / count
            assert float(belief[row, t, k]) == pytest.approx(-(distance**2) / (2 * 0.15**2), abs=1e-5)
