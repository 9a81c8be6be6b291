"""Which videos follow a script? Many videos ranked for one script or for many."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from .embedder import TextEmbedding, VideoEmbedding
from .errors import DataError, OptionError, VideoError
from .pipeline import StreamedVideo, embed_stream
from .script import Script, read_script
from .script_score import MATCH_METHOD, script_scores
from .spec import METHODS, Method
from .stored_embeddings import STORED_SUFFIX, StoredEmbeddings
from .verify import check_direction

if TYPE_CHECKING:
    from .verify import Model

__all__ = ["MatchResult", "MatchedVideo", "ScriptMatch", "match_videos", "read_scripts"]

SCHEMA: Final = "weaksvr.match/1"
SCRIPT_SUFFIX: Final = ".txt"
VIDEOS_AT_A_TIME: Final = 64

Video = str | os.PathLike[str] | VideoEmbedding
ScriptLike = Script | str | os.PathLike[str]
Report = Callable[[StreamedVideo], None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MatchedVideo:
    """One video in the ranking for a script.

    Attributes:
        video: path.
        rank: 1 is the best; equal scores stand in the order in which the videos were given.
        score: in [-1, 1], larger is better; see `script_score.script_scores`.
        step_scores: of the script's K steps, each in its place; None for method `vector`.
        notes: what a user should know of the video, e.g. that it is partly damaged.
    """

    video: str
    rank: int
    score: float
    step_scores: tuple[float, ...] | None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        steps = None if self.step_scores is None else list(self.step_scores)
        return {
            "video": self.video,
            "rank": self.rank,
            "score": self.score,
            "step_scores": steps,
            "notes": list(self.notes),
        }


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ScriptMatch:
    """The ranking for one script.

    Attributes:
        script: path of its file, empty if there is none.
        steps: its K steps.
        videos: best first; only the first ones if so many were asked for.
    """

    script: str
    steps: tuple[str, ...]
    videos: tuple[MatchedVideo, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "script": self.script,
            "steps": list(self.steps),
            "videos": [video.to_dict() for video in self.videos],
        }


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MatchResult:
    """Videos ranked for scripts.

    Attributes:
        scripts: the ranking for each script, in the order in which they were given.
        num_videos: how many were ranked.
        failures: (path, error) of each video that could not be.
        method: how videos were compared with scripts.
        device, provider, precision: what the networks ran on, as in effect.
        sampling: key of the sampling that was used.
        bundle: name of the model.
        notes: what a user should know.
    """

    scripts: tuple[ScriptMatch, ...]
    num_videos: int
    failures: tuple[tuple[str, str], ...]
    method: Method
    device: str
    provider: str
    precision: str
    sampling: str
    bundle: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            "schema": SCHEMA,
            **data,
            "scripts": [script.to_dict() for script in self.scripts],
            "failures": [{"video": video, "error": error} for video, error in self.failures],
            "notes": list(self.notes),
        }


def match_videos(
    model: Model,
    scripts: ScriptLike | Sequence[ScriptLike],
    videos: Iterable[Video],
    *,
    method: Method | None = None,
    top: int | None = None,
    workers: int = 1,
    report: Report | None = None,
) -> MatchResult:
    """Rank videos for each of some scripts; each video is embedded once.

    A video that cannot be used is one of the `failures`, and the others are ranked.

    Args:
        model: a loaded bundle with a text network.
        scripts: one script or several, read ones or paths of their files.
        videos: files, folders of frames, embeddings of the same model, and files of embeddings (`*.parquet`) that
            `weaksvr-embed` wrote with it.
        method: `alignment` (the steps in order over the frames) or `vector` (the whole text, as published); None is
            the better one, `alignment`.
        top: videos to keep for each script; None keeps all.
        workers: videos that are embedded at a time, see `pipeline.plan_threads`.
        report: called after each video, in their order.

    Raises:
        OptionError: if there is no script or video, or an option cannot be meant.
        DataError: if a script or a file of embeddings cannot be read, or the latter comes from another model.
        BundleError: if there is no text network, or a network cannot be loaded or run.
        DeviceError: if the GPU fails.
    """
    method = MATCH_METHOD if method is None else method
    if method not in METHODS:
        raise OptionError(f"method {method!r} is not known; use one of {', '.join(METHODS)}")
    if top is not None and top < 1:
        raise OptionError(f"{top = } must be at least 1")
    read = _read_all(scripts)
    given = [video if isinstance(video, VideoEmbedding) else os.fsdecode(video) for video in videos]
    if not given:
        raise OptionError("there are no videos to rank; give at least one")
    stored = _stored(model, given, method)
    ranking = _Ranking([model.embed_text(script.texts) for script in read], method)
    with contextlib.closing(_stream(model, given, stored, workers=workers)) as results:
        for result in results:
            checked = _checked(result, method)
            ranking.add(checked)
            if report is not None:
                report(checked)
    ranking.flush()
    return MatchResult(
        scripts=tuple(
            ScriptMatch(script=script.path, steps=script.texts, videos=ranking.best(row, top))
            for row, script in enumerate(read)
        ),
        num_videos=ranking.num_videos,
        failures=tuple(ranking.failures),
        method=method,
        device=model.backend.device,
        provider=model.backend.provider,
        precision=model.backend.precision,
        sampling=model.embedder.sampling.key,
        bundle=model.bundle.manifest.name,
        notes=tuple(model.backend.notes),
    )


def read_scripts(path: str | os.PathLike[str]) -> tuple[Script, ...]:
    """Read a script, or all scripts (`*.txt`) of a folder by name.

    Raises:
        DataError: if one cannot be read as such, or the folder holds none.
    """
    if not Path(path).is_dir():
        return (read_script(path),)
    try:
        files = sorted(file for file in Path(path).iterdir() if file.suffix == SCRIPT_SUFFIX)
    except OSError as error:
        raise DataError(f"{path}: the folder cannot be read: {error.strerror or error}") from error
    visible = [file for file in files if not file.name.startswith(".")]
    if not visible:
        raise DataError(f"{path}: holds no script; scripts in a folder are called *{SCRIPT_SUFFIX}")
    return tuple(read_script(file) for file in visible)


def _read_all(scripts: ScriptLike | Sequence[ScriptLike]) -> list[Script]:
    listed = [scripts] if isinstance(scripts, (Script, str, os.PathLike)) else list(scripts)
    if not listed:
        raise OptionError("there are no scripts; give at least one")
    return [script if isinstance(script, Script) else read_script(script) for script in listed]


def _stored(model: Model, given: Sequence[str | VideoEmbedding], method: Method) -> dict[str, StoredEmbeddings]:
    """The files of embeddings among the videos, opened before anything takes time."""
    paths = [video for video in given if isinstance(video, str) and video.endswith(STORED_SUFFIX)]
    return {path: StoredEmbeddings(path, model=model, frames=method == "alignment") for path in paths}


def _stream(
    model: Model, given: Sequence[str | VideoEmbedding], stored: dict[str, StoredEmbeddings], *, workers: int
) -> Generator[StreamedVideo]:
    """The videos in the order in which they were given; runs of those that are to be embedded go through together."""
    for kind, run in itertools.groupby(given, lambda video: isinstance(video, str) and video not in stored):
        if kind:
            paths = [str(video) for video in run]
            with contextlib.closing(embed_stream(model.embedder, paths, workers=workers)) as results:
                yield from results
            continue
        for video in run:
            if isinstance(video, VideoEmbedding):
                yield StreamedVideo(path=video.path, embedding=video)
            else:
                yield from stored[video]


def _checked(video: StreamedVideo, method: Method) -> StreamedVideo:
    """The video, or its failure if it cannot be compared."""
    if video.embedding is None:
        return video
    try:
        check_direction(video.embedding, method=method)
    except VideoError as error:
        return StreamedVideo(path=video.path, error=error)
    return video


class _Ranking:
    """The scores of the videos so far; embeddings are dropped as soon as they are compared."""

    def __init__(self, texts: Sequence[TextEmbedding], method: Method) -> None:
        self.failures: list[tuple[str, str]] = []
        self._texts = texts
        self._method = method
        self._names: list[tuple[str, tuple[str, ...]]] = []
        self._scores: list[list[NDArray[np.float64]]] = [[] for _ in texts]
        self._steps: list[list[NDArray[np.float64]]] = [[] for _ in texts]
        self._waiting: list[VideoEmbedding] = []

    @property
    def num_videos(self) -> int:
        return len(self._names)

    def add(self, video: StreamedVideo) -> None:
        if video.embedding is None:
            self.failures.append((video.path, str(video.error)))
            return
        self._names.append((video.path, video.embedding.notes))
        self._waiting.append(video.embedding)
        if len(self._waiting) >= VIDEOS_AT_A_TIME:
            self.flush()

    def flush(self) -> None:
        """Compare the videos that wait for it."""
        for row, text in enumerate(self._texts):
            scores, steps = script_scores(self._waiting, text, method=self._method)
            self._scores[row].append(scores)
            if steps is not None:
                self._steps[row].append(steps)
        self._waiting.clear()

    def best(self, row: int, top: int | None) -> tuple[MatchedVideo, ...]:
        """The ranking for one script."""
        scores = np.concatenate(self._scores[row])
        steps = np.concatenate(self._steps[row]) if self._steps[row] else None
        return tuple(
            MatchedVideo(
                video=self._names[index][0],
                rank=rank,
                score=float(scores[index]),
                step_scores=None if steps is None else tuple(steps[index].tolist()),
                notes=self._names[index][1],
            )
            for rank, index in enumerate(np.argsort(-scores, kind="stable")[:top], start=1)
        )
