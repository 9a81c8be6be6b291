"""From a batch of clips to the loss: which texts take part, and how the losses are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..runtime.errors import OptionError
from .config import LossConfig
from .distributed import gather_indices, gather_with_gradient, rank
from .losses import (
    batch_fine_loss,
    coarse_loss,
    masked_fine_loss,
    mil_nce_loss,
    official_fine_loss,
    order_loss,
    sequence_alignment_loss,
    soft_fine_loss,
)
from .model import WeakSVR
from .texts import TextTable

__all__ = ["Objective"]


class Objective:
    """The weighted sum of the losses.

    Weak setting: L = w1 L_coarse + w2 L_fine (paper, Eq. 13). Supervised setting: the same over both videos of each
    pair, and the cross-entropy of their procedures, and the sequence alignment loss of the pair.

    A frozen text tower encodes every distinct text of the training set once, at construction. A trained one encodes
    the distinct texts of each joint batch together with the frames.

    Args:
        model: the network; its text tower is on `device`.
        table: texts and labels of the training clips.
        config: kinds and weights of the losses.
        pairs: whether a batch is B videos and then the B that show the same procedures.
        train_text: whether the text tower is trained.
        seed: of the run.

    Raises:
        OptionError: if a loss needs what the model or the batches do not have.
    """

    def __init__(
        self,
        model: WeakSVR,
        table: TextTable,
        config: LossConfig,
        *,
        pairs: bool = False,
        train_text: bool,
        seed: int,
        device: torch.device,
    ) -> None:
        self.model = model
        self.table = table
        self.config = config
        self.pairs = pairs
        self.seed = seed
        self.device = device
        self.has_coarse = config.coarse_weight > 0
        self.has_fine = config.fine != "none" and config.fine_weight > 0
        self._check()
        self.max_steps = max(len(ids) for ids in table.sentence_ids)
        self.train_text = train_text
        if self.uses_text and not train_text:
            assert model.text is not None
            self.sentence_features = model.text.encode(table.sentence_tokens)
            self.paragraph_features = model.text.encode(table.paragraph_tokens)

    @property
    def uses_text(self) -> bool:
        """Whether any loss looks at scripts."""
        return self.has_coarse or self.has_fine

    def _check(self) -> None:
        config = self.config
        if self.uses_text and self.model.text is None:
            raise OptionError(
                "model.text = none leaves nothing to compare videos with: set loss.coarse_weight=0 and loss.fine=none "
                "and train on classes (loss.class_weight=1), or keep the text tower"
            )
        if config.sequence_weight and not self.pairs:
            raise OptionError(
                f"loss.sequence_weight = {config.sequence_weight} compares the videos of a pair; set data.pairs=true"
            )
        if not (self.uses_text or config.class_weight or config.sequence_weight):
            raise OptionError(
                "no loss is left: give one of loss.coarse_weight, loss.fine, loss.class_weight, loss.sequence_weight"
            )

    def _generator(self, epoch: int, batch: int) -> torch.Generator:
        state = np.random.SeedSequence([self.seed, epoch, batch, rank()]).generate_state(1)
        return torch.Generator().manual_seed(int(state[0]))

    def _texts(self, joint: Sequence[int], distinct: Tensor, epoch: int) -> dict[str, Tensor]:
        """Features of the texts that the losses compare with; `distinct` are the ids of the joint clips' sentences.

        Returns:
            `paragraphs`, a row for each of the joint clips; `sentences`, a row for each distinct one of them;
            `altered`, `script_negatives` rows for each of the joint clips; `padding`, the row of the empty text.
        """
        config, table = self.config, self.table
        if not self.uses_text:
            return {}
        tokens: dict[str, Tensor] = {}
        features: dict[str, Tensor] = {}
        rows = table.paragraph_ids[list(joint)]
        if self.has_coarse and config.coarse == "info-nce":
            tokens["paragraphs"] = table.paragraph_tokens[rows]
        if self.has_fine or config.coarse == "mil-nce":
            tokens["sentences"] = table.sentence_tokens[distinct]
        if not self.train_text:
            tokens.clear()
            features["paragraphs"] = self.paragraph_features[rows.to(self.device)]
            features["sentences"] = self.sentence_features[distinct.to(self.device)]
        if self.has_coarse and config.coarse == "info-nce" and config.script_negatives:
            tokens["altered"] = table.altered_tokens(epoch, joint, config.script_negatives)
        if self.has_fine and config.form == "official" and config.fine != "split":
            tokens["padding"] = torch.zeros_like(table.sentence_tokens[:1])
        assert self.model.text is not None
        encode = self.model.encode_text if self.train_text else self.model.text.encode
        encoded = {name: encode(ids.to(self.device)).float() for name, ids in tokens.items()}
        return {**features, **encoded}

    def _scripts(self, joint: Sequence[int], altered: Sequence[int], epoch: int) -> list[Tensor]:
        """Sentence ids of the clips' scripts and, where `order` has use for them, the altered scripts of `altered`."""
        scripts = [self.table.sentence_ids[index] for index in joint]
        if self.has_fine and self.config.fine == "order":
            scripts += self.table.altered_ids(epoch, altered, self.config.script_negatives)
        return scripts

    def _rows(self, indices: Sequence[int], distinct: Tensor) -> list[Tensor]:
        """Of each clip: where its steps stand among the distinct sentences."""
        return [torch.searchsorted(distinct, self.table.sentence_ids[index]).to(self.device) for index in indices]

    def __call__(
        self, frames: Tensor, indices: Sequence[int], *, epoch: int, batch: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of one batch.

        Args:
            frames: (B, T, 3, H, W), normalised; with `pairs`, (2 B, T, 3, H, W).
            indices: the clips, as many numbers.
            epoch, batch: place in the run, which seeds what is random in the losses.

        Returns:
            The scalar to descend, and its parts (`coarse`, `fine`, `class`, `sequence`) without gradient.
        """
        config = self.config
        features = self.model.features(frames)
        frame_features, video_vectors = (x.float() for x in self.model.temporal(features))
        count = len(indices) // 2 if self.pairs else len(indices)
        sides = [slice(start, start + count) for start in range(0, len(indices), count)]
        joints = [gather_indices(list(indices[side])) for side in sides]
        every = [index for joint in joints for index in joint]
        distinct = torch.unique(torch.cat(self._scripts(every, every, epoch)))
        texts = self._texts(every, distinct, epoch)
        parts: dict[str, Tensor] = {}
        if self.has_coarse:
            parts["coarse"] = sum(
                self._coarse(video_vectors[side], joint, texts, self._rows(joint, distinct), place * len(joint))
                for place, (side, joint) in enumerate(zip(sides, joints, strict=True))
            )
        if self.has_fine:
            generator = self._generator(epoch, batch)
            parts["fine"] = sum(
                self._order(frame_features[side], texts["sentences"], indices[side], joint, distinct, epoch)
                if config.fine == "order"
                else self._fine(frame_features[side], texts, self._rows(indices[side], distinct), generator)
                for side, joint in zip(sides, joints, strict=True)
            )
        if config.class_weight:
            parts["class"] = sum(self._class(video_vectors[side], indices[side]) for side in sides)
        if config.sequence_weight:
            own = getattr(self.model.temporal, "sequence_features", None)
            compared = frame_features if own is None else own(features).float()
            parts["sequence"] = sequence_alignment_loss(compared[sides[0]], compared[sides[1]])
        weights = {
            "coarse": config.coarse_weight,
            "fine": config.fine_weight,
            "class": config.class_weight,
            "sequence": config.sequence_weight,
        }
        loss = sum(weights[name] * value for name, value in parts.items())
        assert isinstance(loss, Tensor)
        return loss, {name: value.detach() for name, value in parts.items()}

    def _coarse(
        self,
        video_vectors: Tensor,
        joint: Sequence[int],
        texts: Mapping[str, Tensor],
        steps: Sequence[Tensor],
        first: int,
    ) -> Tensor:
        """The coarse loss of one side, whose paragraphs begin at row `first`; `steps` are rows of the sentences."""
        config, rows = self.config, slice(first, first + len(joint))
        vectors = gather_with_gradient(video_vectors)
        if config.coarse == "mil-nce":
            return mil_nce_loss(vectors, [texts["sentences"][own] for own in steps])
        altered = texts.get("altered")
        return coarse_loss(
            vectors,
            texts["paragraphs"][rows],
            self.model.logit_scale.exp(),
            labels=self.table.labels[list(joint)].to(self.device) if config.mask_repeated else None,
            negatives=None if altered is None else altered.unflatten(0, (-1, config.script_negatives))[rows],
        )

    def _class(self, video_vectors: Tensor, indices: Sequence[int]) -> Tensor:
        assert self.model.classifier is not None
        return F.cross_entropy(self.model.classifier(video_vectors), self.table.labels[list(indices)].to(self.device))

    def _fine(
        self, frame_features: Tensor, features: dict[str, Tensor], rows: Sequence[Tensor], generator: torch.Generator
    ) -> Tensor:
        """The fine loss; `rows` names each video's steps among the distinct sentences."""
        config = self.config
        sentences = features["sentences"]
        if config.fine == "posterior":
            return soft_fine_loss(frame_features, sentences, rows, scale=config.fine_scale)
        if config.form == "batch":
            return batch_fine_loss(
                frame_features, sentences, rows, scale=config.fine_scale, labels=config.fine, generator=generator
            )
        own = [sentences[steps] for steps in rows]
        if config.form == "masked":
            return masked_fine_loss(
                frame_features, own, scale=config.fine_scale, labels=config.fine, generator=generator
            )
        padding = features.get("padding", sentences[:1])  # `split` looks at no padding row
        padded = [torch.cat([steps, padding.expand(self.max_steps - len(steps), -1)]) for steps in own]
        return official_fine_loss(
            frame_features,
            torch.stack(padded),
            torch.tensor([len(steps) for steps in own], device=self.device),
            self.model.fine_logit_scale.exp(),
            labels=config.fine,
            generator=generator,
        )

    def _order(
        self,
        frame_features: Tensor,
        sentences: Tensor,
        indices: Sequence[int],
        joint: Sequence[int],
        distinct: Tensor,
        epoch: int,
    ) -> Tensor:
        """The order contrast of this process's clips: the joint batch's scripts, and altered ones of their own."""
        scripts = self._scripts(joint, indices, epoch)
        lengths = torch.tensor([len(script) for script in scripts])
        padded = torch.searchsorted(distinct, nn.utils.rnn.pad_sequence(scripts, batch_first=True))
        altered = torch.arange(len(joint), len(scripts)).view(len(indices), -1)
        chosen = torch.cat([torch.arange(len(joint)).expand(len(indices), -1), altered], dim=1)  # (B, C)
        own = rank() * len(indices) + torch.arange(len(indices))
        excluded = torch.zeros(chosen.shape, dtype=torch.bool)
        if self.config.mask_repeated:
            labels = self.table.labels[list(joint)]
            excluded[:, : len(joint)] = labels[own, None] == labels[None, :]
            excluded[torch.arange(len(indices)), own] = False
        return order_loss(
            frame_features,
            sentences,
            padded[chosen].to(self.device),
            lengths[chosen].to(self.device),
            own.to(self.device),
            scale=self.config.fine_scale,
            excluded=excluded.to(self.device),
        )
