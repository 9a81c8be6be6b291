"""CLIP's tokenizer as one `tokenizer.json`, so that a deployed model needs neither torch nor open_clip.

The vocabulary and the merges come from the file inside open_clip; the ids that come out are open_clip's for every text.
Three things need care, because the reference implementation splits text with the `regex` package:

- which characters are letters or digits depends on the Unicode version of a regular expression engine, so the file
  spells the classes out as ranges, as they were for the engine that training used;
- that engine ignores case, which for cleaned (lower-case) text matters for the long s alone;
- the literal texts `<start_of_text>` and `<end_of_text>` stand for their special ids, but only where a word can start.
  Merges of the lowest priority rebuild them, which no other word can reach.
"""

from __future__ import annotations

import functools
import gzip
import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import OptionError

__all__ = ["clip_tokenizer_json", "english_token_ids"]

_NUM_MERGES = 49152 - 256 - 2
_END_OF_WORD = "</w>"
_SPECIAL_WORDS = ("<start_of_text>", "<end_of_text>")
_CONTRACTIONS = "'[sſ]|'t|'re|'ve|'m|'ll|'d"


def clip_tokenizer_json(*, context_length: int = 77) -> str:
    """The text of a `tokenizer.json` that gives CLIP's ids for cleaned text.

    The file does not clean (mojibake, HTML entities, white space, case): `runtime.tokenizer.Tokenizer` does.

    Args:
        context_length: ids a text; longer texts are cut, shorter ones padded with id 0.

    Raises:
        OptionError: if `context_length` leaves no room for the start and end tokens.
    """
    if context_length < 2:
        raise OptionError(f"{context_length = } must be at least 2, for the start and end tokens")
    merges = _clip_merges()
    words = _clip_words(merges)
    start_id, end_id = len(words), len(words) + 1
    vocabulary = {word: index for index, word in enumerate(words)}
    vocabulary |= {word + _END_OF_WORD: index for word, index in zip(_SPECIAL_WORDS, (start_id, end_id), strict=True)}
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    for word in _SPECIAL_WORDS:
        left, *pieces = _merge_word(word, ranks)
        for right in pieces:
            merges.append((left, right))
            left += right
            vocabulary.setdefault(left, len(vocabulary))
    document = {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": context_length, "strategy": "LongestFirst", "stride": 0},
        "padding": {
            "strategy": {"Fixed": context_length},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": words[0],
        },
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": _pre_tokenizer(),
        "post_processor": _template(start_id, end_id),
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": _END_OF_WORD,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [f"{left} {right}" for left, right in merges],
        },
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def english_token_ids() -> NDArray[np.int64]:
    """The ids that cleaned ASCII text can give: all others belong to other scripts, accents and emoji.

    Cleaned text is lower-case, so the capital letters are not among them; the padding id 0 (`!`) and the start and end
    tokens are.

    Returns:
        int64 (N,), ascending, without repetition.
    """
    words = _clip_words(_clip_merges())
    # A printable ASCII byte is its own symbol; every other byte is a symbol outside ASCII.
    kept = [index for index, word in enumerate(words) if _is_lower_ascii(word.removesuffix(_END_OF_WORD))]
    return np.array([*kept, len(words), len(words) + 1], dtype=np.int64)


def _is_lower_ascii(word: str) -> bool:
    return word.isascii() and word == word.lower()


def _clip_words(merges: Sequence[tuple[str, str]]) -> list[str]:
    """CLIP's vocabulary without its special tokens; the index of a word is its id.

    First one printable character for each byte (the printable bytes stand for themselves and come first), then the same
    ones as ends of words, then what the merges make.
    """
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    symbols = [chr(code) for code in (*own, *range(256, 512 - len(own)))]
    return [*symbols, *(symbol + _END_OF_WORD for symbol in symbols), *(left + right for left, right in merges)]


def _clip_merges() -> list[tuple[str, str]]:
    """CLIP's merges, highest priority first, from the file inside open_clip."""
    from open_clip.tokenizer import default_bpe

    with gzip.open(default_bpe(), "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")[1 : 1 + _NUM_MERGES]
    return [(left, right) for left, right in (line.split() for line in lines)]


def _merge_word(word: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """The pieces that CLIP's merges make of an ASCII word."""
    pieces = [*word[:-1], word[-1] + _END_OF_WORD]
    while len(pieces) > 1:
        pairs = list(itertools.pairwise(pieces))
        best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        index = pairs.index(best)
        pieces[index : index + 2] = ["".join(best)]
    return pieces


@functools.cache
def _character_class(pattern: str) -> str:
    """The characters that open_clip's engine matches with `pattern`, ignoring case, as ranges for a character class."""
    import regex

    text = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    runs = regex.findall(f"{pattern}+", text, flags=regex.IGNORECASE)
    return "".join(f"\\x{{{ord(run[0]):X}}}-\\x{{{ord(run[-1]):X}}}" for run in runs)


def _pre_tokenizer() -> dict[str, Any]:
    letters, digits = _character_class(r"[\p{L}]"), _character_class(r"[\p{N}]")
    others = _character_class(r"[^\s\p{L}\p{N}]")
    start_word = _SPECIAL_WORDS[0].replace("s", "[sſ]")
    pattern = f"{start_word}|{_SPECIAL_WORDS[1]}|{_CONTRACTIONS}|[{letters}]+|[{digits}]|[{others}]+"
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True}
    to_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [split, to_bytes]}


def _template(start_id: int, end_id: int) -> dict[str, Any]:
    """Start token, text, end token."""
    start, end = (word + _END_OF_WORD for word in _SPECIAL_WORDS)
    special = [{"SpecialToken": {"id": word, "type_id": 0}} for word in (start, end)]
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [special[0], sequence, special[1]],
        "pair": [special[0], sequence, {"Sequence": {"id": "B", "type_id": 0}}, special[1]],
        "special_tokens": {
            word: {"id": word, "ids": [index], "tokens": [word]} for word, index in ((start, start_id), (end, end_id))
        },
    }
