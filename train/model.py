"""The whole network: image tower, video network, text tower."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor, nn

from ..runtime.errors import OptionError
from ..runtime.spec import PreprocessSpec, SamplingSpec
from .backbones import TextEncoder, create_towers
from .config import PIXELS, TrainConfig
from .image_towers import ImageTower, create_image_tower
from .tower_tokenizer import text_config
from .video_network import create_video_network
from .words import WordTower

__all__ = ["WeakSVR"]

_LOG_SCALE_MAX = math.log(100.0)


class WeakSVR(nn.Module):
    """Video and script features in one space (paper, section 3).

    Attributes:
        vision: image tower, (N, 3, H, W) -> (N, F).
        temporal: video network, (B, T, F) -> H (B, T, D), v (B, D).
        text: int64 (N, L) -> (N, D); None where the model has no texts.
        classifier: (B, D) -> (B, C); None unless the model is trained with classes. It takes no part in an export.
        logit_scale: log of the coarse loss's scale; starts at 1 / 0.07, kept within [0, ln 100].
        fine_logit_scale: log of the temperature that the published fine loss divides by.
        sampling, preprocess: how frames reach the network.
    """

    def __init__(self, config: TrainConfig, *, load_pretrained: bool = True) -> None:
        super().__init__()
        model, data = config.model, config.data
        self.text: TextEncoder | None = None
        self.dim, self.context_length = model.dim, 0
        image = self._create_towers(config, load_pretrained=load_pretrained)
        self.vision = image.module
        self.temporal = create_video_network(
            model,
            image,
            dim=self.dim,
            num_frames=data.num_frames,
            pretrained=model.vision_pretrained if load_pretrained and model.vision == PIXELS else "",
        )
        self.classifier = nn.Linear(self.dim, model.num_classes) if model.num_classes else None
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.fine_logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.preprocess = PreprocessSpec(
            height=image.height, width=image.width, resize=data.resize, mean=image.mean, std=image.std
        )
        self.sampling = SamplingSpec(policy=data.policy, num_frames=data.num_frames)
        self._freeze(config)

    def _create_towers(self, config: TrainConfig, *, load_pretrained: bool) -> ImageTower:
        """Set the text tower, its D and its context length. Returns the image tower."""
        model, data = config.model, config.data
        image: ImageTower | None = None
        if not model.vision or model.text == "clip":
            towers = create_towers(
                model.clip,
                pretrained=model.pretrained if load_pretrained else "",
                size=0 if model.vision else data.size,
            )
            image = towers.image
            if model.text == "clip":
                self.text, self.dim, self.context_length = towers.text, towers.text_dim, towers.context_length
        if model.vision:
            pretrained = model.vision_pretrained if load_pretrained and model.vision != PIXELS else ""
            image = create_image_tower(model.vision, pretrained=pretrained, size=data.size)
        if model.text == "words":
            words = text_config(model.clip)
            self.text = WordTower(words.num_rows, dim=model.dim)
            self.context_length = words.context_length
        assert image is not None
        return image

    def _freeze(self, config: TrainConfig) -> None:
        self.frozen_vision = config.model.freeze_vision
        self.vision.requires_grad_(not self.frozen_vision)
        if self.text is not None:
            self.text.requires_grad_(config.model.train_text)
        for tower in (self.vision, self.text):
            for name, parameter in tower.named_parameters() if tower is not None else ():
                if name.split(".")[-1] in {"logit_scale", "logit_bias"}:
                    parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """As in PyTorch, but a frozen image tower stays in evaluation mode: its batch statistics are frozen too."""
        super().train(mode)
        if self.frozen_vision:
            self.vision.eval()
        return self

    def features(self, frames: Tensor) -> Tensor:
        """What the video network takes, (B, T, F), of clips (B, T, 3, H, W) normalised as `preprocess` says."""
        batch, length = frames.shape[:2]
        return self.vision(frames.flatten(0, 1)).reshape(batch, length, -1)

    def encode_video(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Features of a batch of clips.

        Args:
            frames: (B, T, 3, H, W), normalised as `preprocess` says.

        Returns:
            H (B, T, D) and v (B, D), neither normalised.
        """
        frame_features, video_vectors = self.temporal(self.features(frames))
        return frame_features, video_vectors

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Features (N, D) of token ids int64 (N, L), with gradient.

        Raises:
            OptionError: if the model has no text tower.
        """
        if self.text is None:
            raise OptionError("the model has no text tower (model.text = none); it knows no scripts")
        return self.text(self.text.trim(tokens))

    @torch.no_grad()
    def clamp_scales(self) -> None:
        """Keep both scales within [1, 100]; called after every optimiser step."""
        self.logit_scale.clamp_(0.0, _LOG_SCALE_MAX)
        self.fine_logit_scale.clamp_(0.0, _LOG_SCALE_MAX)
