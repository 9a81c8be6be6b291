"""Embeddings as a stage of somebody else's data pipeline: a column of paths goes in, columns of embeddings come out.

Made for the `map_batches` of Ray Data, which runs one object of this class in each of its workers:

    ray.data.read_csv("videos.csv").map_batches(
        EmbedStage,
        fn_constructor_kwargs={"num_threads": 2},
        batch_size=16,
        num_cpus=2,
        compute=ray.data.ActorPoolStrategy(size=4),
    ).write_parquet("embeddings")

It asks nothing of Ray, and fits whatever hands over dictionaries of arrays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backends.ort import Device
from .embedding_table import path_text
from .errors import OptionError
from .identity import dimensions_of
from .pipeline import StreamedVideo, embed_stream
from .verify import load

__all__ = ["EmbedStage"]


class EmbedStage:
    """Embeds the videos of a batch, several at a time.

    Args:
        bundle, device, precision: see `verify.load`.
        num_threads: videos that are worked on at a time, each by one thread; give it the CPUs of the worker.
        column: in which the paths are.
        frames: also give the frames' features, float32 (B, V * T, D).

    Raises:
        OptionError: if an option cannot be meant.
        BundleError: if the bundle cannot be used.
        DeviceError: if the device or the precision is not available.
        MissingExtraError: if ONNX Runtime is not installed.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str] | None = None,
        *,
        device: Device = "auto",
        precision: str = "auto",
        num_threads: int = 1,
        column: str = "video",
        frames: bool = False,
    ) -> None:
        if num_threads < 1:
            raise OptionError(f"{num_threads = } must be at least 1")
        self._model = load(bundle, device=device, precision=precision, num_threads=1)
        self._workers = num_threads
        self._column = column
        self._frames = frames
        sampling = self._model.embedder.sampling
        dimensions = dimensions_of(self._model)
        self._shapes = {
            "vector": (dimensions,),
            "frame_features": (sampling.num_views * sampling.num_frames, dimensions),
        }

    def __call__(self, batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Embed the B videos of a batch.

        Args:
            batch: arrays of B rows; `column` holds paths.

        Returns:
            The batch's own columns, and, in place of any of the same names, `vector` float32 (B, D), `num_frames`
            int64 (B,), `duration_seconds` float64 (B,), `error` (B,) texts, and `frame_features` if asked for. Where
            `error` is not empty, the numbers are NaN, and `num_frames` is 0.

        Raises:
            OptionError: if there is no such column.
            BundleError: if a network cannot be loaded or run.
            DeviceError: if the GPU fails.
        """
        if self._column not in batch:
            raise OptionError(f"the batch has no column {self._column!r}; it has {', '.join(batch)}")
        paths = [str(path) for path in batch[self._column]]
        videos = list(embed_stream(self._model.embedder, paths, workers=self._workers))
        columns: dict[str, NDArray[Any]] = {
            "vector": self._stacked("vector", videos),
            "num_frames": np.array([video.num_frames or 0 for video in videos], np.int64),
            "duration_seconds": np.array(
                [np.nan if video.duration_seconds is None else video.duration_seconds for video in videos], np.float64
            ),
            "error": np.array(["" if video.error is None else path_text(str(video.error)) for video in videos], object),
        }
        if self._frames:
            columns["frame_features"] = self._stacked("frame_features", videos)
        return {**batch, **columns}

    def _stacked(self, name: str, videos: Sequence[StreamedVideo]) -> NDArray[np.float32]:
        """What the embeddings hold under `name`, (B, ...); NaN for those that are not there."""
        values = np.full((len(videos), *self._shapes[name]), np.nan, np.float32)
        for row, video in enumerate(videos):
            if video.embedding is not None:
                values[row] = getattr(video.embedding, name)
        return values
