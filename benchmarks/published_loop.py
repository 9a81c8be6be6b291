"""Training as the published loop works: every frame a JPEG file first, both towers in every step.

Written from a description of that loop, around this project's network and losses, so that only the way of working
differs. Where the description leaves a choice, the faster one is taken: videos are prepared by as many processes as
there are cores, texts are made into tokens once, workers stay alive between epochs, clips are laid out as the network
takes them, and there is neither an evaluation nor a checkpoint.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from weaksvr.runtime.manifest import Clip, read_manifest
from weaksvr.runtime.spec import PreprocessSpec
from weaksvr.train.config import TrainConfig
from weaksvr.train.losses import coarse_loss, official_fine_loss
from weaksvr.train.model import WeakSVR
from weaksvr.train.optimizer import create_optimizer, learning_rate_factor
from weaksvr.train.texts import TextTable
from weaksvr.train.tower_tokenizer import model_tokenizer, tokenizer_of

__all__ = ["JpegClips", "draw_frames", "extract", "extract_all", "padded_tokens", "train_published"]


def extract(video: Path, folder: Path) -> int:
    """Decode every frame and write it as 1.jpg, 2.jpg, ... at the source's size; the number of frames."""
    folder.mkdir(parents=True)
    number = 0
    with av.open(str(video)) as container:
        container.streams.video[0].thread_count = 1
        for frame in container.decode(video=0):
            number += 1
            frame.to_image().save(folder / f"{number}.jpg")
    return number


def extract_all(videos: Sequence[Path], folder: Path, *, processes: int) -> list[Path]:
    """The folders of frames of `videos`."""
    folders = [folder / f"{number:05}" for number in range(len(videos))]
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        pool.starmap(extract, list(zip(videos, folders, strict=True)), chunksize=1)
    return folders


def draw_frames(count: int, num_frames: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """One file number (from 1 on) of each segment of `count` frames; the last two are never drawn."""
    borders = np.linspace(0, count - 2, num_frames + 1).astype(np.int64)
    return rng.integers(borders[:-1], borders[1:]) + 1


class JpegClips(Dataset[tuple[Tensor, int]]):
    """Random clips out of folders of JPEG files, each frame read, resized, cropped and normalised by itself."""

    def __init__(self, folders: Sequence[Path], *, num_frames: int, preprocess: PreprocessSpec) -> None:
        self.folders = folders
        self.num_frames = num_frames
        size = (preprocess.height, preprocess.width)
        bicubic = v2.InterpolationMode.BICUBIC
        squash = preprocess.resize == "squash"
        resize = v2.Resize(list(size) if squash else size[0], interpolation=bicubic)
        self.transform = v2.Compose(
            [
                resize,
                v2.CenterCrop(size),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(preprocess.mean, preprocess.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.folders)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Frames float32 (T, 3, H, W), normalised, and the index."""
        folder = self.folders[index]
        count = sum("_" not in name for name in os.listdir(folder))  # noqa: PTH208 - names are all it takes
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        frames = []
        for number in draw_frames(count, self.num_frames, rng):
            with Image.open(folder / f"{number}.jpg") as picture:
                frames.append(self.transform(picture.convert("RGB")))
        return torch.stack(frames), index


def padded_tokens(table: TextTable, indices: Sequence[int], k_max: int) -> tuple[Tensor, Tensor]:
    """Sentences of the clips padded with rows of zeros, (B, K_max, L), and how many are true, (B,)."""
    padded = torch.zeros(len(indices), k_max, table.sentence_tokens.shape[1], dtype=torch.int64)
    for row, index in enumerate(indices):
        ids = table.sentence_ids[index]
        padded[row, : len(ids)] = table.sentence_tokens[ids]
    return padded, torch.tensor([len(table.sentence_ids[index]) for index in indices])


class _Loop:
    """The steps, and how long their parts take."""

    def __init__(self, config: TrainConfig, clips: Sequence[Clip]) -> None:
        torch.manual_seed(config.optim.seed)
        self.config = config
        self.model = WeakSVR(config).train()
        self.table = TextTable(clips, tokenizer_of(model_tokenizer(config.model)), seed=config.optim.seed)
        self.k_max = max(len(ids) for ids in self.table.sentence_ids)
        self.optimizer = create_optimizer(self.model, config.optim)
        self.text_seconds = 0.0

    def step(self, frames: Tensor, indices: Sequence[int], rates: tuple[int, int, int]) -> float:
        """One step of the optimiser."""
        table, model, optim = self.table, self.model, self.config.optim
        with torch.autocast("cpu", torch.bfloat16, enabled=optim.precision == "bf16"):
            frame_features, video_vectors = model.encode_video(frames)
            began = time.perf_counter()
            with torch.no_grad():
                tokens, num_steps = padded_tokens(table, indices, self.k_max)
                sentences = model.text(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2])
                paragraphs = model.text(table.paragraph_tokens[table.paragraph_ids[list(indices)]])
            self.text_seconds += time.perf_counter() - began
            coarse = coarse_loss(video_vectors.float(), paragraphs.float(), model.logit_scale.exp())
            scale = model.fine_logit_scale.exp()
            fine = official_fine_loss(frame_features.float(), sentences.float(), num_steps, scale, labels="sort")
            loss = self.config.loss.coarse_weight * coarse + self.config.loss.fine_weight * fine
        loss.backward()
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * learning_rate_factor(*rates, group["final"])
        if optim.clip_norm:
            torch.nn.utils.clip_grad_norm_(model.parameters(), optim.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        model.clamp_scales()
        return float(loss.detach())


def train_published(data: Path, work: Path, config: TrainConfig) -> dict[str, Any]:
    """Prepare the videos of `data/train.jsonl` in `work` and train on them.

    Returns:
        `preparation_seconds`, `epoch_seconds`, `text_seconds`, `steps`, `loss` (the last step's), `arithmetic`.
    """
    clips = read_manifest(data / "train.jsonl")
    began = time.perf_counter()
    folders = extract_all([clip.video for clip in clips], work / "frames", processes=len(os.sched_getaffinity(0)))
    prepared = time.perf_counter()
    loop = _Loop(config, clips)
    dataset = JpegClips(folders, num_frames=config.data.num_frames, preprocess=loop.model.preprocess)
    workers = config.data.workers
    loader = DataLoader(
        dataset,
        batch_size=config.data.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    optim = config.optim
    total, warmup = optim.epochs * len(loader), round(optim.warmup_epochs * len(loader))
    steps, loss, epochs = 0, math.nan, []
    for _ in range(optim.epochs):
        start = time.perf_counter()
        for frames, indices in loader:
            loss = loop.step(frames, indices.tolist(), (steps, total, warmup))
            steps += 1
        epochs.append(round(time.perf_counter() - start, 3))
    return {
        "preparation_seconds": prepared - began,
        "epoch_seconds": epochs,
        "text_seconds": loop.text_seconds,
        "steps": steps,
        "loss": loss,
    }
