from __future__ import annotations

import itertools
from collections import Counter

import pytest
from weaksvr.runtime.metrics import edit_distance
from weaksvr.train.datasets.workbench.catalogue import STEP_NAMES, STEP_TYPES, wordings_of
from weaksvr.train.datasets.workbench.tasks import KINDS, SPLITS, split_of, tasks_for


def test_wordings_are_short_and_belong_to_one_step_type():
    sentences = [text for step in STEP_TYPES for text in step.train_wordings + step.kept_wordings]
    assert len(sentences) == len(set(sentences)) == 6 * len(STEP_TYPES)
    assert max(len(text.split()) for text in sentences) <= 8


def test_longest_paragraph_fits_the_text_context():
    open_clip = pytest.importorskip("open_clip")
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    every = [text for step in STEP_TYPES for text in step.train_wordings + step.kept_wordings]
    paragraph = ", ".join(sorted(every, key=lambda text: -int((tokenizer(text) != 0).sum()))[:8])
    assert int((tokenizer(paragraph, context_length=200) != 0).sum()) <= 77


def test_some_wordings_are_kept_from_train():
    for step in STEP_TYPES:
        train, test = set(wordings_of(step, split="train")), set(wordings_of(step, split="test"))
        assert set(step.kept_wordings) == test - train
        assert wordings_of(step, split="val") == wordings_of(step, split="test")


@pytest.mark.parametrize("split", SPLITS)
def test_variants_are_what_they_say(split):
    for task in tasks_for(split, 60, seed=3):
        base, *variants = task.procedures
        assert 4 <= len(base.steps) == task.num_steps <= 7
        assert len(set(base.steps)) == len(base.steps)
        assert tuple(variant.kind for variant in variants) == KINDS
        for variant in variants:
            assert (variant.steps[0], variant.steps[-1]) == (base.steps[0], base.steps[-1])
            assert all(a != b for a, b in itertools.pairwise(variant.steps))
        swap, drop, replace, repeat = (variant.steps for variant in variants)
        assert sorted(swap) == sorted(base.steps)
        assert sum(a != b for a, b in zip(swap, base.steps, strict=True)) == 2
        assert len(drop) == len(base.steps) - 1
        assert edit_distance(drop, base.steps) == 1
        (new,) = set(replace) - set(base.steps)
        assert sum(a != b for a, b in zip(replace, base.steps, strict=True)) == 1
        assert new not in base.steps
        assert edit_distance(repeat, base.steps) == 1
        assert sorted(Counter(repeat).values())[-2:] == [1, 2]
        assert set(task.scene) == set(base.steps) | {new}


def test_no_procedure_is_shared_between_splits_tasks_or_seeds():
    by_split = {
        split: [p.steps for seed in (0, 1) for task in tasks_for(split, 100, seed=seed) for p in task.procedures]
        for split in SPLITS
    }
    for a, b in itertools.combinations(SPLITS, 2):
        assert not set(by_split[a]) & set(by_split[b])
    for split, sequences in by_split.items():
        assert {split_of(steps) for steps in sequences} == {split}
        first_seed = sequences[: len(sequences) // 2]
        assert len(first_seed) == len(set(first_seed))


@pytest.mark.parametrize("split", SPLITS)
def test_every_step_type_occurs_even_in_small_splits(split):
    assert {step for task in tasks_for(split, 6, seed=0) for step in task.scene} == set(STEP_NAMES)


@pytest.mark.parametrize("split", SPLITS)
def test_step_types_are_used_evenly_and_at_every_place(split):
    bases = [task.procedures[0].steps for task in tasks_for(split, 200, seed=1)]
    counts = Counter(step for base in bases for step in base)
    assert max(counts.values()) < 1.2 * min(counts.values())
    assert {base[0] for base in bases} == {base[-1] for base in bases} == set(STEP_NAMES)
    assert {len(base) for base in bases} == {4, 5, 6}


def test_more_tasks_only_append():
    assert tasks_for("val", 12, seed=5)[:4] == tasks_for("val", 4, seed=5)
    assert tasks_for("val", 4, seed=5) != tasks_for("val", 4, seed=6)
