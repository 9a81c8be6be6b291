from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from weaksvr.train.augment import _INDEX, augment, draw_parameters
from weaksvr.train.config import AugmentConfig

EVERYTHING = AugmentConfig(color=0.8, shift=0.2, zoom=0.3, rotate=20.0, noise=0.1, flip=0.5, erase=0.5)


def parameters(batch=1, **values):
    """Parameters (B, P) that change nothing but what is named; shifts in shares of half the frame."""
    neutral = draw_parameters(np.random.default_rng(0), AugmentConfig())
    rows = torch.from_numpy(neutral).repeat(batch, 1)
    for name, value in values.items():
        rows[:, _INDEX[name]] = value
    return rows


def clips(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def drawn(config, batch, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([draw_parameters(rng, config) for _ in range(batch)]))


def test_without_strength_nothing_changes():
    frames = clips(2, 3, 3, 8, 6)
    for rows in (drawn(AugmentConfig(), 2), drawn(EVERYTHING, 2)):
        assert torch.equal(augment(frames, rows, AugmentConfig()), frames)


def test_neutral_parameters_change_nothing():
    frames = clips(2, 3, 3, 8, 6)
    rows = drawn(AugmentConfig(), 2)
    torch.testing.assert_close(augment(frames, rows, EVERYTHING), frames)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(AugmentConfig)])
def test_every_strength_changes_something(field):
    config = dataclasses.replace(AugmentConfig(), **{field: 1.0})
    frames = clips(4, 2, 3, 8, 8)
    assert not torch.allclose(augment(frames, drawn(config, 4), config), frames, atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_every_frame_of_a_clip_is_changed_alike(seed):
    config = dataclasses.replace(EVERYTHING, noise=0.0)
    frame = clips(3, 1, 3, 10, 12, seed=seed)
    result = augment(frame.expand(-1, 4, -1, -1, -1), drawn(config, 3, seed), config)
    torch.testing.assert_close(result, result[:, :1].expand_as(result))
    assert not torch.allclose(result, frame.expand_as(result), atol=1e-3)


def test_clips_are_changed_apart_and_without_regard_to_each_other():
    frames = clips(1, 3, 3, 9, 9).expand(4, -1, -1, -1, -1)
    rows = drawn(EVERYTHING, 4)
    together = augment(frames, rows, EVERYTHING)
    for index in range(4):
        alone = augment(frames[:1], rows[index : index + 1], EVERYTHING)
        torch.testing.assert_close(alone[0], together[index])
    assert not torch.allclose(together[0], together[1], atol=1e-2)


@pytest.mark.parametrize("seed", range(8))
def test_values_stay_within_0_and_1(seed):
    config = AugmentConfig(color=1.0, shift=1.0, zoom=2.0, rotate=180.0, noise=1.0, flip=1.0, erase=1.0)
    frames = clips(3, 4, 3, 7, 9, seed=seed).round()
    result = augment(frames, drawn(config, 3, seed), config)
    assert result.shape == frames.shape
    assert result.dtype == frames.dtype
    assert result.isfinite().all()
    assert 0.0 <= float(result.min()) <= float(result.max()) <= 1.0


def test_flip_is_left_right():
    frames = clips(2, 3, 3, 6, 9)
    rows = parameters(2)
    rows[1, _INDEX["flip"]] = 1.0
    result = augment(frames, rows, AugmentConfig(flip=0.5))
    torch.testing.assert_close(result[0], frames[0])
    torch.testing.assert_close(result[1], frames[1].flip(-1))


def test_shift_moves_by_whole_pixels_and_repeats_the_border():
    frames = clips(1, 2, 3, 8, 10)
    result = augment(frames, parameters(shift_x=2 * 3 / 10, shift_y=2 * -2 / 8), AugmentConfig(shift=0.5))
    rows = (torch.arange(8) - 2).clamp(0, 7)
    columns = (torch.arange(10) + 3).clamp(0, 9)
    torch.testing.assert_close(result, frames[..., rows, :][..., columns])


def naive_warp(picture, *, log_zoom, angle, flip, shift_x, shift_y):
    """One channel (H, W): for every pixel, where it comes from, in pixels, read bilinearly."""
    height, width = picture.shape
    result = np.zeros_like(picture)
    for y in range(height):
        for x in range(width):
            right, down = x + 0.5 - width / 2, y + 0.5 - height / 2
            right *= -1 if flip else 1
            zoom = math.exp(log_zoom)
            source_x = zoom * (math.cos(angle) * right - math.sin(angle) * down) + shift_x * width / 2
            source_y = zoom * (math.sin(angle) * right + math.cos(angle) * down) + shift_y * height / 2
            source_x = min(max(source_x + width / 2 - 0.5, 0), width - 1)
            source_y = min(max(source_y + height / 2 - 0.5, 0), height - 1)
            left, top = int(source_x), int(source_y)
            for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                weight = (1 - abs(source_y - row)) * (1 - abs(source_x - column))
                if weight > 0:
                    result[y, x] += weight * picture[row, column]
    return result


@pytest.mark.parametrize(
    "change",
    [
        {"log_zoom": math.log(2)},
        {"log_zoom": -0.4},
        {"angle": 0.3},
        {"log_zoom": 0.2, "angle": -0.2, "flip": 1.0, "shift_x": 0.13, "shift_y": -0.21},
    ],
)
def test_warp_equals_the_loops(change):
    frames = clips(1, 1, 3, 9, 12)
    result = augment(frames, parameters(**change), AugmentConfig(zoom=1.0, rotate=1.0, shift=1.0, flip=1.0))
    neutral = {"log_zoom": 0.0, "angle": 0.0, "flip": 0.0, "shift_x": 0.0, "shift_y": 0.0}
    for channel in range(3):
        expected = naive_warp(frames[0, 0, channel].double().numpy(), **{**neutral, **change})
        np.testing.assert_allclose(result[0, 0, channel].numpy(), expected, atol=1e-4)


def test_brightness_gains_and_contrast():
    frames = 0.2 + 0.3 * clips(1, 4, 3, 6, 6)
    color = AugmentConfig(color=1.0)
    torch.testing.assert_close(augment(frames, parameters(brightness=1.2), color), frames * 1.2)
    green = augment(frames, parameters(green=0.7), color)
    torch.testing.assert_close(green, frames * torch.tensor([1.0, 0.7, 1.0])[:, None, None])
    strong = augment(frames, parameters(contrast=1.4), color)
    torch.testing.assert_close(strong, frames.mean() + 1.4 * (frames - frames.mean()))


def test_saturation_and_hue_keep_gray():
    color = AugmentConfig(color=1.0)
    gray = clips(1, 2, 1, 5, 5).expand(-1, -1, 3, -1, -1)
    torch.testing.assert_close(augment(gray, parameters(saturation=0.3, hue=1.0), color), gray)
    frames = clips(1, 2, 3, 5, 5)
    faded = augment(frames, parameters(saturation=0.0), color)
    luma = 0.299 * frames[:, :, 0] + 0.587 * frames[:, :, 1] + 0.114 * frames[:, :, 2]
    torch.testing.assert_close(faded, luma[:, :, None].expand_as(faded))
    turned = augment(0.3 * frames, parameters(hue=2 * math.pi / 3), color)
    torch.testing.assert_close(turned, 0.3 * frames.roll(1, dims=2))


def test_noise_is_drawn_from_its_seed_and_flickers():
    frames = torch.full((2, 3, 3, 32, 32), 0.5)
    rows = parameters(2, noise=0.05)
    rows[:, _INDEX["noise_seed"]] = torch.tensor([2.0**31 - 1, 2.0**31 - 2], dtype=torch.float64)
    config = AugmentConfig(noise=0.1)
    noisy = augment(frames, rows, config)
    assert torch.equal(noisy, augment(frames, rows, config))
    assert not torch.equal(noisy[0], noisy[1])
    assert not torch.equal(noisy[0, 0], noisy[0, 1])
    assert float((noisy - frames).std()) == pytest.approx(0.05, rel=0.05)


def test_erasing_covers_one_rectangle_in_all_frames():
    frames = 0.5 * clips(2, 3, 3, 20, 30)
    rows = parameters(2, erase_x=0.5, erase_y=0.25, erase_w=0.2, erase_h=0.3, erase_value=0.9)
    rows[0, _INDEX["erase"]] = 1.0
    result = augment(frames, rows, AugmentConfig(erase=0.5))
    expected = frames.clone()
    expected[0, :, :, 5:11, 15:21] = 0.9
    torch.testing.assert_close(result, expected)


def test_parameters_depend_on_the_source_alone_and_keep_their_bounds():
    config = AugmentConfig(color=0.5, shift=0.1, zoom=0.2, rotate=8.0, noise=0.05, flip=0.25, erase=0.25)
    rows = np.stack([draw_parameters(np.random.default_rng(seed), config) for seed in range(400)])
    again = np.stack([draw_parameters(np.random.default_rng(seed), config) for seed in range(400)])
    assert np.array_equal(rows, again)
    bounds = {"shift_x": 0.2, "log_zoom": math.log(1.2), "angle": math.radians(8), "hue": math.pi / 4}
    for name, bound in bounds.items():
        column = rows[:, _INDEX[name]]
        assert -bound <= column.min() < -0.9 * bound
        assert 0.9 * bound < column.max() <= bound
    assert 0.0 <= rows[:, _INDEX["noise"]].min() <= rows[:, _INDEX["noise"]].max() <= 0.05
    assert rows[:, _INDEX["flip"]].mean() == pytest.approx(0.25, abs=0.08)
    assert rows[:, _INDEX["erase"]].mean() == pytest.approx(0.25, abs=0.08)
    assert len(set(rows[:, _INDEX["noise_seed"]])) == 400
