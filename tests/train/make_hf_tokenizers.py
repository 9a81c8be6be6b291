"""Small tokenizers of the three kinds that text towers have, and the ids that open_clip's HFTokenizer makes with them.

Needs `transformers`, which nothing else here does. Writes `hf_tokenizers/` beside this file:

    PYTHONPATH=... python tests/train/make_hf_tokenizers.py
"""

from __future__ import annotations

import json
import string
from pathlib import Path

from open_clip.tokenizer import HFTokenizer
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

OUT = Path(__file__).parent / "hf_tokenizers"
LENGTH = 16
WORDS = ("take", "the", "cup", "pour", "water", "stir", "red", "it", "s", "and", "caf", "fish", "chips", "t", "don")
TEXTS = (
    "",
    " ",
    "take the cup",
    "  Take\tthe \n RED   cup.  ",
    "it's don't IT'S _under_score_ semi;colon (brackets) 50%!",
    "&lt;b&gt; caf&eacute; &amp;amp;amp; fish &amp;amp; chips",
    "schÃ¶n cafÃ© â€œquotedâ€\x9d",
    "\u201ccurly\u201d \u2018quotes\u2019 \u2013 dash \u2026 ﬁne ﬂour",
    "Größe İstanbul ΣΑΣ",
    "汉字 かな ｆｕｌｌ　ｗｉｄｔｈ",
    "🙂👍🏽👩‍👩‍👧‍👦 🇩🇪 emoji",
    "combining e\u0301 \u200bzero\u200d width \ufeff",
    "½ ² Ⅷ ٣ 1٣1",
    "control \x00\x01 \x1b[31mred\x1b[0m \x85 \xa0end",
    "</s> <s> [SEP] [CLS] <pad> [PAD] <unk> literal special words",
    "x" * 300,
    "take the cup and pour the water and stir it " * 40,
    "🙂" * 100,
)


def unigram() -> tuple[Tokenizer, dict[str, object], dict[str, object]]:
    """As SigLIP's: sentence pieces, an end token alone, which also pads."""
    letters = string.ascii_lowercase + string.digits + "▁"
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(f"▁{word}", -3.0 - 0.1 * index) for index, word in enumerate(WORDS)]
    pieces += [(letter, -8.0 - 0.01 * index) for index, letter in enumerate(letters)]
    encoder = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    encoder.normalizer = normalizers.NFKC()
    encoder.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    encoder.decoder = decoders.Metaspace()
    encoder.add_special_tokens(["<pad>", "</s>", "<unk>"])
    encoder.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    settings = {"pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return encoder, settings, {"clean": "canonicalize"}


def word_piece() -> tuple[Tokenizer, dict[str, object], dict[str, object]]:
    """As CLIPA's, which is BERT's; its separator becomes 0."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    words += [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase), *string.punctuation]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(words))}
    encoder = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    encoder.normalizer = normalizers.BertNormalizer(lowercase=True)
    encoder.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    encoder.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    encoder.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    settings = {"pad_token": "[PAD]", "sep_token": "[SEP]", "cls_token": "[CLS]", "unk_token": "[UNK]"}
    return encoder, settings, {"strip_sep_token": True}


def byte_pairs() -> tuple[Tokenizer, dict[str, object], dict[str, object]]:
    """As RoBERTa's: bytes and their merges, case kept, padding that is not 0, cut and padded on the left."""
    vocabulary = {word: index for index, word in enumerate(["<s>", "<pad>", "</s>", "<unk>"])}
    for symbol in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[symbol] = len(vocabulary)
    merges = [("t", "h"), ("th", "e"), ("c", "u"), ("cu", "p"), ("Ġ", "the"), ("Ġ", "cup")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    encoder = Tokenizer(models.BPE(vocabulary, merges))
    encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    encoder.decoder = decoders.ByteLevel()
    encoder.add_special_tokens([AddedToken(word, special=True) for word in ("<s>", "<pad>", "</s>", "<unk>")])
    encoder.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    sides = {"padding_side": "left", "truncation_side": "left"}
    pad = {"__type": "AddedToken", "content": "<pad>"}
    settings = {"pad_token": pad, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return encoder, {**settings, **sides}, {}


def main() -> None:
    for name, make in (("unigram", unigram), ("word_piece", word_piece), ("byte_pairs", byte_pairs)):
        folder = OUT / name
        folder.mkdir(parents=True, exist_ok=True)
        encoder, settings, options = make()
        (folder / "tokenizer.json").write_text(encoder.to_str() + "\n", encoding="utf-8")
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, **settings}
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        ids = HFTokenizer(str(folder), context_length=LENGTH, **options)(list(TEXTS)).tolist()
        expected = {
            "context_length": LENGTH,
            "num_ids": encoder.get_vocab_size(),
            "options": options,
            "ids": [{"text": text, "ids": row} for text, row in zip(TEXTS, ids, strict=True)],
        }
        rows = json.dumps(expected).replace('{"text"', '\n{"text"')
        (folder / "expected.json").write_text(rows + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
