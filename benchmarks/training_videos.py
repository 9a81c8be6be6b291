"""Datasets for the training benchmark: clips of the published datasets' shape, and a part of a workbench dataset."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from weaksvr.runtime.manifest import Clip, Pair, read_dataset
from weaksvr.runtime.storage import write_text

__all__ = ["K_MAX", "encode_clip", "make_clips", "make_part", "make_scripts"]

K_MAX = 20
"""Most steps of a script, as in the largest published scripts; shorter ones are padded to it."""

RATE, WIDTH, HEIGHT = 25, 320, 180
_VERBS = ("take", "open", "fill", "shake", "pour", "stir", "press", "turn", "wipe", "close")
_THINGS = ("the red cup", "a glass of water", "the left valve", "the powder", "the small box", "the upper screw")


def make_scripts(number: int, *, seed: int) -> list[tuple[str, ...]]:
    """`number` scripts of 6 to 13 steps, the first one of `K_MAX`."""
    rng = np.random.default_rng(seed)
    sentences = [f"{verb} {thing}" for verb in _VERBS for thing in _THINGS]
    lengths = [K_MAX, *rng.integers(6, 14, number - 1).tolist()]
    return [tuple(rng.choice(sentences, length, replace=False).tolist()) for length in lengths]


def encode_clip(path: Path, seconds: int, seed: int) -> Path:
    """A clip of 320 x 180 at 25 frames a second: two moving patches before a textured table, with a sensor's noise."""
    rng = np.random.default_rng(seed)
    fine = rng.normal(0, 12, (HEIGHT + 32, WIDTH + 32, 3))
    coarse = np.kron(rng.integers(30, 220, (9, 12, 3)), np.ones((24, 32, 1)))[: HEIGHT + 32, : WIDTH + 32]
    table = (fine + coarse).clip(0, 255).astype(np.int16)
    noise = rng.normal(0, 4, (8, HEIGHT, WIDTH, 3)).astype(np.int16)
    hand_pixels = (table[:36, 40:84] * 0.3 + (150, 100, 80)).astype(np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(RATE * seconds):
            x, y = 16 + round(3 * np.sin(number / 40)), 16 + round(3 * np.cos(number / 55))
            picture = table[y : y + HEIGHT, x : x + WIDTH] + noise[number % len(noise)]
            for hand, speed in enumerate((17, 23)):
                left = round(140 + 130 * np.sin(number / speed + seed + hand))
                top = round(70 + 60 * np.cos(number / (speed + 6) + hand))
                picture[top : top + 36, left : left + 44] = hand_pixels
            frame = np.ascontiguousarray(picture.clip(0, 255).astype(np.uint8))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def make_clips(folder: Path, *, videos: int, seconds: int, takes: int, seed: int) -> Path:
    """A dataset of clips, `takes` of each procedure, and three more for validation; kept where it is there already."""
    if (folder / "val_pairs.csv").is_file():
        return folder
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    total = videos + 3
    paths = [folder / "videos" / f"{number:03}.mp4" for number in range(total)]
    with multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        pool.starmap(encode_clip, [(path, seconds, seed + number) for number, path in enumerate(paths)])
    scripts = make_scripts(-(-videos // takes) + 2, seed=seed)
    own = [scripts[number // takes] for number in range(videos)] + [scripts[-2], scripts[-2], scripts[-1]]
    clips = [Clip(video=path, steps=steps) for path, steps in zip(paths, own, strict=True)]
    train, val = clips[:videos], clips[videos:]
    pairs = [
        Pair(video_a=val[0].video, video_b=val[1].video, same=True),
        Pair(video_a=val[0].video, video_b=val[2].video, same=False),
    ]
    _write(folder, train, val, pairs)
    return folder


def make_part(folder: Path, source: Path, *, videos: int) -> Path:
    """The first training videos of a dataset, and one validation pair of each kind."""
    dataset = read_dataset(source)
    if len(dataset.train) < videos:
        raise SystemExit(f"{source}: has {len(dataset.train)} training videos, {videos} are needed")
    pairs = [next(pair for pair in dataset.val_pairs if pair.same is same) for same in (True, False)]
    named = {video for pair in pairs for video in (pair.video_a, pair.video_b)}
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, dataset.train[:videos], [clip for clip in dataset.val if clip.video in named], pairs)
    return folder


def _write(folder: Path, train: Sequence[Clip], val: Sequence[Clip], pairs: Sequence[Pair]) -> None:
    """The manifests, with paths relative to the folder; the pairs last."""

    def relative(video: Path) -> str:
        return os.path.relpath(video.resolve(), folder.resolve())

    for name, clips in (("train", train), ("val", val)):
        lines = [json.dumps({"video": relative(clip.video), "steps": clip.steps}) + "\n" for clip in clips]
        write_text(folder / f"{name}.jsonl", "".join(lines))
    with (folder / "val_pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["video_a", "video_b", "same"])
        rows.writerows([relative(pair.video_a), relative(pair.video_b), int(pair.same)] for pair in pairs)
