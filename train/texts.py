"""The texts of a training set: every distinct sentence and paragraph once, tokenised once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..runtime.manifest import Clip
from ..runtime.spec import paragraph

__all__ = ["TextTable", "alter_steps"]

Tokenize = Callable[[Sequence[str]], Tensor | NDArray[np.int64]]


def alter_steps(steps: Sequence[str], others: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    """A script that differs from `steps` by one swap, drop, repetition or replacement.

    Args:
        steps: the script, K sentences.
        others: sentences to replace by.
        rng: source of randomness.

    Returns:
        The altered script, of known sentences alone; a single step is replaced, or repeated if there is no other.
    """
    changed = list(steps)
    kind = rng.integers(4) if len(steps) > 1 else 3
    first = int(rng.integers(len(steps)))
    if kind == 0:
        second = (first + 1 + int(rng.integers(len(steps) - 1))) % len(steps)
        changed[first], changed[second] = changed[second], changed[first]
    elif kind == 1:
        del changed[first]
    elif kind == 2:
        changed.insert(int(rng.integers(len(steps) + 1)), changed[first])
    if kind == 3 or tuple(changed) == tuple(steps):
        different = [sentence for sentence in others if sentence not in steps]
        changed = list(steps)
        if different:
            changed[first] = different[int(rng.integers(len(different)))]
        else:
            changed.append(steps[first])
    return tuple(changed)


class TextTable:
    """Distinct sentences and paragraphs of the training clips.

    Attributes:
        sentences: distinct step texts, in order of first appearance.
        sentence_ids: one int64 (K,) a clip: its steps as rows of `sentences`.
        paragraph_ids: int64 (clips,): each clip's paragraph as a row of the distinct paragraphs.
        labels: int64 (clips,): equal for clips of one procedure (or, where none is named, of equal steps).

    Args:
        clips: entries of the manifest.
        tokenize: texts to token ids (N, L); None for a model without texts, which then has the labels alone.
        seed: of the run; altered scripts are drawn from (seed, epoch, clip).
    """

    def __init__(self, clips: Sequence[Clip], tokenize: Tokenize | None, *, seed: int) -> None:
        self.clips = clips
        self.tokenize = tokenize
        self.seed = seed
        self.sentences = list(dict.fromkeys(step for clip in clips for step in clip.steps))
        self._sentence_rows = {sentence: row for row, sentence in enumerate(self.sentences)}
        self.sentence_ids = [torch.tensor([self._sentence_rows[step] for step in clip.steps]) for clip in clips]
        paragraphs = list(dict.fromkeys(paragraph(clip.steps) for clip in clips))
        paragraph_rows = {text: row for row, text in enumerate(paragraphs)}
        self.paragraph_ids = torch.tensor([paragraph_rows[paragraph(clip.steps)] for clip in clips])
        names = [clip.procedure or paragraph(clip.steps) for clip in clips]
        label_rows = {name: row for row, name in enumerate(dict.fromkeys(names))}
        self.labels = torch.tensor([label_rows[name] for name in names])
        self.sentence_tokens = self._tokens(self.sentences)
        self.paragraph_tokens = self._tokens(paragraphs)

    @property
    def num_labels(self) -> int:
        """C, how many different labels there are."""
        return int(self.labels.max()) + 1

    def _tokens(self, texts: Sequence[str]) -> Tensor:
        if self.tokenize is None:
            return torch.zeros(len(texts), 0, dtype=torch.int64)
        return torch.as_tensor(self.tokenize(list(texts))).to(torch.int64)

    def altered_scripts(self, epoch: int, indices: Sequence[int], count: int) -> list[tuple[str, ...]]:
        """Altered scripts, `count` for each of the clips."""
        scripts = []
        for index in indices:
            rng = np.random.default_rng([self.seed, epoch, index, 1])
            steps = self.clips[index].steps
            scripts += [alter_steps(steps, self.sentences, rng) for _ in range(count)]
        return scripts

    def altered_ids(self, epoch: int, indices: Sequence[int], count: int) -> list[Tensor]:
        """`altered_scripts` as rows of `sentences`, int64 (K,) each."""
        scripts = self.altered_scripts(epoch, indices, count)
        return [torch.tensor([self._sentence_rows[step] for step in script]) for script in scripts]

    def altered_tokens(self, epoch: int, indices: Sequence[int], count: int) -> Tensor:
        """Token ids (len(indices) * count, L) of `altered_scripts`."""
        return self._tokens([paragraph(steps) for steps in self.altered_scripts(epoch, indices, count)])
