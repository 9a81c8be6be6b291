from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from PIL import Image, ImageDraw
from weaksvr.train.datasets.workbench.catalogue import NUM_SLOTS, STEP_NAMES
from weaksvr.train.datasets.workbench.palette import draw_palette
from weaksvr.train.datasets.workbench.pieces import draw_piece, target_of
from weaksvr.train.datasets.workbench.sprites import blit, box, capsule, disc, polygon, rasterise, ring
from weaksvr.train.datasets.workbench.tools import TOOL_TIPS, draw_fingers, draw_forearm, draw_resting_tool, draw_tool

RED = (255.0, 0.0, 0.0)
STAR = [(0, -20), (5, -5), (20, 0), (5, 5), (0, 20), (-5, 5), (-20, 0), (-5, -5)]


def coverage(shape, *, angle=0.0, side=64):
    """Red on black: the shape's coverage in [0, 1], float (side, side)."""
    canvas = np.zeros((side, side, 3), np.uint8)
    blit(canvas, rasterise((shape,), scale=1.0, angle=angle, shadow=0.0), side / 2, side / 2)
    return canvas[..., 0] / 255


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        (disc(0, 0, 15, RED, edge=0), math.pi * 15**2),
        (ring(0, 0, 15, 4, RED, edge=0), 2 * math.pi * 15 * 4),
        (capsule(-10, 0, 10, 0, 5, RED, edge=0), 20 * 10 + math.pi * 5**2),
        (box(0, 0, 30, 20, RED, rounding=0, edge=0), 600),
        (box(2, 3, 30, 20, RED, rounding=5, edge=0), 600 - (4 - math.pi) * 5**2),
        (polygon(STAR, RED, edge=0), 400),
    ],
)
@pytest.mark.parametrize("angle", [0.0, 0.4, 2.0])
def test_shapes_cover_their_area(shape, area, angle):
    assert coverage(shape, angle=angle).sum() == pytest.approx(area, rel=0.03)


@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_polygon_is_the_one_that_pillow_draws(angle):
    cos, sin = math.cos(angle), math.sin(angle)
    points = [(8 * (32 + x * cos - y * sin) + 3.5, 8 * (32 + x * sin + y * cos) + 3.5) for x, y in STAR]
    image = Image.new("L", (512, 512))
    ImageDraw.Draw(image).polygon(points, fill=255)
    expected = np.asarray(image.resize((64, 64), Image.Resampling.BOX)) / 255
    assert np.abs(coverage(polygon(STAR, RED, edge=0), angle=angle) - expected).mean() < 0.006


def test_blit_blends_and_clips():
    sprite = rasterise((box(0, 0, 10, 10, (100.0, 50.0, 0.0), alpha=0.5, edge=0),), scale=1.0, angle=0.0, shadow=0.0)
    canvas = np.full((20, 20, 3), 200, np.uint8)
    blit(canvas, sprite, 0, 10)
    np.testing.assert_allclose(canvas[10, 2], [150, 125, 100], atol=1)
    assert (canvas[:, 8:] == 200).all()
    before = canvas.copy()
    for x, y in [(-50, 5), (50, 5), (5, -50), (5, 50)]:
        blit(canvas, sprite, x, y)
    assert (canvas == before).all()


def test_shadow_darkens_only_the_lower_right():
    canvas = np.full((64, 64, 3), 200, np.uint8)
    blit(canvas, rasterise((box(0, 0, 20, 20, (200.0,) * 3, edge=0),), scale=1.0, angle=0.0, shadow=4.0), 32, 32)
    assert canvas[44, 44].max() < 190
    assert canvas[19, 19].min() == 200


@pytest.mark.parametrize("name", STEP_NAMES)
def test_things_have_their_size_and_pieces_change_with_work(name):
    colors = draw_palette(np.random.default_rng(0))
    looks = []
    for work in range(NUM_SLOTS + 1):
        drawing = draw_piece(name, colors, work=work)
        x0, y0, x1, y1 = np.array([shape.bounds for shape in drawing]).T
        assert min(x0.min(), y0.min()) > -25
        assert max(x1.max(), y1.max()) < 25
        canvas = np.zeros((64, 64, 3), np.uint8)
        blit(canvas, rasterise(drawing, scale=1.0, angle=0.0), 32, 32)
        looks.append(canvas)
    assert all((a != b).any() for a, b in itertools.pairwise(looks))
    assert all(max(map(abs, target_of(name, slot))) < 20 for slot in range(NUM_SLOTS))


@pytest.mark.parametrize("name", STEP_NAMES)
def test_tools_are_large_enough_to_be_seen(name):
    colors = draw_palette(np.random.default_rng(1))
    for drawing in (draw_tool(name, colors, phase=1.0), draw_resting_tool(name, colors)):
        x0, y0, x1, y1 = np.array([shape.bounds for shape in drawing]).T
        assert 20 <= max(x1.max() - x0.min(), y1.max() - y0.min()) <= 75
    assert 10 < math.hypot(*TOOL_TIPS[name]) < 50


@pytest.mark.parametrize("grip", ["open", "closed"])
def test_the_arm_reaches_out_of_the_frame(grip):
    colors = draw_palette(np.random.default_rng(2))
    assert min(shape.bounds[0] for shape in draw_forearm(colors, grip=grip)) < -160
    assert draw_fingers(colors, grip=grip)
