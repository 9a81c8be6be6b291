import itertools

import numpy as np
import pytest
import torch
from weaksvr.train.losses import sort_labels, split_labels, viterbi_labels


@pytest.mark.parametrize(("num_frames", "num_steps"), [(16, 5), (4, 4), (3, 8), (16, 1)])
def test_split_is_even(num_frames, num_steps):
    labels = split_labels(num_frames, num_steps).tolist()
    assert labels == [t * num_steps // num_frames for t in range(num_frames)]
    counts = np.bincount(labels, minlength=num_steps)
    assert counts.max() - counts.min() <= 1


def test_sort_without_noise_orders_the_best_steps():
    similarities = torch.tensor([[0.0, 9.0, 0.0], [9.0, 0.0, 0.0], [0.0, 0.0, 9.0], [9.0, 0.0, 0.0]])
    assert sort_labels(similarities).tolist() == [0, 0, 1, 2]


def test_sort_draws_by_probability():
    probabilities = torch.tensor([0.7, 0.2, 0.1])
    similarities = probabilities.log().expand(6000, 3)
    labels = sort_labels(similarities, torch.Generator().manual_seed(0))
    shares = torch.bincount(labels, minlength=3) / len(labels)
    assert torch.allclose(shares, probabilities, atol=0.03)
    assert (labels.diff() >= 0).all()


def test_viterbi_finds_the_planted_path():
    planted = torch.tensor([0, 0, 0, 1, 2, 2, 2, 2, 3, 3, 4, 4])
    similarities = torch.randn(12, 5, generator=torch.Generator().manual_seed(1)) * 0.3
    similarities[torch.arange(12), planted] += 5.0
    assert viterbi_labels(similarities).tolist() == planted.tolist()


def test_viterbi_equals_enumeration_or_the_even_split():
    generator = torch.Generator().manual_seed(2)
    for _ in range(30):
        similarities = torch.randn(5, 3, generator=generator) * 2
        places = [[-(((t + 0.5) / 5 - (k + 0.5) / 3) ** 2) / (2 * 0.15**2) for k in range(3)] for t in range(5)]
        scores = torch.log_softmax(similarities, dim=1) + torch.tensor(places)
        paths = itertools.combinations_with_replacement(range(3), 5)
        best = max(paths, key=lambda path: float(sum(scores[t, k] for t, k in enumerate(path))))
        labels = viterbi_labels(similarities).tolist()
        if set(best) == {0, 1, 2}:
            assert labels == list(best)
        else:
            assert labels == split_labels(5, 3).tolist()


def test_viterbi_falls_back_to_the_even_split():
    similarities = torch.zeros(6, 3)
    similarities[:, 1] = 50.0
    assert viterbi_labels(similarities).tolist() == [0, 0, 1, 1, 2, 2]


def test_viterbi_that_knows_nothing_is_the_even_split():
    assert viterbi_labels(torch.zeros(12, 4)).tolist() == split_labels(12, 4).tolist()


def test_viterbi_with_fewer_frames_than_steps_jumps():
    similarities = torch.full((2, 5), -5.0)
    similarities[0, 1] = similarities[1, 4] = 5.0
    assert viterbi_labels(similarities).tolist() == [1, 4]


def test_labels_carry_no_gradient():
    similarities = torch.randn(6, 3, requires_grad=True)
    for labels in (sort_labels(similarities), viterbi_labels(similarities)):
        assert not labels.requires_grad
        assert labels.dtype == torch.int64
