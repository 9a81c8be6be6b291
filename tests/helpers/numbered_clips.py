"""Small videos whose pictures spell their own frame number, in any container and codec."""

from __future__ import annotations

import dataclasses
import pathlib
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation

HEIGHT, WIDTH, NUM_FRAMES = 96, 128, 60
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP


def spell(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A picture whose 4 x 4 black and white blocks are the 16 bits of its number."""
    bits = np.array([number >> place & 1 for place in range(16)], np.uint8).reshape(4, 4)
    picture = np.repeat(np.repeat(40 + 170 * bits, height // 4, 0), width // 4, 1)
    shade = np.add.outer(np.arange(height), np.arange(width) + 5 * number) % 40
    return np.stack([picture + shade, picture, picture + 40 - shade], -1).astype(np.uint8)


def read_number(picture: np.ndarray) -> int:
    rows, columns = (np.linspace(0, side, 5).astype(int) for side in picture.shape[:2])
    blocks = [
        picture[rows[i] : rows[i + 1], columns[j] : columns[j + 1]].mean() > 130 for i in range(4) for j in range(4)
    ]
    return sum(int(bit) << place for place, bit in enumerate(blocks))


@dataclasses.dataclass(frozen=True)
class Clip:
    name: str
    codec: str
    options: dict[str, str] = dataclasses.field(default_factory=dict)
    container: dict[str, str] = dataclasses.field(default_factory=dict)
    pixels: str = "yuv420p"
    timeline: tuple[int, ...] = tuple(range(NUM_FRAMES))
    color_range: ColorRange | None = None

    def __str__(self) -> str:
        return self.name


def x264(**params: object) -> dict[str, str]:
    return {"x264-params": ":".join(f"{key.replace('_', '-')}={value}" for key, value in params.items())}


def x265(**params: object) -> dict[str, str]:
    return {"x265-params": ":".join(["log-level=0", *(f"{k.replace('_', '-')}={v}" for k, v in params.items())])}


SHORT = x264(keyint=8, min_keyint=8, bframes=3, b_pyramid="normal", scenecut=0)
OPEN = x264(keyint=10, min_keyint=10, bframes=3, open_gop=1, scenecut=0)
LONG = x264(keyint=250, bframes=3, b_pyramid="normal", scenecut=0)


def has_encoder(name: str) -> bool:
    try:
        av.codec.Codec(name, "w")
    except ValueError:
        return False
    return True


def write_clip(folder: pathlib.Path, clip: Clip, *, matrix: list[int] | None = None) -> pathlib.Path:
    path = folder / clip.name
    with av.open(str(path), "w", container_options=clip.container) as container:
        stream = container.add_stream(clip.codec, rate=25, options=clip.options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, clip.pixels
        stream.codec_context.thread_count = 1
        if matrix is not None:
            stream.set_display_matrix(matrix)
        stream.codec_context.time_base = Fraction(1, 25)
        for number, time in enumerate(clip.timeline):
            frame = av.VideoFrame.from_ndarray(spell(number)).reformat(format=clip.pixels)
            frame.pts, frame.time_base = time, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def plain_decode(path: pathlib.Path) -> tuple[list[av.VideoFrame], list[float]]:
    """Everything that a decoder shows, in order, and when."""
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        frames = [*container.decode(stream)]
    first = frames[0].pts
    times = [float((frame.pts - first) * frame.time_base) if frame.pts is not None else np.nan for frame in frames]
    return frames, times


def to_rgb(frame: av.VideoFrame, height: int, width: int) -> np.ndarray:
    rgb = frame.reformat(width, height, "rgb24", interpolation=EXACT, dst_color_range=ColorRange.JPEG, threads=1)
    return rgb.to_ndarray()
