from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from weaksvr.runtime.manifest import Clip
from weaksvr.train.texts import TextTable, alter_steps

STEP = st.sampled_from(["cut", "fold", "glue", "paint"])


def clip(name, *steps, procedure=None):
    return Clip(video=Path(f"/videos/{name}.mp4"), steps=steps, procedure=procedure)


CLIPS = (
    clip("a", "cut", "fold", procedure="p"),
    clip("b", "snip", "bend it", procedure="p"),
    clip("c", "fold", "cut", "fold"),
    clip("d", "fold", "cut", "fold"),
    clip("e", "cut"),
)


@pytest.fixture(scope="module")
def tokenize(config):
    return open_clip.get_tokenizer(config.model.clip)


@pytest.fixture(scope="module")
def table(tokenize):
    return TextTable(CLIPS, tokenize, seed=3)


@given(st.lists(STEP, min_size=1, max_size=5), st.lists(STEP, max_size=3), st.integers(0, 2**32 - 1))
def test_an_altered_script_always_differs_and_by_one_change(steps, others, seed):
    altered = alter_steps(steps, others, np.random.default_rng(seed))
    assert altered != tuple(steps)
    assert len(altered) >= 1
    assert abs(len(altered) - len(steps)) <= 1
    if len(altered) == len(steps):
        assert 1 <= sum(a != b for a, b in zip(altered, steps, strict=True)) <= 2
    assert set(altered) <= set(steps) | set(others)


def test_all_kinds_of_change_are_drawn():
    steps, seen = ("cut", "fold", "glue"), set()
    for seed in range(60):
        altered = alter_steps(steps, ("paint",), np.random.default_rng(seed))
        if len(altered) != len(steps):
            seen.add("drop" if len(altered) < len(steps) else "repeat")
        else:
            seen.add("replace" if "paint" in altered else "swap")
    assert seen == {"swap", "drop", "repeat", "replace"}


def test_distinct_texts_stand_once_and_are_found_again(table, tokenize):
    assert table.sentences == ["cut", "fold", "snip", "bend it"]
    for clip_, ids in zip(CLIPS, table.sentence_ids, strict=True):
        assert tuple(table.sentences[row] for row in ids) == clip_.steps
    assert torch.equal(table.sentence_tokens, tokenize(table.sentences))
    assert len(table.paragraph_tokens) == 4
    for clip_, row in zip(CLIPS, table.paragraph_ids.tolist(), strict=True):
        assert torch.equal(table.paragraph_tokens[row], tokenize([",".join(clip_.steps)])[0])
    assert table.sentence_tokens.dtype == table.paragraph_tokens.dtype == torch.int64


def test_labels_are_equal_for_one_procedure_or_else_for_equal_steps(table):
    a, b, c, d, e = table.labels.tolist()
    assert a == b
    assert c == d
    assert len({a, c, e}) == 3


def test_altered_scripts_depend_on_seed_epoch_and_clip_alone(table, tokenize):
    tokens = table.altered_tokens(2, [0, 2], 3)
    assert tokens.shape == (6, table.paragraph_tokens.shape[1])
    assert torch.equal(tokens[3:], table.altered_tokens(2, [2], 3))
    assert torch.equal(tokens, TextTable(CLIPS, tokenize, seed=3).altered_tokens(2, [0, 2], 3))
    others = (table.altered_tokens(3, [0, 2], 3), TextTable(CLIPS, tokenize, seed=4).altered_tokens(2, [0, 2], 3))
    assert not any(torch.equal(tokens, other) for other in others)
    own = table.paragraph_tokens[table.paragraph_ids[[0, 2]]].repeat_interleave(3, dim=0)
    assert (tokens != own).any(dim=1).all()
