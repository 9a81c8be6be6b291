from __future__ import annotations

import json
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weaksvr.runtime.errors import OptionError
from weaksvr.runtime.tokenizer import Tokenizer
from weaksvr.train.tokenizer_json import clip_tokenizer_json, english_token_ids


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_json(clip_tokenizer_json())


@pytest.fixture(scope="module")
def english():
    return english_token_ids()


@pytest.fixture(scope="module")
def reference():
    import open_clip

    return open_clip.get_tokenizer("ViT-B-32")


def test_vocabulary_is_open_clips(reference):
    vocabulary = json.loads(clip_tokenizer_json())["model"]["vocab"]
    special = {f"{word}</w>": reference.encoder[word] for word in ("<start_of_text>", "<end_of_text>")}
    expected = {word: index for word, index in reference.encoder.items() if index < 49406} | special
    assert {word: index for word, index in vocabulary.items() if index < 49408} == expected
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))


def test_the_text_is_the_same_every_time():
    assert clip_tokenizer_json() == clip_tokenizer_json()


def test_english_ids_are_the_lower_case_ascii_words(reference):
    ids = english_token_ids()
    assert ids.dtype == np.int64
    assert (np.diff(ids) > 0).all()
    assert len(ids) == 47_019
    assert {0, 49406, 49407} <= set(ids.tolist())
    kept = {reference.decoder[index] for index in ids.tolist()}
    assert {"cup</w>", "pour</w>", "!", "'s</w>", "<start_of_text>"} <= kept
    assert not kept & {"A", "é", "é</w>", "ðŁĺĤ</w>"}


@given(st.lists(st.text(string.printable, max_size=12), max_size=6).map(" ".join))
@settings(max_examples=200, deadline=None)
def test_ascii_text_gives_english_ids_alone(tokenizer, english, text):
    # An ampersand can begin an HTML entity, which cleaning turns into characters outside ASCII.
    assert np.isin(tokenizer([text.replace("&", "and")]), english).all()


def test_other_scripts_give_other_ids(tokenizer, english):
    for text in ("é", "汉字", "🙂", "caf&eacute;"):
        assert not np.isin(tokenizer([text]), english).all()


def test_a_context_without_room_is_refused():
    with pytest.raises(OptionError, match="context_length = 1 must be at least 2"):
        clip_tokenizer_json(context_length=1)
