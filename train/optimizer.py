"""The optimiser of a run: which parameters it moves, at which rates."""

from __future__ import annotations

import math
from typing import Any

import torch

from .config import OptimConfig
from .model import WeakSVR

__all__ = ["create_optimizer", "learning_rate_factor"]


def learning_rate_factor(step: int, total: int, warmup: int, final: float) -> float:
    """Linear warm-up, then half a cosine from 1 to `final`; `step` counts from 0."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def _parameter_groups(model: WeakSVR, config: OptimConfig) -> list[dict[str, Any]]:
    """The towers at the backbone rate, the rest at the full rate; frozen parameters in neither."""
    both = [tower for tower in (model.vision, model.text) if tower is not None]
    towers = [p for tower in both for p in tower.parameters() if p.requires_grad]
    known = {id(p) for p in towers}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    groups = [
        {"params": rest, "peak": config.lr, "final": config.final_lr},
        {"params": towers, "peak": config.backbone_lr, "final": config.final_backbone_lr},
    ]
    return [group for group in groups if group["params"]]


def create_optimizer(model: WeakSVR, config: OptimConfig) -> torch.optim.Optimizer:
    """The optimiser that the settings name; each group has `peak` and `final`, its rate and what it ends at."""
    groups = _parameter_groups(model, config)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, weight_decay=config.weight_decay)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, weight_decay=config.weight_decay)
