"""The whole network: image tower, temporal encoder, text tower."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..runtime.spec import PreprocessSpec, SamplingSpec
from .backbones import create_towers
from .config import TrainConfig
from .temporal import TemporalEncoder

__all__ = ["WeakSVR"]

_LOG_SCALE_MAX = math.log(100.0)


class WeakSVR(nn.Module):
    """Video and script features in one space (paper, section 3).

    Attributes:
        vision: image tower, (N, 3, S, S) -> (N, F).
        temporal: `TemporalEncoder`, (B, T, F) -> H (B, T, D), v (B, D).
        text: `TextTower`, int64 (N, L) -> (N, D).
        logit_scale: log of the coarse loss's scale; starts at 1 / 0.07, kept within [0, ln 100].
        fine_logit_scale: log of the temperature that the published fine loss divides by.
        sampling, preprocess: how frames reach the network.
    """

    def __init__(self, config: TrainConfig, *, load_pretrained: bool = True) -> None:
        super().__init__()
        model, data = config.model, config.data
        towers = create_towers(
            model.clip,
            pretrained=model.pretrained if load_pretrained else "",
            size=data.size,
            resize=data.resize,
        )
        self.vision = towers.vision
        self.text = towers.text
        self.temporal = TemporalEncoder(
            towers.vision_dim,
            map_channels=towers.map_channels,
            dim=towers.text_dim,
            num_frames=data.num_frames,
            width=model.width,
            depth=model.depth,
            heads=model.heads,
            head_dim=model.head_dim,
            mlp_width=model.mlp_width,
            attention_scale=model.attention_scale,
            position_std=model.position_std,
            hidden_layer=model.hidden_layer,
            video_vector=model.video_vector,
            center=model.center,
        )
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.fine_logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.dim = towers.text_dim
        self.context_length = towers.context_length
        self.preprocess: PreprocessSpec = towers.preprocess
        self.sampling = SamplingSpec(policy=data.policy, num_frames=data.num_frames)
        self.vision.requires_grad_(not model.freeze_vision)
        self.text.requires_grad_(model.train_text)
        for tower in (self.vision, self.text.clip):
            for name, parameter in tower.named_parameters():
                if name in {"logit_scale", "logit_bias"}:
                    parameter.requires_grad_(False)

    def encode_video(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Features of a batch of clips.

        Args:
            frames: (B, T, 3, S, S), normalised as `preprocess` says.

        Returns:
            H (B, T, D) and v (B, D), neither normalised.
        """
        batch, length = frames.shape[:2]
        features = self.vision(frames.flatten(0, 1))  # (B * T, F)
        return self.temporal(features.reshape(batch, length, -1))

    def forward(self, frames: Tensor, *texts: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """H and v of the clips, and for each batch of token ids int64 (N, L) its text features (N, D)."""
        frame_features, video_vectors = self.encode_video(frames)
        return frame_features, video_vectors, [self.text(self.text.trim(tokens)) for tokens in texts]

    @torch.no_grad()
    def clamp_scales(self) -> None:
        """Keep both scales within [1, 100]; called after every optimiser step."""
        self.logit_scale.clamp_(0.0, _LOG_SCALE_MAX)
        self.fine_logit_scale.clamp_(0.0, _LOG_SCALE_MAX)
