from __future__ import annotations

from collections import Counter

import pytest
from weaksvr.train.datasets.workbench.catalogue import STEP_TYPES
from weaksvr.train.datasets.workbench.plan import draw_matching, draw_pairs, plan_split
from weaksvr.train.datasets.workbench.tasks import KINDS

STEPS = {step.name: step for step in STEP_TYPES}


def test_train_shows_as_many_procedures_as_there_are_videos():
    plans = plan_split("train", 40, seed=0)
    assert len({plan.procedure.name for plan in plans}) == 40
    assert len({plan.task.name for plan in plans}) == 8
    assert [plan.path for plan in plans[:2]] == ["videos/train/0000.mp4", "videos/train/0001.mp4"]


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_full_task_has_three_videos_of_each_procedure(split):
    plans = plan_split(split, 30, seed=1)
    assert set(Counter(plan.procedure.name for plan in plans).values()) == {3}
    kinds = Counter(pair.kind for pair in draw_pairs(plans, seed=1))
    assert kinds == {"same": 30, "swap": 12, "drop": 12, "replace": 12, "repeat": 12}


@pytest.mark.parametrize("num_videos", [0, 1, 3, 6, 17])
def test_any_number_of_videos(num_videos):
    plans = plan_split("val", num_videos, seed=0)
    assert [plan.index for plan in plans] == list(range(num_videos))
    kinds = Counter(pair.kind for pair in draw_pairs(plans, seed=0))
    if num_videos >= 6:
        assert set(kinds) == {"same", *KINDS}
    assert plan_split("val", 30, seed=0)[:num_videos] == plans


def test_pairs_are_labelled_by_procedure_and_ask_nothing_twice():
    pairs = draw_pairs(plan_split("test", 45, seed=2), seed=2)
    for pair in pairs:
        assert pair.same == (pair.a.procedure == pair.b.procedure) == (pair.kind == "same")
        assert pair.a.task == pair.b.task
        assert pair.a.index != pair.b.index
        if not pair.same:
            assert {pair.a.procedure.kind, pair.b.procedure.kind} == {"base", pair.kind}
    assert len({frozenset((pair.a.path, pair.b.path)) for pair in pairs}) == len(pairs)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_texts_describe_the_steps_in_the_wordings_of_the_split(split):
    used = set()
    for plan in plan_split(split, 60, seed=0):
        assert len(plan.texts) == len(plan.procedure.steps)
        for name, text in zip(plan.procedure.steps, plan.texts, strict=True):
            step = STEPS[name]
            assert text in step.train_wordings + step.kept_wordings
            used.add(text in step.kept_wordings)
    assert used == ({False} if split == "train" else {True, False})


def test_matching_has_one_right_candidate_of_five_procedures():
    plans = plan_split("test", 33, seed=0)
    questions = draw_matching(plans, seed=0)
    assert len(questions) == 30, "the unfinished third task cannot fill five candidates"
    for question in questions:
        procedures = [video.procedure for video in question.candidates]
        assert {procedure.kind for procedure in procedures} == {"base", *KINDS}
        right = procedures[question.answer].steps
        assert all(
            text in STEPS[name].train_wordings + STEPS[name].kept_wordings
            for name, text in zip(right, question.texts, strict=True)
        )
    assert len({question.answer for question in questions}) == 5


def test_takes_are_videos_of_the_same_procedure_task_by_task():
    plans = plan_split("train", 60, seed=0, takes=6)
    counts = Counter(plan.procedure.name for plan in plans)
    assert set(counts.values()) == {6}
    assert [plan.task.name for plan in plans] == ["train-0000"] * 30 + ["train-0001"] * 30
    assert {plan.procedure for plan in plan_split("train", 10, seed=0)} == {plan.procedure for plan in plans}
