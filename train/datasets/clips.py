"""Training clips: random frames of a video, decoded by the deployed functions, with an optional on-disk cache."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler, default_collate, get_worker_info

from ...runtime.errors import DataError, OutputError, TooFewFramesError, VideoError, WeakSVRError
from ...runtime.manifest import Clip
from ...runtime.preprocess import read_frames
from ...runtime.sampling import segment_indices
from ...runtime.spec import PreprocessSpec
from ...runtime.storage import replace_file
from ...runtime.video import open_video
from ..augment import draw_parameters
from ..config import AugmentConfig

__all__ = [
    "Batch",
    "ClipDataset",
    "EpochSampler",
    "FrameCache",
    "PairSampler",
    "StoredFrames",
    "batches_of",
    "collate_clips",
]

Batch = tuple[Tensor, Tensor, Tensor]
"""Frames uint8 (B, T, H, W, 3), augmentation parameters float64 (B, P), indices int64 (B,)."""

_CHUNK = 256  # frames decoded at a time while a video is brought into the cache


def _restrict(times: NDArray[np.float64], clip: Clip) -> tuple[int, int]:
    """First and last + 1 of the frames with start <= time < end."""
    start = 0 if clip.start is None else int(np.searchsorted(times, clip.start, side="left"))
    end = len(times) if clip.end is None else int(np.searchsorted(times, clip.end, side="left"))
    return start, end


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StoredFrames:
    """What the cache holds of a video.

    Attributes:
        times: float64 (N,), seconds of all frames of the video.
        numbers: int64 (M,), ascending: which of them are held.
        frames: uint8 (M, H, W, 3), mapped and not read.
    """

    times: NDArray[np.float64]
    numbers: NDArray[np.int64]
    frames: NDArray[np.uint8]

    def holds(self, numbers: NDArray[np.int64]) -> bool:
        """Whether all of these frames are there."""
        return bool(np.isin(numbers, self.numbers).all())

    def take(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames (T, H, W, 3) that are held, in the order of `numbers`."""
        return np.ascontiguousarray(self.frames[np.searchsorted(self.numbers, numbers)])


class FrameCache:
    """Frames of each video at the network's input size, as uint8 files that are mapped and not read.

    A file's name comes from the video's path, size and time of change (of each picture, if it is a folder) and from the
    preprocessing, so that a changed video or another input size never meets old frames. A file holds the frames that
    were asked for so far; it is replaced as a whole when others are added.

    Args:
        folder: created if absent.
        preprocess: size and resize of the frames.
    """

    def __init__(self, folder: Path, preprocess: PreprocessSpec) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: the frame cache cannot be created: {error.strerror}") from error
        self.folder = folder
        self.preprocess = preprocess

    def _file(self, video: Path) -> Path:
        files = sorted(video.iterdir()) if video.is_dir() else [video]
        states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        spec = [self.preprocess.height, self.preprocess.width, self.preprocess.resize]
        identity = json.dumps([str(video.resolve()), states, spec])
        return self.folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.frames"

    def find(self, video: Path) -> StoredFrames | None:
        """What is held of a video; None if nothing is.

        Raises:
            VideoError: if there is no such video.
        """
        if not video.exists():
            with open_video(video):  # says what is wrong
                pass
        return _read_stored(self._file(video))

    def bring(self, video: Path, wanted: Callable[[NDArray[np.float64]], NDArray[np.int64]]) -> StoredFrames:
        """Decode frames that are not held yet, in one pass, and hold them too.

        Args:
            video: file or folder of frames.
            wanted: times in seconds (N,) to the numbers of the frames that are needed, in any order.

        Raises:
            VideoError: if the video cannot be decoded.
            OutputError: if the cache cannot be written.
        """
        held = self.find(video)
        with open_video(video, num_threads=_decoder_threads()) as opened:
            times = np.asarray(opened.times(np.arange(opened.num_frames)), dtype=np.float64)
            before = np.zeros(0, np.int64) if held is None else held.numbers
            numbers = np.union1d(before, wanted(times)).astype(np.int64)
            frames = np.empty((len(numbers), self.preprocess.height, self.preprocess.width, 3), dtype=np.uint8)
            if held is not None:
                frames[np.searchsorted(numbers, before)] = held.frames
            new = np.setdiff1d(numbers, before)
            for first in range(0, len(new), _CHUNK):
                chunk = new[first : first + _CHUNK]
                frames[np.searchsorted(numbers, chunk)] = read_frames(opened, chunk, self.preprocess)
        with replace_file(self._file(video)) as file:
            for array in (times, numbers, frames):
                np.save(file, array)
        return StoredFrames(times=times, numbers=numbers, frames=frames)


def _read_stored(path: Path) -> StoredFrames | None:
    """The arrays of a file of the cache, the last one mapped; None if there is no file."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        times, numbers = np.load(file), np.load(file)
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        frames = np.memmap(file, dtype=dtype, mode="r", offset=file.tell(), shape=shape)
    return StoredFrames(times=times, numbers=numbers, frames=frames)


def _decoder_threads() -> int:
    """One in a worker process, as the workers share the cores already; else as many as the decoder takes."""
    return 0 if get_worker_info() is None else 1


class ClipDataset(Dataset[tuple[Tensor, Tensor, int]]):
    """Videos of a manifest as random clips.

    An item is asked for by (epoch, index) and depends on nothing but that and the seed, so that neither the number of
    workers, nor the number of processes, nor an interruption changes what is seen.

    Args:
        clips: entries of the manifest.
        num_frames: T.
        preprocess: size and resize of the frames.
        augment: strengths of the augmentation, whose parameters are drawn here.
        seed: of the run.
        cache: where decoded frames are kept, or None.
        epochs: of the run; a video's frames for all of them come into the cache in one pass. 0 brings every frame.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        num_frames: int,
        preprocess: PreprocessSpec,
        augment: AugmentConfig,
        seed: int,
        cache: FrameCache | None = None,
        epochs: int = 0,
    ) -> None:
        self.clips = clips
        self.num_frames = num_frames
        self.preprocess = preprocess
        self.augment = augment
        self.seed = seed
        self.cache = cache
        self.epochs = epochs

    def __len__(self) -> int:
        return len(self.clips)

    def _draw(
        self, clip: Clip, times: NDArray[np.float64], epoch: int, index: int
    ) -> tuple[NDArray[np.int64], np.random.Generator]:
        """The clip's frames in that epoch, and the source of what else is drawn for it."""
        rng = np.random.default_rng([self.seed, epoch, index])
        start, end = _restrict(times, clip)
        try:
            return start + segment_indices(end - start, self.num_frames, rng), rng
        except TooFewFramesError as error:
            raise TooFewFramesError(error.num_frames, error.needed, str(clip.video)) from error

    def _wanted(self, clip: Clip, times: NDArray[np.float64], epoch: int, index: int) -> NDArray[np.int64]:
        """The clip's frames in that epoch and in all others of the run; every frame where that is most of them."""
        epochs = {epoch, *range(self.epochs)}
        drawn = np.unique([self._draw(clip, times, each, index)[0] for each in epochs])
        return drawn if self.epochs and 2 * len(drawn) <= len(times) else np.arange(len(times))

    def _cached(self, cache: FrameCache, epoch: int, index: int) -> tuple[NDArray[np.uint8], np.random.Generator]:
        clip = self.clips[index]
        stored = cache.find(clip.video)
        if stored is not None:
            numbers, rng = self._draw(clip, stored.times, epoch, index)
        if stored is None or not stored.holds(numbers):
            stored = cache.bring(clip.video, lambda times: self._wanted(clip, times, epoch, index))
            numbers, rng = self._draw(clip, stored.times, epoch, index)
        return stored.take(numbers), rng

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, Tensor, int]:
        """Frames uint8 (T, H, W, 3), augmentation parameters float64 (P,), and the index.

        Raises:
            VideoError: if the video cannot be used; names it.
        """
        epoch, index = item
        clip = self.clips[index]
        if self.cache is not None:
            frames, rng = self._cached(self.cache, epoch, index)
        else:
            with open_video(clip.video, num_threads=_decoder_threads()) as video:
                times = np.asarray(video.times(np.arange(video.num_frames)), dtype=np.float64)
                numbers, rng = self._draw(clip, times, epoch, index)
                frames = read_frames(video, numbers, self.preprocess)
        return torch.from_numpy(frames), torch.from_numpy(draw_parameters(rng, self.augment)), index

    def __getitems__(self, items: Sequence[tuple[int, int]]) -> list[tuple[Tensor, Tensor, int]] | WeakSVRError:
        """The items of a batch; in a worker process an error is returned, for `batches_of` to raise.

        What a worker raises reaches the main process as a traceback in the text of another error.
        """
        try:
            return [self[item] for item in items]
        except WeakSVRError as error:
            if get_worker_info() is None:
                raise
            kind = VideoError if isinstance(error, VideoError) else type(error)
            return kind(str(error))


def collate_clips(items: list[tuple[Tensor, Tensor, int]] | WeakSVRError) -> Batch | WeakSVRError:
    """Stack the items of a batch; an error passes through."""
    if isinstance(items, WeakSVRError):
        return items
    frames, parameters, indices = default_collate(items)
    return frames, parameters, indices


def batches_of(loader: Iterable[Batch | WeakSVRError]) -> Iterator[Batch]:
    """The batches of an epoch. Raises the error that a worker process met."""
    for batch in loader:
        if isinstance(batch, WeakSVRError):
            raise batch
        yield batch


class EpochSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) for one process out of several.

    The order of an epoch is a permutation seeded by (seed, epoch). A step's joint batch is a run of B x world entries
    of it, of which each process takes its B, so that the joint batches do not depend on the number of processes as
    long as B x world stays the same. What does not fill a joint batch is left out of that epoch.

    Args:
        num_clips: videos there are.
        batch_size: B of one process.
        samples_per_epoch: videos drawn an epoch; 0 for all.
        seed: of the run.
        rank, world: this process and how many there are.

    Raises:
        DataError: if there are too few videos to contrast.
    """

    def __init__(
        self, num_clips: int, *, batch_size: int, samples_per_epoch: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        drawn = min(samples_per_epoch or num_clips, num_clips)
        if drawn < 2 * world:
            raise DataError(
                f"{drawn} training videos an epoch are too few to contrast; at least {2 * world} are needed"
            )
        self.num_clips = num_clips
        self.seed = seed
        self.rank = rank
        self.batch_size = min(batch_size, drawn // world)
        self.joint = self.batch_size * world
        self.num_batches = drawn // self.joint
        self.epoch = 0

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.num_clips)
        for batch in range(self.num_batches):
            first = batch * self.joint + self.rank * self.batch_size
            yield [(self.epoch, int(index)) for index in order[first : first + self.batch_size]]


class PairSampler(EpochSampler):
    """As `EpochSampler`, but of pairs of videos that show the same procedure: B first videos, then their B partners.

    Args:
        labels: int64 (videos,); equal for videos of one procedure.
        batch_size: B, pairs of one process.
        samples_per_epoch: pairs drawn an epoch without replacement; 0 for as many as there are videos.
        seed: of the run.
        rank, world: this process and how many there are.

    Raises:
        DataError: if there are too few pairs.
    """

    def __init__(
        self, labels: Tensor, *, batch_size: int, samples_per_epoch: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        same = torch.nonzero(torch.triu(labels[:, None] == labels[None, :], diagonal=1))
        if len(same) < 2 * world:
            raise DataError(
                f"{len(same)} pairs of training videos show the same procedure; data.pairs needs at least {2 * world}: "
                "name `procedure` in train.jsonl, or train without pairs"
            )
        super().__init__(
            len(same),
            batch_size=batch_size,
            samples_per_epoch=samples_per_epoch or len(labels),
            seed=seed,
            rank=rank,
            world=world,
        )
        self.same = same.numpy()

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for batch in super().__iter__():
            rows = [row for _, row in batch]
            turned = np.random.default_rng([self.seed, self.epoch, rows[0], 3]).random(len(rows)) < 0.5
            chosen = np.where(turned[:, None], self.same[rows, ::-1], self.same[rows])
            yield [(self.epoch, int(index)) for index in chosen.T.ravel()]
