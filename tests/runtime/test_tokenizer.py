from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weaksvr.runtime.errors import BundleIntegrityError, OptionError
from weaksvr.runtime.tokenizer import Tokenizer, clean_text
from weaksvr.train.tokenizer_json import clip_tokenizer_json

TEXTS = [
    "",
    " ",
    "take the cup",
    "  Take\tthe \n RED   cup.  ",
    "it's don't we've I'm you'll he'd they're IT'S",
    "put dow the mortar, pour 250ml (1/2) of water!!! #5",
    "15som NoTwis PIKE",
    "&lt;b&gt; caf&eacute; &amp;amp;amp; fish &amp;amp; chips",
    "schÃ¶n cafÃ© â€œquotedâ€\x9d",
    "\u201ccurly\u201d \u2018quotes\u2019 \u2013 dash \u2026 ﬁne ﬂour",
    "Größe ÅNGSTRÖM İstanbul ΣΑΣ ΌΣΟΣ",
    "汉字 漢字 かな カナ ｆｕｌｌ　ｗｉｄｔｈ",
    "שלום مرحبا नमस्ते สวัสดี",
    "🙂👍🏽👩‍👩‍👧‍👦 🇩🇪 emoji",
    "combining e\u0301 a\u0345b \u200bzero\u200d width \ufeff",
    "½ ² Ⅷ ٣ 1٣1 𝟘",
    "control \x00\x01\x07 \x1b[31mred\x1b[0m \x85 \xa0end",
    "lone \ud800 surrogate",
    "it'ſ 'ſ <ſtart_of_text>",
    "<|startoftext|> a <|endoftext|> b",
    "<start_of_text>a<end_of_text>",
    "<START_OF_TEXT> <End_Of_Text>",
    "!<end_of_text> .<start_of_text>. a<end_of_text>b 1<end_of_text>1",
    "<end_of_text><end_of_text><start_of_text> 's<end_of_text>",
    "<start_of_text <end_of_text start_of_text> <start _of_text></w> a</w>",
    "x" * 500,
    "supercalifragilisticexpialidocious" * 20,
    "word " * 74,
    "word " * 75,
    "word " * 76,
    "word " * 500,
    "!" * 300,
    "🙂" * 300,
]


@pytest.fixture(scope="module")
def reference():
    import open_clip

    return open_clip.get_tokenizer("ViT-B-32")


@pytest.fixture(scope="module")
def document():
    return clip_tokenizer_json()


@pytest.fixture(scope="module")
def tokenizer(document):
    return Tokenizer.from_json(document)


def test_ids_equal_open_clip(tokenizer, reference):
    ids = tokenizer(TEXTS)
    assert ids.dtype == np.int64
    assert ids.shape == (len(TEXTS), 77)
    for text, row, expected in zip(TEXTS, ids, reference(TEXTS).numpy(), strict=True):
        np.testing.assert_array_equal(row, expected, err_msg=repr(text[:80]))


PIECES = st.sampled_from(
    ["<start_of_text>", "<end_of_text>", "'s", "'", "ll", "<", ">", " ", "1", "é", "🙂", "ſ", "&lt;"]
)


@given(st.lists(st.one_of(PIECES, st.text(max_size=6)), max_size=12).map("".join))
@settings(max_examples=300, deadline=None)
def test_ids_equal_open_clip_for_any_text(tokenizer, reference, text):
    np.testing.assert_array_equal(tokenizer([text])[0], reference([text]).numpy()[0])


def test_ids_equal_open_clip_for_every_kind_of_character(tokenizer, reference):
    """Letter, digit or other is decided as the reference's engine does, whatever Unicode version is built in here."""
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    chosen = [*characters[:0x3400:2], *characters[0xA000:0x20000:9], *characters[0x20000::211]]
    chosen += ["\u0345", "\U0002ebf0", "\U00030000", "\U00031350", "\U000323b0"]
    for start in range(0, len(chosen), 6):
        text = " ".join(f"a{character}b" for character in chosen[start : start + 6])
        np.testing.assert_array_equal(tokenizer([text])[0], reference([text]).numpy()[0], err_msg=ascii(text))


@pytest.mark.parametrize("context_length", [2, 3, 16, 200])
def test_context_length_is_what_is_asked_for(document, reference, context_length):
    tokenizer = Tokenizer.from_json(document, context_length=context_length)
    assert tokenizer.context_length == context_length
    texts = ["", "take the cup and pour water into it", "word " * 300]
    expected = reference(texts, context_length=context_length).numpy()
    np.testing.assert_array_equal(tokenizer(texts), expected)


def test_context_length_is_read_from_the_file(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(clip_tokenizer_json(context_length=20), encoding="utf-8")
    tokenizer = Tokenizer.from_file(path)
    assert tokenizer.context_length == 20
    assert tokenizer(["take the cup"]).shape == (1, 20)


def test_special_ids(tokenizer):
    assert tokenizer(["", "word " * 100])[:, [0, 1, -1]].tolist() == [[49406, 49407, 0], [49406, 2653, 49407]]


@pytest.mark.parametrize("cleaning", ["lower", "whitespace", "canonicalize"])
def test_every_cleaning_is_open_clips(cleaning):
    from open_clip.tokenizer import get_clean_fn

    reference = get_clean_fn(cleaning)
    assert [clean_text(text, cleaning) for text in TEXTS] == [reference(text) for text in TEXTS]


@given(st.text())
def test_every_cleaning_is_open_clips_for_any_text(text):
    from open_clip.tokenizer import get_clean_fn

    for cleaning in ("lower", "whitespace", "canonicalize"):
        assert clean_text(text, cleaning) == get_clean_fn(cleaning)(text)


@pytest.mark.parametrize("cleaning", ["whitespace", "canonicalize"])
def test_ids_with_another_cleaning_equal_open_clips(document, cleaning):
    from open_clip.tokenizer import SimpleTokenizer

    texts = [text for text in TEXTS if cleaning == "canonicalize" or text.islower()]
    found = Tokenizer.from_json(document, cleaning=cleaning)(texts)
    np.testing.assert_array_equal(found, SimpleTokenizer(clean=cleaning)(texts).numpy())


def test_padding_is_what_the_file_says(document):
    take, the, cup = Tokenizer.from_json(document)(["take the cup"])[0, 1:4].tolist()
    changed = json.loads(document)
    changed["padding"] |= {"pad_id": 7, "direction": "Left"}
    changed["truncation"] |= {"direction": "Left"}
    ids = Tokenizer.from_json(json.dumps(changed), context_length=6)(["take the cup", "take the cup " * 3])
    assert ids.tolist() == [[7, 49406, take, the, cup, 49407], [49406, cup, take, the, cup, 49407]]


def test_an_id_can_be_made_zero(document):
    ids = Tokenizer.from_json(document, context_length=6, zeroed_id=49407)(["take the cup"])
    assert ids.tolist() == [[49406, *Tokenizer.from_json(document)(["take the cup"])[0, 1:4].tolist(), 0, 0]]


def test_an_unknown_cleaning_is_refused(document):
    with pytest.raises(OptionError, match="cleaning 'upper' is not known; use one of lower, whitespace, canonicalize"):
        Tokenizer.from_json(document, cleaning="upper")


def test_no_text_gives_no_rows(tokenizer):
    assert tokenizer([]).shape == (0, 77)


def test_a_copy_in_another_process_gives_the_same_ids(tokenizer):
    copy = pickle.loads(pickle.dumps(tokenizer))
    np.testing.assert_array_equal(copy(TEXTS), tokenizer(TEXTS))


def test_heavy_libraries_are_imported_only_when_needed():
    code = (
        "import sys, weaksvr.runtime.tokenizer; print([m for m in ('tokenizers', 'ftfy', 'torch') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_one_string_is_refused(tokenizer):
    with pytest.raises(OptionError, match="not one string; put it into a list"):
        tokenizer("take the cup")


def test_other_than_text_is_refused(tokenizer):
    with pytest.raises(OptionError, match="text 1 is int, not a string"):
        tokenizer(["take the cup", 7])


def test_a_context_without_room_is_refused(document):
    with pytest.raises(OptionError, match="context_length = 1 must be at least 2"):
        Tokenizer.from_json(document, context_length=1)


def test_a_file_without_context_length_needs_one(document):
    stripped = json.dumps({**json.loads(document), "truncation": None})
    with pytest.raises(OptionError, match="does not say its context length; give context_length"):
        Tokenizer.from_json(stripped)
    assert Tokenizer.from_json(stripped, context_length=9)(["take"]).shape == (1, 9)


def test_a_file_without_special_tokens_is_refused(document):
    stripped = json.dumps({**json.loads(document), "post_processor": None})
    with pytest.raises(BundleIntegrityError, match="does not add start and end tokens; export the bundle again"):
        Tokenizer.from_json(stripped)


@pytest.mark.parametrize("text", ["", "{}", "[]", "not json", '{"truncation": 3}'])
def test_text_that_is_no_tokenizer_is_refused(text):
    with pytest.raises(BundleIntegrityError, match=r"tokenizer\.json: is not a tokenizer file: .*export the bundle"):
        Tokenizer.from_json(text)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(BundleIntegrityError, match=r"gone\.json: cannot be read: No such file"):
        Tokenizer.from_file(tmp_path / "gone.json")


def test_a_file_that_is_not_text_is_said(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BundleIntegrityError, match=r"tokenizer\.json: cannot be read: not UTF-8"):
        Tokenizer.from_file(path)
