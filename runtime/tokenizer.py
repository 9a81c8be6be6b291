"""Step texts to token ids, exactly as the text tower was trained with: CLIP's cleaning, then the bundle's BPE file."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import BundleIntegrityError, OptionError

__all__ = ["Tokenizer", "clean_text"]


def clean_text(text: str) -> str:
    """Repair mojibake, undo HTML entities twice, collapse white space and lower the case, as CLIP does."""
    import ftfy

    repaired = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(repaired.split()).lower()


class Tokenizer:
    """Turns texts into the ids of a CLIP text tower.

    Build it with `from_file` or `from_json`; a call takes a sequence of texts.

    Attributes:
        context_length: ids a text; by default what the file says.
        sot_id: the start token, first in every row.
        eot_id: the end token, after the text; the last id of a row whose text was cut.
        vocab_size: rows of a token table that holds every id (CLIP's last id is the end token's).
    """

    def __init__(self, text: str, *, context_length: int | None = None, source: str = "tokenizer.json") -> None:
        import tokenizers

        try:
            self._encoder = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # what `tokenizers` raises is a plain Exception, whatever is wrong
            reason = f"is not a tokenizer file: {error}"
            raise BundleIntegrityError(f"{source}: {reason}; export the bundle again") from error
        stored = (self._encoder.truncation or {}).get("max_length")
        length = stored if context_length is None else context_length
        if length is None:
            raise OptionError(f"{source}: does not say its context length; give context_length")
        if length < 2:
            raise OptionError(f"context_length = {length} must be at least 2, for the start and end tokens")
        self.context_length: int = length
        self._encoder.enable_truncation(length)
        self._encoder.no_padding()
        self.sot_id, self.eot_id = self._special_ids(source)
        self.vocab_size: int = self.eot_id + 1

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, context_length: int | None = None) -> Tokenizer:
        """Read a bundle's `tokenizer.json`.

        Raises:
            BundleIntegrityError: if the file cannot be read or is no tokenizer.
            OptionError: if the context length is unknown or too small.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise BundleIntegrityError(f"{path}: cannot be read: {reason}; export the bundle again") from error
        return cls(text, context_length=context_length, source=str(path))

    @classmethod
    def from_json(cls, text: str, *, context_length: int | None = None) -> Tokenizer:
        """Use the text of a `tokenizer.json`. Raises as `from_file` does."""
        return cls(text, context_length=context_length)

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Clean and tokenize.

        Args:
            texts: N texts; empty ones are fine.

        Returns:
            int64 (N, context_length): start token, ids, end token, then zeros. A text that is too long is cut, and its
            last id is the end token.

        Raises:
            OptionError: if `texts` is one string, or holds something that is not text.
        """
        if isinstance(texts, str):
            raise OptionError("the tokenizer takes a sequence of texts, not one string; put it into a list")
        ids = np.zeros((len(texts), self.context_length), dtype=np.int64)
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise OptionError(f"text {row} is {type(text).__name__}, not a string; give strings")
            # One by one: batches start threads in `tokenizers`, which then warns about every later fork.
            found = self._encode(text, row)
            ids[row, : len(found)] = found
        return ids

    def _encode(self, text: str, row: int) -> list[int]:
        try:
            ids: list[int] = self._encoder.encode(clean_text(text)).ids
        except UnicodeEncodeError as error:
            raise OptionError(f"text {row} holds a lone surrogate, which is no character; remove it") from error
        return ids

    def _special_ids(self, source: str) -> tuple[int, int]:
        """The ids that surround a text, seen in what an empty one gives."""
        ids = self._encoder.encode("").ids
        if len(ids) != 2:
            raise BundleIntegrityError(f"{source}: does not add start and end tokens; export the bundle again")
        return ids[0], ids[1]
