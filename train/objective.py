"""From a batch of clips to the loss: which texts take part, and how the two losses are put together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .config import LossConfig
from .distributed import gather_indices, gather_with_gradient, rank
from .losses import batch_fine_loss, coarse_loss, masked_fine_loss, official_fine_loss
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
        distinct = torch.unique(torch.cat([table.sentence_ids[index] for index in joint]))
        paragraph_rows = table.paragraph_ids[joint]
        texts: list[tuple[str, Tensor]] = []
        if self.train_text:
            texts += [("paragraphs", table.paragraph_tokens[paragraph_rows])]
            texts += [("sentences", table.sentence_tokens[distinct])] if config.fine != "none" else []
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
        if config.fine == "none":
            return config.coarse_weight * coarse, {"coarse": coarse.detach()}
        rows = [torch.searchsorted(distinct, table.sentence_ids[index]) for index in indices]
        fine = self._fine(frame_features, features, rows, self._generator(epoch, batch))
        loss = config.coarse_weight * coarse + config.fine_weight * fine
        return loss, {"coarse": coarse.detach(), "fine": fine.detach()}

    def _fine(
        self, frame_features: Tensor, features: dict[str, Tensor], rows: Sequence[Tensor], generator: torch.Generator
    ) -> Tensor:
        """The fine loss; `rows` names each video's steps among the distinct sentences."""
        config = self.config
        sentences = features["sentences"]
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
