"""From a batch of clips to the loss: which texts take part, and how the two losses are put together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .config import LossConfig
from .distributed import gather_indices, gather_with_gradient, rank
from .losses import (
    batch_fine_loss,
    coarse_loss,
    masked_fine_loss,
    official_fine_loss,
    order_loss,
    soft_fine_loss,
)
from .model import WeakSVR
from .texts import TextTable

__all__ = ["Objective"]


class Objective:
    """The weak setting's loss, L = w1 L_coarse + w2 L_fine (paper, Eq. 13).

    A frozen text tower encodes every distinct text of the training set once, at construction. A trained one encodes
    the distinct texts of each joint batch together with the frames.

    Args:
        model: the network; its text tower is on `device`.
        table: texts of the training clips.
        config: kinds and weights of the losses.
        train_text: whether the text tower is trained.
        seed: of the run.
    """

    def __init__(
        self, model: WeakSVR, table: TextTable, config: LossConfig, *, train_text: bool, seed: int, device: torch.device
    ) -> None:
        self.model = model
        self.table = table
        self.config = config
        self.seed = seed
        self.device = device
        self.max_steps = max(len(ids) for ids in table.sentence_ids)
        self.train_text = train_text
        if not train_text:
            self.sentence_features = model.text.encode(table.sentence_tokens)
            self.paragraph_features = model.text.encode(table.paragraph_tokens)

    def _generator(self, epoch: int, batch: int) -> torch.Generator:
        state = np.random.SeedSequence([self.seed, epoch, batch, rank()]).generate_state(1)
        return torch.Generator().manual_seed(int(state[0]))

    def _forward(self, frames: Tensor, texts: Sequence[tuple[str, Tensor]]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """H, v, and the features of the named token batches."""
        named = [(name, tokens.to(self.device)) for name, tokens in texts]
        if self.train_text:
            frame_features, video_vectors, features = self.model(frames, *(tokens for _, tokens in named))
        else:
            frame_features, video_vectors = self.model.encode_video(frames)
            features = [self.model.text.encode(tokens) for _, tokens in named]
        encoded = {name: value.float() for (name, _), value in zip(named, features, strict=True)}
        return frame_features.float(), video_vectors.float(), encoded

    def __call__(
        self, frames: Tensor, indices: Sequence[int], *, epoch: int, batch: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of one batch.

        Args:
            frames: (B, T, 3, S, S), normalised.
            indices: the clips, B numbers.
            epoch, batch: place in the run, which seeds what is random in the losses.

        Returns:
            The scalar to descend, and its parts (`coarse`, `fine`) without gradient.
        """
        config, table = self.config, self.table
        joint = gather_indices(list(indices))
        scripts = [table.sentence_ids[index] for index in joint]
        if config.order_weight:
            scripts += table.altered_ids(epoch, joint, config.order_negatives)
        distinct = torch.unique(torch.cat(scripts))
        paragraph_rows = table.paragraph_ids[joint]
        texts: list[tuple[str, Tensor]] = []
        if self.train_text:
            texts += [("paragraphs", table.paragraph_tokens[paragraph_rows])]
            texts += (
                [("sentences", table.sentence_tokens[distinct])] if config.fine != "none" or config.order_weight else []
            )
        if config.script_negatives:
            texts += [("altered", table.altered_tokens(epoch, joint, config.script_negatives))]
        if self.train_text and config.form == "official" and config.fine not in {"none", "split"}:
            texts += [("padding", torch.zeros_like(table.sentence_tokens[:1]))]
        frame_features, video_vectors, features = self._forward(frames, texts)
        if not self.train_text:
            features["paragraphs"] = self.paragraph_features[paragraph_rows.to(self.device)]
            features["sentences"] = self.sentence_features[distinct.to(self.device)]
        altered = features.get("altered")
        coarse = coarse_loss(
            gather_with_gradient(video_vectors),
            features["paragraphs"],
            self.model.logit_scale.exp(),
            labels=table.labels[joint].to(self.device) if config.mask_repeated else None,
            negatives=None if altered is None else altered.unflatten(0, (len(joint), -1)),
        )
        parts = {"coarse": coarse}
        loss = config.coarse_weight * coarse
        if config.fine != "none":
            rows = [torch.searchsorted(distinct, table.sentence_ids[index]) for index in indices]
            parts["fine"] = self._fine(frame_features, features, rows, self._generator(epoch, batch))
            loss = loss + config.fine_weight * parts["fine"]
        if config.order_weight:
            rows = [torch.searchsorted(distinct, script) for script in scripts]
            parts["order"] = self._order(frame_features, features["sentences"], rows, joint)
            loss = loss + config.order_weight * parts["order"]
        return loss, {name: part.detach() for name, part in parts.items()}

    def _order(self, frame_features: Tensor, sentences: Tensor, rows: Sequence[Tensor], joint: Sequence[int]) -> Tensor:
        """The order contrast: `rows` are the scripts of the joint batch, then the altered ones of each."""
        config, count = self.config, len(joint)
        lengths = torch.tensor([len(script) for script in rows], device=self.device)
        padded = nn.utils.rnn.pad_sequence(list(rows), batch_first=True).to(self.device)
        mine = rank() * len(frame_features) + torch.arange(len(frame_features), device=self.device)
        altered = count + mine[:, None] * config.order_negatives
        altered = altered + torch.arange(config.order_negatives, device=self.device)
        chosen = torch.cat([torch.arange(count, device=self.device).expand(len(mine), -1), altered], dim=1)
        excluded = torch.zeros(chosen.shape, dtype=torch.bool, device=self.device)
        if config.mask_repeated:
            labels = self.table.labels[joint].to(self.device)
            excluded[:, :count] = labels[mine, None] == labels[None, :]
            excluded[torch.arange(len(mine)), mine] = False
        return order_loss(
            frame_features,
            sentences,
            padded[chosen],
            lengths[chosen],
            mine,
            scale=config.fine_scale,
            contrast=config.order_contrast,
            excluded=excluded,
        )

    def _fine(
        self, frame_features: Tensor, features: dict[str, Tensor], rows: Sequence[Tensor], generator: torch.Generator
    ) -> Tensor:
        """The fine loss; `rows` names each video's steps among the distinct sentences."""
        config = self.config
        sentences = features["sentences"]
        if config.fine in {"posterior", "transport"}:
            return soft_fine_loss(frame_features, sentences, rows, scale=config.fine_scale, labels=config.fine)
        if config.form == "batch":
            return batch_fine_loss(
                frame_features, sentences, rows, scale=config.fine_scale, labels=config.fine, generator=generator
            )
        own = [sentences[steps.to(self.device)] for steps in rows]
        if config.form == "masked":
            return masked_fine_loss(
                frame_features, own, scale=config.fine_scale, labels=config.fine, generator=generator
            )
        padding = features.get("padding")
        if padding is None:
            padding = self.model.text.encode(torch.zeros_like(self.table.sentence_tokens[:1]))
        padded = [torch.cat([steps, padding.expand(self.max_steps - len(steps), -1)]) for steps in own]
        return official_fine_loss(
            frame_features,
            torch.stack(padded),
            torch.tensor([len(steps) for steps in own], device=self.device),
            self.model.fine_logit_scale.exp(),
            labels=config.fine,
            generator=generator,
        )
