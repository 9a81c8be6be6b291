"""From a video to its embedding, and from steps to theirs, through whatever backend runs the networks."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .backends import Backend
from .errors import BundleError, OptionError, TooFewFramesError
from .preprocess import normalize, read_frames
from .sampling import frame_indices
from .spec import PreprocessSpec, SamplingSpec
from .video import open_video

__all__ = ["Embedder", "SampledVideo", "TextEmbedding", "Tokenize", "VideoEmbedding"]

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
    """

    def __init__(
        self,
        backend: Backend,
        *,
        sampling: SamplingSpec,
        preprocess: PreprocessSpec,
        tokenizer: Tokenize | None = None,
    ) -> None:
        self.backend = backend
        self.sampling = sampling
        self.preprocess = preprocess
        self.tokenizer = tokenizer

    def read(
        self, path: str | os.PathLike[str], *, start: float | None = None, end: float | None = None
    ) -> SampledVideo:
        """Decode the sampled frames of a video, or of the part of it that is displayed in [start, end).

        Args:
            path: a video file, or a folder of frames.
            start: seconds; None is the beginning.
            end: seconds; None is the end.

        Raises:
            OptionError: if `start` and `end` do not bound a part.
            VideoError: if the video cannot be used.
        """
        name = os.fsdecode(path)
        part = _part(start, end)
        with open_video(path) as video:
            allowed = np.arange(video.num_frames, dtype=np.int64)
            if part is not None:
                times = video.times(allowed)
                allowed = allowed[(times >= part[0]) & (times < part[1])]
                name = f"{name} from {part[0]:g} s" + (f" to {part[1]:g} s" if end is not None else "")
            try:
                indices = allowed[frame_indices(len(allowed), self.sampling)]
            except TooFewFramesError as error:
                raise TooFewFramesError(error.num_frames, error.needed, name) from None
            unique, inverse = np.unique(indices, return_inverse=True)
            frames = read_frames(video, unique, self.preprocess)[inverse.reshape(indices.shape)]
            return SampledVideo(
                path=os.fsdecode(path),
                frames=frames,
                indices=indices,
                times_seconds=video.times(indices.reshape(-1)).reshape(indices.shape),
                num_frames=video.num_frames,
                duration_seconds=video.duration_seconds,
                notes=tuple(video.damaged),
            )

    def embed(
        self, path: str | os.PathLike[str], *, start: float | None = None, end: float | None = None
    ) -> VideoEmbedding:
        """`read`, then `embed_sampled`. Raises as they do."""
        return self.embed_sampled(self.read(path, start=start, end=end))

    @overload
    def embed_sampled(self, videos: SampledVideo) -> VideoEmbedding: ...
    @overload
    def embed_sampled(self, videos: Sequence[SampledVideo]) -> list[VideoEmbedding]: ...
    def embed_sampled(self, videos: SampledVideo | Sequence[SampledVideo]) -> VideoEmbedding | list[VideoEmbedding]:
        """Embed one video, or several that were sampled with the same plan as one batch.

        Raises:
            OptionError: if the videos' frames differ in number or size.
            BundleError: if a network computes something that is no number.
        """
        if isinstance(videos, SampledVideo):
            return self._embed_batch([videos])[0]
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
                self._run("text", {"tokens": tokens[row : row + CHUNK]}, "the steps")["text_features"]
                for row in range(0, len(tokens), CHUNK)
            ]
        )
        return TextEmbedding(steps=tuple(steps), sentence_features=features[:-1], paragraph_feature=features[-1])

    def _embed_batch(self, videos: Sequence[SampledVideo]) -> list[VideoEmbedding]:
        shapes = {video.frames.shape for video in videos}
        if len(shapes) != 1:
            raise OptionError(f"videos of one batch must have frames of one shape, not {sorted(shapes)}")
        V, T = videos[0].indices.shape
        B = len(videos)
        names = ", ".join(video.path for video in videos)
        features = np.concatenate([self._tower(video) for video in videos])  # (B * V * T, F)
        outputs = self._run("temporal", {"features": features.reshape(B * V, T, -1)}, names)
        frame_features = outputs["frame_features"].reshape(B, V * T, -1)
        vectors = outputs["video_vector"].reshape(B, V, -1).mean(axis=1)
        return [
            _in_time_order(video, vector, rows)
            for video, vector, rows in zip(videos, vectors, frame_features, strict=True)
        ]

    def _tower(self, video: SampledVideo) -> NDArray[np.float32]:
        """Features of a video's frames, (V * T, F)."""
        frames = video.frames.reshape(-1, *video.frames.shape[2:])
        parts = []
        for row in range(0, len(frames), CHUNK):
            pixels = normalize(frames[row : row + CHUNK], self.preprocess)
            parts.append(self._run("vision", {"frames": pixels}, video.path)["features"])
        return np.concatenate(parts)

    def _run(self, role: str, inputs: Mapping[str, NDArray[Any]], what: str) -> dict[str, NDArray[Any]]:
        outputs = self.backend.run(role, inputs)
        if not all(np.isfinite(values).all() for values in outputs.values()):
            where = f"{self.backend.precision} on {self.backend.device}"
            raise BundleError(f"{what}: the {role} network ({where}) computed values that are no numbers")
        return outputs


def _part(start: float | None, end: float | None) -> tuple[float, float] | None:
    """The bounds in seconds, None if the whole video is meant."""
    if start is None and end is None:
        return None
    first = 0.0 if start is None else float(start)
    last = math.inf if end is None else float(end)
    if not (0 <= first < last and math.isfinite(first)):
        raise OptionError(f"{start = } and {end = } must be seconds with 0 <= start < end")
    return first, last


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
