"""Augmentation of training clips: parameters are drawn once a clip, and every frame of the clip is changed alike."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .config import AugmentConfig

__all__ = ["augment", "draw_parameters"]

_NAMES = (
    *("brightness", "contrast", "saturation", "hue", "red", "green", "blue", "shift_x", "shift_y", "log_zoom"),
    *("angle", "flip", "noise", "noise_seed", "erase", "erase_x", "erase_y", "erase_w", "erase_h", "erase_value"),
)
_INDEX = {name: index for index, name in enumerate(_NAMES)}
_LUMA = (0.299, 0.587, 0.114)


def draw_parameters(rng: np.random.Generator, config: AugmentConfig) -> NDArray[np.float64]:
    """Draw one clip's changes.

    Args:
        rng: source of randomness.
        config: their strengths.

    Returns:
        float64 (P,), for `augment`.
    """
    signed = rng.uniform(-1.0, 1.0, size=11)
    share = rng.uniform(0.0, 1.0, size=8)
    values = {
        "brightness": 1.0 + 0.6 * config.color * signed[0],
        "contrast": 1.0 + 0.6 * config.color * signed[1],
        "saturation": 1.0 + 0.8 * config.color * signed[2],
        "hue": 0.5 * math.pi * config.color * signed[3],
        "red": 1.0 + 0.4 * config.color * signed[4],
        "green": 1.0 + 0.4 * config.color * signed[5],
        "blue": 1.0 + 0.4 * config.color * signed[6],
        "shift_x": 2.0 * config.shift * signed[7],
        "shift_y": 2.0 * config.shift * signed[8],
        "log_zoom": math.log1p(config.zoom) * signed[9],
        "angle": math.radians(config.rotate) * signed[10],
        "flip": float(share[0] < config.flip),
        "noise": config.noise * share[1],
        "noise_seed": float(rng.integers(2**31)),
        "erase": float(share[2] < config.erase),
        "erase_x": share[3],
        "erase_y": share[4],
        "erase_w": 0.1 + 0.2 * share[5],
        "erase_h": 0.1 + 0.2 * share[6],
        "erase_value": share[7],
    }
    return np.array([values[name] for name in _NAMES])


def _column(parameters: Tensor, name: str) -> Tensor:
    """One parameter as (B, 1, 1, 1, 1)."""
    return parameters[:, _INDEX[name], None, None, None, None]


def _warp(frames: Tensor, parameters: Tensor) -> Tensor:
    """Shift, zoom, rotate and flip (B, T, 3, H, W); the border is repeated outside."""
    batch, length, channels, height, width = frames.shape
    log_zoom, angle, flip = (parameters[:, _INDEX[name]] for name in ("log_zoom", "angle", "flip"))
    zoom, mirror = torch.exp(log_zoom), 1.0 - 2.0 * flip
    cos, sin, aspect = torch.cos(angle) * zoom, torch.sin(angle) * zoom, height / width
    rows = [
        torch.stack([cos * mirror, -sin * aspect, parameters[:, _INDEX["shift_x"]]], dim=1),
        torch.stack([sin / aspect * mirror, cos, parameters[:, _INDEX["shift_y"]]], dim=1),
    ]
    theta = torch.stack(rows, dim=1)  # (B, 2, 3)
    grid = F.affine_grid(theta, [batch, 1, height, width], align_corners=False)
    stacked = frames.reshape(batch, length * channels, height, width)
    warped = F.grid_sample(stacked, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return warped.reshape(frames.shape)


def _recolor(frames: Tensor, parameters: Tensor) -> Tensor:
    """Hue, saturation, contrast, channel gains and brightness of (B, T, 3, H, W)."""
    hue = parameters[:, _INDEX["hue"]]
    luma = frames.new_tensor(_LUMA)
    identity = torch.eye(3, device=frames.device, dtype=frames.dtype)
    gray = luma.expand(3, 3)  # every row gives the luma
    axis = frames.new_tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3.0)
    third = torch.full_like(identity, 1.0 / 3.0)
    cos, sin = torch.cos(hue)[:, None, None], torch.sin(hue)[:, None, None]
    turn = cos * identity + (1 - cos) * third + sin * axis  # rotation about the gray axis, (B, 3, 3)
    saturation = parameters[:, _INDEX["saturation"], None, None]
    mix = (saturation * identity + (1 - saturation) * gray) @ turn
    gains = parameters[:, [_INDEX["red"], _INDEX["green"], _INDEX["blue"]]]
    mix = gains[:, :, None] * mix * parameters[:, _INDEX["brightness"], None, None]
    mixed = torch.einsum("bij,btjhw->btihw", mix, frames)
    mean = mixed.mean(dim=(1, 2, 3, 4), keepdim=True)
    return mean + _column(parameters, "contrast") * (mixed - mean)


def _add_noise(frames: Tensor, parameters: Tensor) -> Tensor:
    """One noise field a clip, moved to another place for every frame, so that it flickers as sensor noise does."""
    height, width = frames.shape[-2:]
    fields = []
    for seed in parameters[:, _INDEX["noise_seed"]].tolist():
        generator = torch.Generator().manual_seed(int(seed))
        field = torch.randn(3, height, width, generator=generator)
        moves = torch.randint(0, height * width, (frames.shape[1],), generator=generator).tolist()
        fields.append(torch.stack([torch.roll(field.flatten(1), move, dims=1) for move in moves]))
    noise = torch.stack(fields).reshape(frames.shape).to(frames)
    return frames + _column(parameters, "noise").to(frames) * noise


def _erase(frames: Tensor, parameters: Tensor) -> Tensor:
    """Cover one rectangle of the chosen clips with one gray value."""
    height, width = frames.shape[-2:]
    frames = frames.clone()
    for index, row in enumerate(parameters.tolist()):
        if row[_INDEX["erase"]]:
            top, left = int(row[_INDEX["erase_y"]] * height), int(row[_INDEX["erase_x"]] * width)
            bottom = top + int(row[_INDEX["erase_h"]] * height)
            right = left + int(row[_INDEX["erase_w"]] * width)
            frames[index, :, :, top:bottom, left:right] = row[_INDEX["erase_value"]]
    return frames


def augment(frames: Tensor, parameters: Tensor, config: AugmentConfig) -> Tensor:
    """Change clips as drawn.

    Args:
        frames: float (B, T, 3, H, W) in [0, 1].
        parameters: (B, P) from `draw_parameters`.
        config: what is switched on; a strength of 0 skips its change.

    Returns:
        float (B, T, 3, H, W), within [0, 1].
    """
    exact, parameters = parameters, parameters.to(frames)
    if config.shift or config.zoom or config.rotate or config.flip:
        frames = _warp(frames, parameters)
    if config.color:
        frames = _recolor(frames, parameters)
    if config.noise:
        frames = _add_noise(frames, exact)  # float64: a seed does not fit float32
    if config.erase:
        frames = _erase(frames, parameters)
    return frames.clamp(0.0, 1.0)
