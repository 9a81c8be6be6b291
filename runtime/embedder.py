"""From a video to its embedding, and from steps to theirs, through whatever backend runs the networks."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .backends import Backend
from .embedding_cache import EmbeddingCache, Lookup, StoredEmbedding
from .errors import BundleError, OptionError, TooFewFramesError
from .preprocess import normalize, read_frames
from .sampling import frame_indices
from .spec import PreprocessSpec, SamplingSpec
from .video import open_video
from .video_part import VideoPart

__all__ = ["Embedder", "SampledVideo", "TextEmbedding", "Tokenize", "VideoEmbedding", "restored"]

Tokenize = Callable[[Sequence[str]], NDArray[np.int64]]

CHUNK = 32  # rows that go through a tower at a time; bounds the memory, whatever the number of videos


def _describe(value: Any) -> str:
    """Arrays by dtype and shape, everything else as it is."""
    parts = []
    for field in dataclasses.fields(value):
        content = getattr(value, field.name)
        shown = f"{content.dtype} {content.shape}" if isinstance(content, np.ndarray) else repr(content)
        parts.append(f"{field.name}={shown}")
    return f"{type(value).__name__}({', '.join(parts)})"


def _check_shapes(value: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        found = getattr(value, name).shape
        if found != shape:
            raise OptionError(f"{type(value).__name__}: {name} has shape {found}, but must have {shape}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class SampledVideo:
    """The frames of a video that the networks see.

    Attributes:
        path: of the video, as it was given.
        frames: uint8 (V, T, H, W, 3), RGB, sized for the network.
        indices: int64 (V, T), numbers of the displayed frames.
        times_seconds: float64 (V, T), when they are displayed.
        num_frames: displayed frames of the whole video.
        duration_seconds: of the whole video.
        notes: what is wrong with the video, though every sampled frame could be decoded.
    """

    path: str
    frames: NDArray[np.uint8]
    indices: NDArray[np.int64]
    times_seconds: NDArray[np.float64]
    num_frames: int
    duration_seconds: float
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.indices.ndim != 2 or self.frames.ndim != 5 or self.frames.shape[4] != 3:
            shapes = f"{self.frames.shape} and {self.indices.shape}"
            raise OptionError(f"SampledVideo: frames and indices have shapes {shapes}, not (V, T, H, W, 3) and (V, T)")
        views = self.indices.shape
        _check_shapes(self, {"frames": (*views, *self.frames.shape[2:]), "times_seconds": views})

    __repr__ = _describe


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class VideoEmbedding:
    """What the networks say about a video.

    Attributes:
        path: of the video.
        vector: float32 (D,), v: the mean of the views' vectors, not normalised.
        frame_features: float32 (V * T, D), H: one row a sampled frame, in time order.
        indices: int64 (V * T,), ascending: the rows' frames.
        times_seconds: float64 (V * T,), when they are displayed.
        notes: of the `SampledVideo`.
    """

    path: str
    vector: NDArray[np.float32]
    frame_features: NDArray[np.float32]
    indices: NDArray[np.int64]
    times_seconds: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rows = (len(self.indices),)
        dimensions = self.frame_features.shape[1:]
        _check_shapes(self, {"indices": rows, "times_seconds": rows, "frame_features": (*rows, *dimensions)})
        _check_shapes(self, {"vector": dimensions})

    __repr__ = _describe


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class TextEmbedding:
    """What the text network says about a procedure.

    Attributes:
        steps: the K steps.
        sentence_features: float32 (K, D), one row a step.
        paragraph_feature: float32 (D,), of all steps joined by commas.
    """

    steps: tuple[str, ...]
    sentence_features: NDArray[np.float32]
    paragraph_feature: NDArray[np.float32]

    def __post_init__(self) -> None:
        dimensions = self.paragraph_feature.shape
        _check_shapes(self, {"sentence_features": (len(self.steps), *dimensions)})

    __repr__ = _describe


class Embedder:
    """Embeds videos and texts.

    Args:
        backend: runs the networks.
        sampling: which frames are taken.
        preprocess: what they are made into.
        tokenizer: turns N texts into tokens, int64 (N, L); None if there is no text network.
        decode_threads: threads that decode, shared by the videos that are read together; 0 leaves it to `open_video`.

    Attributes:
        cache: where embeddings are kept; None if they are not.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        sampling: SamplingSpec,
        preprocess: PreprocessSpec,
        tokenizer: Tokenize | None = None,
        decode_threads: int = 0,
    ) -> None:
        self.backend = backend
        self.sampling = sampling
        self.preprocess = preprocess
        self.tokenizer = tokenizer
        self.decode_threads = decode_threads
        self.cache: EmbeddingCache | None = None
        self._warm = False

    def read(
        self,
        path: str | os.PathLike[str],
        *,
        start: float | None = None,
        end: float | None = None,
        num_threads: int | None = None,
    ) -> SampledVideo:
        """Decode the sampled frames of a video, or of the part of it that is displayed in [start, end).

        Args:
            path: a video file, or a folder of frames.
            start: seconds; None is the beginning.
            end: seconds; None is the end.
            num_threads: threads that decode; None is the embedder's `decode_threads`.

        Raises:
            OptionError: if `start` and `end` do not bound a part.
            VideoError: if the video cannot be used.
        """
        wanted = VideoPart(path=os.fsdecode(path), start=start, end=end)
        with open_video(path, num_threads=self.decode_threads if num_threads is None else num_threads) as video:
            allowed = np.arange(video.num_frames, dtype=np.int64)
            if start is not None or end is not None:
                times = video.times(allowed)
                allowed = allowed[(times >= (start or 0)) & (times < (math.inf if end is None else end))]
            first = int(allowed[0]) if len(allowed) else 0  # frames are in the order of time, so the part is one run
            try:
                indices = first + frame_indices(
                    len(allowed), self.sampling, choose=lambda segments: video.cheapest(segments + first) - first
                )
            except TooFewFramesError as error:
                raise TooFewFramesError(error.num_frames, error.needed, str(wanted)) from None
            unique, inverse = np.unique(indices, return_inverse=True)
            frames = read_frames(video, unique, self.preprocess)[inverse.reshape(indices.shape)]
            return SampledVideo(
                path=wanted.path,
                frames=frames,
                indices=indices,
                times_seconds=video.times(indices.reshape(-1)).reshape(indices.shape),
                num_frames=video.num_frames,
                duration_seconds=video.duration_seconds,
                notes=tuple(video.damaged),
            )

    def read_together(self, paths: Sequence[str | os.PathLike[str] | VideoPart]) -> list[SampledVideo]:
        """`read` a few videos, or parts of them, at the same time, while the networks are loaded if they are not yet.

        All of them are in memory at the end; `pipeline.embed_stream` is for many.

        Raises:
            VideoError: if a video cannot be used; of several, the first one's.
            BundleError: if a network cannot be loaded or run.
            DeviceError: if the GPU fails.
        """
        from concurrent.futures import ThreadPoolExecutor

        if not paths:
            return []
        # A decoder that gets fewer threads than it could use is faster than two that fight for the same cores.
        each = max(1, self.decode_threads // len(paths)) if self.decode_threads else 0
        with ThreadPoolExecutor(len(paths), thread_name_prefix="weaksvr-read") as pool:
            reading = [
                pool.submit(self.read, part.path, start=part.start, end=part.end, num_threads=each)
                for part in map(VideoPart.of, paths)
            ]
            self.warm_up()
            return [video.result() for video in reading]

    def warm_up(self) -> None:
        """Load the networks of videos, and see that they run; does nothing the second time.

        Raises:
            BundleError: if a network cannot be loaded or run.
            DeviceError: if the GPU fails.
        """
        if self._warm:
            return
        size = self.preprocess
        pixels = np.zeros((1, 3, size.height, size.width), np.float32)
        features = self.backend.run("vision", {"frames": pixels})["features"]
        clip = np.broadcast_to(features, (1, self.sampling.num_frames, features.shape[1]))
        self.backend.run("temporal", {"features": clip})
        self._warm = True

    def embed(
        self, path: str | os.PathLike[str], *, start: float | None = None, end: float | None = None
    ) -> VideoEmbedding:
        """`read`, then `embed_sampled`, if the cache does not know the embedding. Raises as they do."""
        known = self.look(VideoPart(path=os.fsdecode(path), start=start, end=end))
        if known.found is not None:
            return restored(path, known.found)
        return self.embed_read(self.read(path, start=start, end=end), known)

    def embed_together(self, videos: Sequence[str | os.PathLike[str] | VideoPart]) -> list[VideoEmbedding]:
        """`read_together` and `embed_sampled`; with a cache only what it does not know. Raises as they do.

        With a cache each video is embedded alone: what is beside it in a batch changes its last digits,
        and what is kept must not depend on that.
        """
        if self.cache is None:
            return self.embed_sampled(self.read_together(videos))
        parts = [VideoPart.of(video) for video in videos]
        known = [self.look(part) for part in parts]
        missing = [part for part, looked in zip(parts, known, strict=True) if looked.found is None]
        read = iter(self.read_together(missing))
        return [
            self.embed_read(next(read), looked) if looked.found is None else restored(part.path, looked.found)
            for part, looked in zip(parts, known, strict=True)
        ]

    def look(self, part: VideoPart) -> Lookup:
        """What the cache knows of a video, or of a part of it; do it before the video is read."""
        if self.cache is None:
            return Lookup()
        whole = part.start is None and part.end is None
        span = None if whole else (part.start or 0.0, math.inf if part.end is None else part.end)
        return self.cache.look(part.path, part=span)

    def embed_read(self, video: SampledVideo, looked: Lookup) -> VideoEmbedding:
        """`embed_sampled` a video that was looked up in vain, and keep the embedding. Raises as it does."""
        embedding = self.embed_sampled(video)
        looked.keep(
            StoredEmbedding(
                vector=embedding.vector,
                frame_features=embedding.frame_features,
                indices=embedding.indices,
                times_seconds=embedding.times_seconds,
                num_frames=video.num_frames,
                duration_seconds=video.duration_seconds,
                notes=embedding.notes,
            )
        )
        return embedding

    @overload
    def embed_sampled(self, videos: SampledVideo) -> VideoEmbedding: ...
    @overload
    def embed_sampled(self, videos: Sequence[SampledVideo]) -> list[VideoEmbedding]: ...
    def embed_sampled(self, videos: SampledVideo | Sequence[SampledVideo]) -> VideoEmbedding | list[VideoEmbedding]:
        """Embed one video, or several that were sampled with the same plan as one batch.

        int8 takes one video after another: networks that find the range of their activations at run time find it over
        the whole batch, so what stands beside a video would change its embedding, and the verdicts that were gated.

        Raises:
            OptionError: if the videos' frames differ in number or size.
            BundleError: if a network computes something that is no number.
        """
        if isinstance(videos, SampledVideo):
            return self._embed_batch([videos])[0]
        shapes = {video.frames.shape for video in videos}
        if len(shapes) > 1:
            raise OptionError(f"videos of one batch must have frames of one shape, not {sorted(shapes)}")
        if self.backend.precision == "int8":
            return [self._embed_batch([video])[0] for video in videos]
        return self._embed_batch(videos) if videos else []

    def embed_text(self, steps: Sequence[str]) -> TextEmbedding:
        """Embed the steps of a procedure, each alone and all together.

        Args:
            steps: K texts.

        Raises:
            OptionError: if there is no step, or an empty one.
            BundleError: if there is no text network.
        """
        if isinstance(steps, str) or not steps or not all(step.strip() for step in steps):
            raise OptionError("steps must be a list of at least one step, none of them empty")
        if self.tokenizer is None:
            raise BundleError("the model has no text network; use one that was exported with it")
        tokens = self.tokenizer([*steps, ",".join(steps)])
        features = np.concatenate(
            [
                self.backend.run("text", {"tokens": tokens[row : row + CHUNK]})["text_features"]
                for row in range(0, len(tokens), CHUNK)
            ]
        )
        if not np.isfinite(features).all():
            raise self._no_numbers("text", "the steps")
        return TextEmbedding(steps=tuple(steps), sentence_features=features[:-1], paragraph_feature=features[-1])

    def _embed_batch(self, videos: Sequence[SampledVideo]) -> list[VideoEmbedding]:
        V, T = videos[0].indices.shape
        B = len(videos)
        features = self._tower(videos)  # (B * V * T, F)
        outputs = self.backend.run("temporal", {"features": features.reshape(B * V, T, -1)})
        frame_features = outputs["frame_features"].reshape(B, V * T, -1)
        views = outputs["video_vector"].reshape(B, V, -1)
        self._check_finite("temporal", videos, frame_features, views)
        return [
            _in_time_order(video, vector, rows)
            for video, vector, rows in zip(videos, views.mean(axis=1), frame_features, strict=True)
        ]

    def _tower(self, videos: Sequence[SampledVideo]) -> NDArray[np.float32]:
        """Features of the videos' frames, (B * V * T, F); a chunk may hold frames of several videos."""
        parts = [
            self.backend.run("vision", {"frames": normalize(frames, self.preprocess)})["features"]
            for frames in _chunks(videos)
        ]
        features = np.concatenate(parts)
        self._check_finite("vision", videos, features.reshape(len(videos), -1))
        return features

    def _check_finite(self, role: str, videos: Sequence[SampledVideo], *outputs: NDArray[np.float32]) -> None:
        """Raises `BundleError` with the first video whose row of the `outputs`, each (B, ...), holds no numbers."""
        for row, video in enumerate(videos):
            if not all(np.isfinite(values[row]).all() for values in outputs):
                raise self._no_numbers(role, video.path)

    def _no_numbers(self, role: str, what: str) -> BundleError:
        where = f"{self.backend.precision} on {self.backend.device}"
        return BundleError(f"{what}: the {role} network ({where}) computed values that are no numbers")


def restored(path: str | os.PathLike[str], stored: StoredEmbedding) -> VideoEmbedding:
    """The embedding of the video at `path` from what was kept of it."""
    return VideoEmbedding(
        path=os.fsdecode(path),
        vector=stored.vector,
        frame_features=stored.frame_features,
        indices=stored.indices,
        times_seconds=stored.times_seconds,
        notes=stored.notes,
    )


def _chunks(videos: Sequence[SampledVideo]) -> Iterator[NDArray[np.uint8]]:
    """The frames of all videos, one after another, as uint8 (at most CHUNK, H, W, 3)."""
    rows = [video.frames.reshape(-1, *video.frames.shape[2:]) for video in videos]
    each = len(rows[0])
    for start in range(0, each * len(rows), CHUNK):
        stop = start + CHUNK
        touched = range(start // each, min(len(rows), -(-stop // each)))
        parts = [rows[i][max(0, start - i * each) : stop - i * each] for i in touched]
        yield parts[0] if len(parts) == 1 else np.concatenate(parts)


def _in_time_order(
    video: SampledVideo, vector: NDArray[np.float32], frame_features: NDArray[np.float32]
) -> VideoEmbedding:
    order = np.argsort(video.indices, axis=None, kind="stable")
    return VideoEmbedding(
        path=video.path,
        vector=vector,
        frame_features=frame_features[order],
        indices=video.indices.reshape(-1)[order],
        times_seconds=video.times_seconds.reshape(-1)[order],
        notes=video.notes,
    )
