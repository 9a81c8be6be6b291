"""Step texts to token ids, exactly as the text tower was trained with: its cleaning, then the bundle's tokenizer file.

Cleaning (mojibake, HTML entities) is no part of a tokenizer file; which of open_clip's three ways a tower was trained
with is said beside it.
"""

from __future__ import annotations

import html
import os
import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import BundleIntegrityError, OptionError
from .spec import CLEANINGS, Cleaning

__all__ = ["Tokenizer", "clean_text"]

_NO_PUNCTUATION = str.maketrans("_", " ", string.punctuation.replace("_", ""))


def clean_text(text: str, cleaning: Cleaning = "lower") -> str:
    """Repair mojibake, undo HTML entities twice and collapse white space; then as `cleaning` says.

    Args:
        text: any text.
        cleaning: `lower` lowers the case (CLIP); `whitespace` does no more; `canonicalize` also removes ASCII
            punctuation and lowers the case (SigLIP).
    """
    import ftfy

    repaired = html.unescape(html.unescape(ftfy.fix_text(text)))
    if cleaning == "canonicalize":
        repaired = repaired.translate(_NO_PUNCTUATION)
    collapsed = " ".join(repaired.split())
    return collapsed if cleaning == "whitespace" else collapsed.lower()


class Tokenizer:
    """Turns texts into the ids of a text tower.

    Build it with `from_file` or `from_json`; a call takes a sequence of texts.

    Args:
        text: of a `tokenizer.json`. It says how texts are padded and on which side they are cut; without a word on
            padding, the id is 0.
        context_length: ids a text; by default what the file says.
        cleaning: what is done to a text before, see `clean_text`.
        zeroed_id: an id that becomes 0 wherever it stands.
        source: what errors call the file.
    """

    def __init__(
        self,
        text: str,
        *,
        context_length: int | None = None,
        cleaning: Cleaning = "lower",
        zeroed_id: int | None = None,
        source: str = "tokenizer.json",
    ) -> None:
        import tokenizers

        try:
            self._encoder = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # what `tokenizers` raises is a plain Exception, whatever is wrong
            reason = f"is not a tokenizer file: {error}"
            raise BundleIntegrityError(f"{source}: {reason}; export the bundle again") from error
        truncation, padding = self._encoder.truncation or {}, self._encoder.padding or {}
        length = truncation.get("max_length") if context_length is None else context_length
        if length is None:
            raise OptionError(f"{source}: does not say its context length; give context_length")
        if length < 2:
            raise OptionError(f"context_length = {length} must be at least 2, for the start and end tokens")
        if cleaning not in CLEANINGS:
            raise OptionError(f"cleaning {cleaning!r} is not known; use one of {', '.join(CLEANINGS)}")
        self.context_length: int = length
        self.cleaning = cleaning
        self.zeroed_id = zeroed_id
        self._encoder.enable_truncation(length, direction=truncation.get("direction", "right"))
        self._encoder.no_padding()
        self._pad_id: int = padding.get("pad_id", 0)
        self._pads_left = padding.get("direction") == "left"
        if not self._encoder.encode("").ids:
            raise BundleIntegrityError(f"{source}: does not add start and end tokens; export the bundle again")

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
    def from_json(
        cls,
        text: str,
        *,
        context_length: int | None = None,
        cleaning: Cleaning = "lower",
        zeroed_id: int | None = None,
    ) -> Tokenizer:
        """Use the text of a `tokenizer.json`. Raises as `from_file` does."""
        return cls(text, context_length=context_length, cleaning=cleaning, zeroed_id=zeroed_id)

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Clean and tokenize.

        Args:
            texts: N texts; empty ones are fine.

        Returns:
            int64 (N, context_length). CLIP's are: start token, ids, end token, then zeros. A text that is too long is
            cut, and its last id is the end token.

        Raises:
            OptionError: if `texts` is one string, or holds something that is not text.
        """
        if isinstance(texts, str):
            raise OptionError("the tokenizer takes a sequence of texts, not one string; put it into a list")
        ids = np.full((len(texts), self.context_length), self._pad_id, dtype=np.int64)
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise OptionError(f"text {row} is {type(text).__name__}, not a string; give strings")
            # One by one: batches start threads in `tokenizers`, which then warns about every later fork.
            found = self._encode(text, row)
            start = self.context_length - len(found) if self._pads_left else 0
            ids[row, start : start + len(found)] = found
        return ids if self.zeroed_id is None else np.where(ids == self.zeroed_id, 0, ids)

    def _encode(self, text: str, row: int) -> list[int]:
        try:
            ids: list[int] = self._encoder.encode(clean_text(text, self.cleaning)).ids
        except UnicodeEncodeError as error:
            raise OptionError(f"text {row} holds a lone surrogate, which is no character; remove it") from error
        return ids
