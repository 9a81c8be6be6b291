"""The bench top."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .scene import Scene

__all__ = ["paint_ground"]


def _smooth_noise(rng: np.random.Generator, height: int, width: int, *, rows: int, columns: int) -> NDArray[np.float32]:
    """Noise in about [-1, 1], interpolated from a grid of rows x columns cells; float32 (height, width)."""
    grid = rng.uniform(-1, 1, (rows + 1, columns + 1)).astype(np.float32)
    y, x = np.linspace(0, rows - 1e-3, height), np.linspace(0, columns - 1e-3, width)
    i, j = y.astype(int), x.astype(int)
    fy, fx = (y - i)[:, None], (x - j)[None]
    upper = grid[i][:, j] * (1 - fx) + grid[i][:, j + 1] * fx
    lower = grid[i + 1][:, j] * (1 - fx) + grid[i + 1][:, j + 1] * fx
    return np.asarray(upper * (1 - fy) + lower * fy, np.float32)


def paint_ground(scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The empty bench top.

    Args:
        scene: the video's scene.
        rng: source of randomness.

    Returns:
        uint8 (S, S, 3) with S the frame's side plus its margins.
    """
    side = scene.camera.size + 2 * scene.camera.margin
    unit = scene.camera.size / 160
    v, u = np.mgrid[0:side, 0:side].astype(np.float32) / np.float32(unit)
    tone = 1.0 + 0.06 * _smooth_noise(rng, side, side, rows=4, columns=4)
    if scene.surface == "wood":
        warp = _smooth_noise(rng, side, side, rows=3, columns=2)
        tone += 0.09 * np.sin(0.55 * v + 7 * warp) + 0.06 * _smooth_noise(rng, side, side, rows=80, columns=5)
        tone -= 0.3 * ((v + rng.uniform(0, 40)) % rng.uniform(32, 48) < 1.2)
    elif scene.surface == "metal":
        tone += 0.1 * _smooth_noise(rng, side, side, rows=4, columns=120)
        tone += 0.05 * np.sin(u * rng.uniform(0.02, 0.06) + v * 0.03)
    elif scene.surface == "cloth":
        pitch = rng.uniform(1.2, 2.2)
        tone += 0.07 * (np.sin(u * pitch) + np.sin(v * pitch)) + 0.1 * _smooth_noise(rng, side, side, rows=7, columns=7)
    else:
        pitch = rng.uniform(14, 24)
        tone += 0.22 * ((u % pitch < 0.9) | (v % pitch < 0.9))
    if rng.uniform() < 0.5:
        tone = tone.T
    colored = tone[..., None] * np.asarray(scene.ground, np.float32)
    return np.asarray(np.clip(colored, 0, 255), np.uint8)
