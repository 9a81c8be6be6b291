from __future__ import annotations

import pytest
from weaksvr.export.engine_progress import PhaseTree


@pytest.fixture
def said():
    return []


@pytest.fixture
def tree(said):
    return PhaseTree(lambda done, total: said.append(round(done / total, 3)))


def test_inner_phases_are_parts_of_a_step(tree, said):
    tree.start("build", None, 2)
    tree.start("tactics", "build", 4)
    tree.step("tactics", 0)
    tree.start("one tactic", "tactics", 2)
    tree.step("one tactic", 0)
    tree.finish("one tactic")
    tree.step("tactics", 3)
    tree.finish("tactics")
    tree.step("build", 0)
    tree.step("build", 1)
    tree.finish("build")
    assert said == [0.0, 0.125, 0.187, 0.5, 1.0]


def test_it_never_goes_back(tree, said):
    tree.start("build", None, 4)
    tree.step("build", 2)
    tree.step("build", 0)
    tree.start("inner", "build", 2)
    assert said == [0.0, 0.75]


def test_phases_after_one_another_start_anew(tree, said):
    for name in ("parse", "build"):
        tree.start(name, None, 1)
        tree.step(name, 0)
        tree.finish(name)
    assert said == [0.0, 1.0, 0.0, 1.0]


def test_what_makes_no_sense_is_survived(tree, said):
    tree.step("never started", 3)
    tree.finish("never started")
    tree.start("orphan", "never started", 0)
    tree.step("orphan", 7)
    assert said == [0.0, 1.0]
