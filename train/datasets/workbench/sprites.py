"""Small drawings: shapes with distance functions, rasterised once per pose and blitted as patches."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Color",
    "Drawing",
    "Shape",
    "Sprite",
    "blit",
    "bounds_of",
    "box",
    "capsule",
    "disc",
    "polygon",
    "rasterise",
    "ring",
]

Color = tuple[float, float, float]
Plane = NDArray[np.float32]
Distance = Callable[[Plane, Plane], Plane]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """One filled shape in local coordinates (pixels of a 160-pixel frame, x right, y down).

    Attributes:
        distance: signed distance of points to the outline, negative inside.
        bounds: x0, y0, x1, y1.
        color: RGB in [0, 255].
        alpha: opacity in [0, 1].
        edge: width of the dark rim, 0 for none.
    """

    distance: Distance
    bounds: tuple[float, float, float, float]
    color: Color
    alpha: float = 1.0
    edge: float = 0.9


Drawing = tuple[Shape, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Sprite:
    """A rasterised drawing, ready to be blended.

    Attributes:
        color: uint16 (h, w, 3), RGB multiplied by opacity.
        keep: uint16 (h, w, 1), 256 where the ground shows through wholly, 0 where not at all.
        left, top: pixel offset of the patch from the drawing's origin.
    """

    color: NDArray[np.uint16]
    keep: NDArray[np.uint16]
    left: int
    top: int


def disc(x: float, y: float, radius: float, color: Color, *, alpha: float = 1.0, edge: float = 0.9) -> Shape:
    """A filled circle."""

    def distance(px: Plane, py: Plane) -> Plane:
        return np.asarray(np.hypot(px - x, py - y) - radius, np.float32)

    bounds = (x - radius, y - radius, x + radius, y + radius)
    return Shape(distance=distance, bounds=bounds, color=color, alpha=alpha, edge=edge)


def ring(x: float, y: float, radius: float, width: float, color: Color, *, edge: float = 0.9) -> Shape:
    """A circle line of `width`, centred on `radius`."""

    def distance(px: Plane, py: Plane) -> Plane:
        return np.asarray(np.abs(np.hypot(px - x, py - y) - radius) - width / 2, np.float32)

    outer = radius + width / 2
    return Shape(distance=distance, bounds=(x - outer, y - outer, x + outer, y + outer), color=color, edge=edge)


def capsule(
    x0: float,
    y0: float,
    x1: float,
    y1: float,
    radius: float,
    color: Color,
    *,
    alpha: float = 1.0,
    edge: float = 0.9,
) -> Shape:
    """A line with round ends."""
    dx, dy = x1 - x0, y1 - y0
    square = max(dx * dx + dy * dy, 1e-6)

    def distance(px: Plane, py: Plane) -> Plane:
        along = np.clip(((px - x0) * dx + (py - y0) * dy) / square, 0.0, 1.0)
        return np.asarray(np.hypot(px - x0 - along * dx, py - y0 - along * dy) - radius, np.float32)

    bounds = (min(x0, x1) - radius, min(y0, y1) - radius, max(x0, x1) + radius, max(y0, y1) + radius)
    return Shape(distance=distance, bounds=bounds, color=color, alpha=alpha, edge=edge)


def box(
    x: float,
    y: float,
    width: float,
    height: float,
    color: Color,
    *,
    rounding: float = 1.0,
    alpha: float = 1.0,
    edge: float = 0.9,
) -> Shape:
    """A rectangle around (x, y) with rounded corners."""
    half_w, half_h = max(width / 2 - rounding, 0.0), max(height / 2 - rounding, 0.0)

    def distance(px: Plane, py: Plane) -> Plane:
        qx, qy = np.abs(px - x) - half_w, np.abs(py - y) - half_h
        outside = np.hypot(np.maximum(qx, 0.0), np.maximum(qy, 0.0))
        return np.asarray(outside + np.minimum(np.maximum(qx, qy), 0.0) - rounding, np.float32)

    bounds = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return Shape(distance=distance, bounds=bounds, color=color, alpha=alpha, edge=edge)


def polygon(points: Sequence[tuple[float, float]], color: Color, *, alpha: float = 1.0, edge: float = 0.9) -> Shape:
    """A filled simple polygon."""
    corners = tuple(points)

    def distance(px: Plane, py: Plane) -> Plane:
        nearest = np.full(px.shape, np.inf, np.float32)
        inside = np.zeros(px.shape, bool)
        for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
            dx, dy = bx - ax, by - ay
            rx, ry = px - ax, py - ay
            along = np.clip((rx * dx + ry * dy) / max(dx * dx + dy * dy, 1e-6), 0.0, 1.0)
            nearest = np.minimum(nearest, np.hypot(rx - along * dx, ry - along * dy))
            crosses = (ay > py) != (by > py)
            inside ^= crosses & (rx < (dx / dy if dy else 0.0) * ry)
        return np.asarray(np.where(inside, -nearest, nearest), np.float32)

    xs, ys = zip(*corners, strict=True)
    return Shape(distance=distance, bounds=(min(xs), min(ys), max(xs), max(ys)), color=color, alpha=alpha, edge=edge)


def bounds_of(shapes: Iterable[Shape]) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 around all shapes, in local coordinates."""
    edges = np.array([shape.bounds for shape in shapes])
    low, high = edges[:, :2].min(axis=0), edges[:, 2:].max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def rasterise(drawing: Drawing, *, scale: float, angle: float, shadow: float = 2.0) -> Sprite:
    """Draw shapes into a patch, later ones over earlier ones, with a soft shadow to the lower right.

    Args:
        drawing: shapes in local coordinates.
        scale: pixels per local unit.
        angle: rotation in radians, from x towards y.
        shadow: height of the drawing above the bench in local units; 0 casts no shadow.
    """
    x0, y0, x1, y1 = bounds_of(drawing)
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    corners = [(x * cos - y * sin, x * sin + y * cos) for x in (x0, x1) for y in (y0, y1)]
    offset = round(shadow * scale)
    pad = 3 + offset
    left, top = math.floor(min(c[0] for c in corners)) - pad, math.floor(min(c[1] for c in corners)) - pad
    right, bottom = math.ceil(max(c[0] for c in corners)) + pad, math.ceil(max(c[1] for c in corners)) + pad
    v, u = np.mgrid[top : bottom + 1, left : right + 1].astype(np.float32)
    px = (u * np.float32(cos) + v * np.float32(sin)) / np.float32(scale * scale)
    py = (v * np.float32(cos) - u * np.float32(sin)) / np.float32(scale * scale)
    color = np.zeros((*u.shape, 3), np.float32)
    alpha = np.zeros(u.shape, np.float32)
    union = np.full(u.shape, 1e3, np.float32)
    for shape in drawing:
        pixels = shape.distance(px, py) * np.float32(scale)
        cover = np.clip(0.5 - pixels, 0.0, 1.0) * np.float32(shape.alpha)
        tone = 1.0
        if shape.edge:
            tone = (0.45 + 0.55 * np.clip(0.5 - pixels - shape.edge * scale, 0.0, 1.0))[..., None]
        color = color * (1.0 - cover)[..., None] + cover[..., None] * (tone * np.asarray(shape.color, np.float32))
        alpha = alpha * (1.0 - cover) + cover
        if shape.alpha > 0.7:
            union = np.minimum(union, pixels)
    if offset:
        shade = np.zeros(u.shape, np.float32)
        shade[offset:, offset:] = 0.4 * np.clip(0.5 - union[:-offset, :-offset] / (1.0 + 0.7 * offset), 0.0, 1.0)
        alpha = alpha + (1.0 - alpha) * shade
    return Sprite(
        color=np.rint(np.clip(color, 0, 255)).astype(np.uint16),
        keep=np.rint((1.0 - alpha) * 256).astype(np.uint16)[..., None],
        left=left,
        top=top,
    )


def blit(canvas: NDArray[np.uint8], sprite: Sprite, x: float, y: float) -> None:
    """Blend `sprite` into `canvas` (uint8 (H, W, 3), changed in place) with its origin at pixel (x, y)."""
    left, top = round(x) + sprite.left, round(y) + sprite.top
    height, width = canvas.shape[:2]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + sprite.keep.shape[1], width), min(top + sprite.keep.shape[0], height)
    if x0 >= x1 or y0 >= y1:
        return
    source = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    target = canvas[y0:y1, x0:x1]
    blended = (target * sprite.keep[source] >> 8) + sprite.color[source]
    target[...] = np.minimum(blended, 255)
