"""The distances that are tried beside those of the runtime are what they say, by plain loops or by one another."""

from __future__ import annotations

import functools
import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest
from weaksvr.runtime.alignment import alignment_distances

SOURCE = Path(__file__).resolve().parents[2] / "benchmarks" / "compare_distances.py"


@pytest.fixture(scope="module")
def compare():
    spec = importlib.util.spec_from_file_location("compare_distances", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def unit(*shape, seed=0):
    values = np.random.default_rng(seed).normal(size=shape)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


@pytest.fixture
def videos():
    return unit(4, 5, 3), unit(4, 6, 3, seed=1)


def test_gaps_that_cost_too_much_are_the_alignment(compare, videos):
    cost = compare.costs(*videos)
    for gap in (np.inf, 100.0):
        found = compare.gap_distances(cost, gap=gap, opening=0.0)
        assert found == pytest.approx(alignment_distances(*videos))


@pytest.mark.parametrize("diagonal", [1.0, 2.0])
def test_gaps_by_trying_everything(compare, videos, diagonal):
    cost = compare.costs(videos[0][:, :4], videos[1][:, :4])
    gap, opening = 0.3, 0.2

    def cheapest(cells):
        @functools.cache
        def rest(i, j, state):
            """What is left to pay after i frames of a and j of b, where `state` was the last move."""
            if (i, j) == cells.shape:
                return 0.0
            ways = []
            if i < cells.shape[0]:
                ways.append(gap + (opening if state != "a" else 0.0) + rest(i + 1, j, "a"))
            if j < cells.shape[1]:
                ways.append(gap + (opening if state != "b" else 0.0) + rest(i, j + 1, "b"))
            if i < cells.shape[0] and j < cells.shape[1]:
                ways.append(diagonal * cells[i, j] + rest(i + 1, j + 1, "match"))
            if state == "match":
                if i < cells.shape[0]:
                    ways.append(cells[i, j - 1] + rest(i + 1, j, "match"))
                if j < cells.shape[1]:
                    ways.append(cells[i - 1, j] + rest(i, j + 1, "match"))
            return min(ways)

        return rest(0, 0, "start") / sum(cells.shape)

    expected = [cheapest(cost[:, :, pair]) for pair in range(4)]
    found = compare.gap_distances(cost, gap=gap, opening=opening, diagonal=diagonal)
    assert found == pytest.approx(expected)


def test_soft_dtw_hardens_to_the_alignment(compare, videos):
    assert compare.soft_dtw_distances(*videos, gamma=1e-4) == pytest.approx(alignment_distances(*videos), abs=1e-3)
    assert compare.soft_dtw_distances(videos[0], videos[0], gamma=0.5) == pytest.approx(0, abs=1e-12)


def test_subsequence_is_the_cheapest_part_of_the_other(compare, videos):
    first, second = videos
    expected = []
    for a, b in zip(first, second, strict=True):
        both = []
        for whole, other in ((a, b), (b, a)):
            parts = [other[start:stop] for start, stop in itertools.combinations(range(len(other) + 1), 2)]
            costs = [alignment_distances(whole[None], part[None])[0] * (len(whole) + len(part)) for part in parts]
            both.append(min(costs) / len(whole))
        expected.append(max(both))
    assert compare.subsequence_distances(compare.costs(first, second)) == pytest.approx(expected)


def test_a_script_in_order_costs_nothing(compare):
    eye = np.eye(4)
    assert compare.script_cost(eye[[0, 0, 1, 2]], eye[[0, 1, 2]]) == pytest.approx(0)
    assert compare.script_cost(eye[[0, 2, 1, 1]], eye[[0, 1, 2]]) > 0.2


def test_the_share_that_differs(compare):
    eye = np.eye(5)
    a, b = eye[np.repeat([0, 1, 2], 4)], eye[np.repeat([0, 2], 4)]
    assert compare.changed_share(a, a) == 0
    assert compare.changed_share(a, b) == pytest.approx(4 / 20)
    assert compare.changed_share(a, eye[np.repeat([0, 2, 1], 4)], eye[:3]) == pytest.approx(16 / 24)
