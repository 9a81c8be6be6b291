import itertools
import math

import torch
from weaksvr.train.losses.transport import transport_plan


def naive_sinkhorn(similarities, rounds):
    """Loops over the kernel's cells: scale the rows to 1, and in each round the columns to T / K and the rows again."""
    num_frames, count = len(similarities), len(similarities[0])
    plan = [
        [
            math.exp(float(similarities[t][k]) - ((t + 0.5) / num_frames - (k + 0.5) / count) ** 2 / (2 * 0.15**2))
            for k in range(count)
        ]
        for t in range(num_frames)
    ]
    for round_number in range(rounds + 1):
        for k in range(count if round_number else 0):
            column = sum(plan[t][k] for t in range(num_frames))
            for t in range(num_frames):
                plan[t][k] *= num_frames / count / column
        for t in range(num_frames):
            row = sum(plan[t])
            plan[t] = [value / row for value in plan[t]]
    return torch.tensor(plan)


def test_plan_equals_the_loops():
    similarities = torch.randn(3, 8, 5, generator=torch.Generator().manual_seed(0))
    num_steps = torch.tensor([5, 2, 1])
    plan = transport_plan(similarities, num_steps)
    for row, count in enumerate(num_steps.tolist()):
        torch.testing.assert_close(plan[row, :, :count], naive_sinkhorn(similarities[row, :, :count].tolist(), 30))
        assert (plan[row, :, count:] == 0).all()


def test_marginals_and_order():
    plan = transport_plan(torch.zeros(1, 12, 4), torch.tensor([4]))[0]
    torch.testing.assert_close(plan.sum(dim=1), torch.ones(12))
    torch.testing.assert_close(plan.sum(dim=0), torch.full((4,), 3.0), rtol=1e-3, atol=1e-3)
    assert plan.argmax(dim=1).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_planted_steps_are_found():
    planted = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])
    similarities = torch.zeros(1, 9, 3)
    similarities[0, torch.arange(9), planted] = 9.0
    assert transport_plan(similarities, torch.tensor([3]))[0].argmax(dim=1).tolist() == planted.tolist()


def test_the_plan_is_the_best_of_its_kind():
    """No exchange of weight that keeps the sums makes similarities + belief + entropy larger."""
    similarities = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(4)).double()
    plan = transport_plan(similarities, torch.tensor([3]))[0].double()
    places = torch.tensor([[(t + 0.5) / 6 - (k + 0.5) / 3 for k in range(3)] for t in range(6)]).double()
    scores = similarities[0] - places**2 / (2 * 0.15**2)

    def value(candidate):
        return float((candidate * scores - candidate * candidate.log()).sum())

    best = value(plan)
    for (t, u), (k, j) in itertools.product(itertools.permutations(range(6), 2), itertools.permutations(range(3), 2)):
        step = 0.05 * min(float(plan[t, j]), float(plan[u, k]))
        moved = plan.clone()
        moved[t, k] += step
        moved[u, j] += step
        moved[t, j] -= step
        moved[u, k] -= step
        assert value(moved) <= best + 1e-6
