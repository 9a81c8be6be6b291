"""Pictures of a video for a page."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image
from weaksvr.runtime.errors import VideoNotFoundError
from weaksvr.runtime.key_frames import film, picture_address

COLOURS = [(200, 30, 40), (20, 190, 60), (30, 50, 210)]


def opened(address):
    data = base64.b64decode(address.removeprefix("data:image/jpeg;base64,"), validate=True)
    return np.asarray(Image.open(io.BytesIO(data), formats=["JPEG"]).convert("RGB")).astype(int)


def test_a_picture_keeps_its_colours_and_its_size():
    picture = np.zeros((33, 61, 3), np.uint8)
    picture[:, :30], picture[:, 30:] = COLOURS[0], COLOURS[2]
    found = opened(picture_address(picture))
    assert found.shape == (33, 61, 3)
    assert np.abs(found[:, 2:26] - COLOURS[0]).max() < 8
    assert np.abs(found[:, 34:58] - COLOURS[2]).max() < 8


@pytest.fixture
def folder(tmp_path):
    for number, colour in enumerate(COLOURS, start=1):
        Image.fromarray(np.full((20, 40, 3), colour, np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


def test_the_frame_that_is_displayed_at_a_time(folder):
    found = film(folder, [0.0, 1e9, 0.0], size=16)
    assert (found.num_frames, found.height, found.width) == (3, 20, 40)
    assert [each.seconds for each in found.key_frames] == [0.0, 1e9, 0.0]
    shown = [opened(each.picture) for each in found.key_frames]
    assert shown[0].shape == (16, 32, 3)
    for picture, colour in zip(shown, (COLOURS[0], COLOURS[2], COLOURS[0]), strict=True):
        assert np.abs(picture - colour).max() < 8


def test_a_frame_that_cannot_be_decoded_has_no_picture(folder):
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:50])
    spacing = film(folder, []).duration_seconds / 3
    found = film(folder, [spacing * (number + 0.5) for number in range(3)]).key_frames
    assert [each.picture is None for each in found] == [False, True, False]


def test_a_video_that_is_not_there():
    with pytest.raises(VideoNotFoundError, match="no such file"):
        film("none.mp4", [0.0])
