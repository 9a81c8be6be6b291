"""From frames of a video to what the network takes, exactly as a `PreprocessSpec` says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .errors import OptionError
from .spec import PreprocessSpec

if TYPE_CHECKING:
    from .video import Video

__all__ = ["normalize", "read_frames"]


def read_frames(video: Video, indices: Sequence[int] | NDArray[np.int64], spec: PreprocessSpec) -> NDArray[np.uint8]:
    """Decode frames and bring them to the network's size.

    `shorter` scales until the frame just covers height x width: one side becomes exactly that of the input, the other
    floor(side * scale), as torchvision's Resize does; then the centre is cut out, from round((side - input side) / 2)
    on, halves to the even number, as torchvision's CenterCrop does. `squash` scales to exactly height x width.

    Args:
        video: an open video.
        indices: (T,) frame numbers.
        spec: size and way of resizing.

    Returns:
        uint8 (T, height, width, 3), RGB, C-contiguous.

    Raises:
        OptionError: for an index out of range.
        VideoDecodeError: if one of the frames cannot be decoded.
    """
    if spec.resize == "squash":
        return video.frames(indices, size=(spec.height, spec.width))
    height, width = _covering_size(video.height, video.width, spec)
    frames = video.frames(indices, size=(height, width))
    top, left = round((height - spec.height) / 2), round((width - spec.width) / 2)
    return np.ascontiguousarray(frames[:, top : top + spec.height, left : left + spec.width])


def normalize(frames: NDArray[np.uint8], spec: PreprocessSpec) -> NDArray[np.float32]:
    """Scale pixels to [0, 1], subtract the mean, divide by the standard deviation, channels first.

    Args:
        frames: uint8 (T, height, width, 3), RGB.
        spec: mean and standard deviation a channel.

    Returns:
        float32 (T, 3, height, width), C-contiguous.

    Raises:
        OptionError: if `frames` are not uint8 of the spec's size.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (spec.height, spec.width, 3):
        raise OptionError(
            f"frames must be uint8 (T, {spec.height}, {spec.width}, 3), not {frames.dtype} {frames.shape}"
        )
    # 256 possible values a channel: a table is exact and faster than arithmetic on every pixel.
    levels = np.arange(256) / 255
    output = np.empty((len(frames), 3, spec.height, spec.width), np.float32)
    for channel, (mean, std) in enumerate(zip(spec.mean, spec.std, strict=True)):
        table = ((levels - mean) / std).astype(np.float32)
        output[:, channel] = table[frames[..., channel]]
    return output


def _covering_size(height: int, width: int, spec: PreprocessSpec) -> tuple[int, int]:
    """The smallest (height, width) of the same aspect, down to rounding, that covers the spec's."""
    if spec.height * width >= spec.width * height:
        return spec.height, max(spec.width, spec.height * width // height)
    return max(spec.height, spec.width * height // width), spec.width
