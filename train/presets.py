"""The presets of `weaksvr-train` by name."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping

from ..runtime.errors import OptionError
from .config import AugmentConfig, DataConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig
from .table_presets import PAPER, TABLE_PRESETS, describe_row, published

__all__ = ["PRESETS", "describe", "preset"]

_DESCRIPTIONS = {
    "paper": "The published method, weakly supervised, on any data.",
    "csv": "The published method with the settings for CSV.",
    "coin-sv": "The published method with the settings for COIN-SV.",
    "diving48-sv": "The published method with the settings for Diving48-SV.",
    "workbench": "A small network from scratch with this project's fine loss: minutes to hours on a CPU.",
}

PRESETS: Mapping[str, TrainConfig] = types.MappingProxyType(
    {
        "paper": PAPER,
        "csv": published("csv", 800),
        "coin-sv": published("coin-sv", 1200),
        "diving48-sv": published("diving48-sv", 5000),
        "workbench": TrainConfig(
            preset="workbench",
            model=ModelConfig(
                clip="weaksvr-tiny",
                pretrained="",
                train_text=True,
                width=128,
                depth=2,
                heads=4,
                head_dim=32,
                mlp_width=256,
                attention_scale="head",
                position_std=0.02,
                hidden_layer=False,
                video_vector="tokens",
                center=True,
            ),
            data=DataConfig(num_frames=16, policy="three-view", size=64, resize="squash", batch_size=16),
            augment=AugmentConfig(color=0.35, shift=0.08, zoom=0.12, rotate=6.0, noise=0.03, flip=0.5, erase=0.2),
            loss=LossConfig(fine="viterbi", form="batch", coarse_weight=0.1, script_negatives=3),
            optim=OptimConfig(
                epochs=60,
                lr=1e-3,
                backbone_lr=1e-3,
                final_backbone_lr=0.01,
                weight_decay=0.05,
                warmup_epochs=2.0,
                clip_norm=1.0,
            ),
        ),
        **TABLE_PRESETS,
    }
)
"""By name; those named `table1/...` to `table6/...` are the rows of the paper's tables."""


def preset(name: str) -> TrainConfig:
    """The preset of that name. Raises `OptionError` if there is none."""
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=3) or [known for known in PRESETS if "/" not in known]
        raise OptionError(f"preset {name!r} is not known; did you mean {', '.join(near)}? --list-presets names all")
    return PRESETS[name]


def describe(name: str) -> str:
    """One line about a preset, for lists of them."""
    return _DESCRIPTIONS.get(name) or describe_row(name)
