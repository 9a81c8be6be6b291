"""The clips of the decode benchmark: made with the `ffmpeg` binary from one moving scene; frames spell their numbers.

The scene is what a hand-held camera sees of a bench: a soft texture with detail at every scale that drifts slowly, two
things that move across it, and a little noise as a sensor has it. Its x264 default encoding has about the bit rate and
the share of non-reference pictures that real clips of hands at work have. A strip at the top shows the frame's number
in 16 black or white cells, large enough to be read after any decoder, scaler and colour conversion.
"""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["CLIPS", "RATE", "Clip", "make_clip", "read_number"]

RATE = 25
BITS = 16
_STRIP = 8  # the strip is this fraction of the height


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
    """One line of the benchmark's table.

    Attributes:
        name: what it stands for, in the table.
        file: the file's name.
        height, width: pixels.
        seconds: length.
        encode: options of ffmpeg.
        b_frames: holds pictures that no other refers to, so that there is something to pass over.
        quick: belongs to the short form of the benchmark.
    """

    name: str
    file: str
    height: int
    width: int
    seconds: int
    encode: tuple[str, ...]
    b_frames: bool
    quick: bool = False

    @property
    def num_frames(self) -> int:
        return self.seconds * RATE


def _x264(*options: str) -> tuple[str, ...]:
    return ("-c:v", "libx264", *options)


def _x265(params: str) -> tuple[str, ...]:
    return ("-c:v", "libx265", "-preset", "superfast", "-tag:v", "hvc1", "-x265-params", f"log-level=error:{params}")


CLIPS = (
    Clip(name="x264 defaults", file="x264_720p.mp4", height=720, width=1280, seconds=10, encode=_x264(), b_frames=True,
         quick=True),
    Clip(name="x264 defaults", file="x264_1080p.mp4", height=1080, width=1920, seconds=60, encode=_x264(),
         b_frames=True),
    Clip(name="x264 defaults", file="x264_2160p.mp4", height=2160, width=3840, seconds=10, encode=_x264(),
         b_frames=True),
    Clip(name="x264, one group of pictures", file="one_gop.mp4", height=480, width=854, seconds=60,
         encode=_x264("-x264-params", "keyint=infinite:scenecut=0"), b_frames=True),
    Clip(name="x264, key picture a second", file="short_gop.mp4", height=360, width=640, seconds=600,
         encode=_x264("-preset", "veryfast", "-g", "25"), b_frames=True),
    Clip(name="phone: baseline, no B-frames", file="phone.mp4", height=1080, width=1920, seconds=20,
         encode=_x264("-profile:v", "baseline", "-preset", "veryfast", "-g", "30"), b_frames=False),
    Clip(name="HEVC, open groups", file="hevc_open.mp4", height=720, width=1280, seconds=10,
         encode=_x265("keyint=50:open-gop=1"), b_frames=True),
    Clip(name="VP9", file="vp9.webm", height=720, width=1280, seconds=10,
         encode=("-c:v", "libvpx-vp9", "-b:v", "1500k", "-deadline", "good", "-cpu-used", "6", "-row-mt", "1",
                 "-threads", "2"), b_frames=False),
    Clip(name="AV1", file="av1.mp4", height=720, width=1280, seconds=10,
         encode=("-c:v", "libsvtav1", "-preset", "10", "-crf", "38"), b_frames=False),
    Clip(name="MPEG-TS, x264", file="x264.ts", height=720, width=1280, seconds=10, encode=_x264("-g", "50"),
         b_frames=True, quick=True),
)  # fmt: skip


def make_clip(clip: Clip, folder: Path) -> Path:
    """Write a clip into `folder`, or take the one of the same recipe that is there."""
    recipe = hashlib.sha256(" ".join((*_scene(clip, Path("texture")), *clip.encode)).encode()).hexdigest()[:12]
    path = folder / recipe / clip.file
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    texture = path.parent / "texture.pgm"
    _write_texture(texture)
    partial = path.with_name(f"partial_{clip.file}")
    command = ["ffmpeg", "-y", "-v", "error", "-nostdin", *_scene(clip, texture)]
    command += [*clip.encode, "-pix_fmt", "yuv420p", "-an", str(partial)]
    subprocess.run(command, check=True, stderr=subprocess.PIPE)
    texture.unlink()
    return partial.replace(path)


def _scene(clip: Clip, texture: Path) -> list[str]:
    """Inputs and filters of ffmpeg."""
    height, width, strip = clip.height, clip.width, clip.height // _STRIP // 2 * 2
    cells = ",".join(
        f"drawbox=x={width * bit // BITS}:y=0:w={width * (bit + 1) // BITS - width * bit // BITS}:h={strip}"
        f":color=white:t=fill:enable='gte(mod(n,{2 ** (bit + 1)}),{2**bit})'"
        for bit in range(BITS)
    )
    filters = (
        f"[0:v]fps={RATE},scale={width * 11 // 10 // 2 * 2}:-2,split[one][two];"
        f"[one]crop={width}:{height}:x='(iw-ow)/2*(1+sin(n/37))':y='ih/8*(1+cos(n/53))',format=yuv420p[back];"
        f"[two]crop={width // 4}:{height // 4}:0:0,eq=contrast=1.3,format=yuv420p[tool];"
        f"[1:v]format=yuv420p[pattern];"
        f"[back][tool]overlay=x='(W-w)/2*(1+sin(n/31))':y='(H-h)/2*(1+cos(n/23))'[scene];"
        f"[scene][pattern]overlay=x='(W-w)/2*(1+sin(n/29))':y='(H-h)/2*(1+sin(n/41))':shortest=1,noise=alls=3:allf=t,"
        f"drawbox=x=0:y=0:w={width}:h={strip}:color=black:t=fill,{cells}[out]"
    )
    pattern = f"testsrc2=size={width // 5 // 2 * 2}x{height // 5 // 2 * 2}:rate={RATE}"
    return [
        *("-loop", "1", "-framerate", str(RATE), "-i", str(texture), "-f", "lavfi", "-i", pattern),
        *("-filter_complex", filters, "-map", "[out]", "-frames:v", str(clip.num_frames)),
    ]


def _write_texture(path: Path, side: int = 1536) -> None:
    """Noise whose power falls with the square of the frequency, as in natural scenes, softened as by a lens."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) * np.exp(-((frequency / 0.2) ** 2))
    spectrum[0, 0], frequency[0, 0] = 0, 1
    values = np.fft.irfft2(spectrum / frequency, (side, side))
    pixels = (128 + 45 * values / values.std()).clip(0, 255).astype(np.uint8)
    path.write_bytes(b"P5 %d %d 255\n" % (side, side) + pixels.tobytes())


def read_number(picture: NDArray[np.uint8]) -> int:
    """The number that a picture, (H, W, 3), spells."""
    height, width = picture.shape[:2]
    strip = height // _STRIP
    number = 0
    for bit in range(BITS):
        left, right = width * bit // BITS, width * (bit + 1) // BITS
        margin = (right - left) // 4
        number |= int(picture[strip // 4 : strip * 3 // 4, left + margin : right - margin].mean() > 128) << bit
    return number
