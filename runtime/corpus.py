"""A corpus of videos to one Parquet file of embeddings; a run that was stopped goes on where it was."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from .embedding_store import EmbeddingStore, signature_of
from .embedding_table import Signature, TableLayout, import_pyarrow
from .errors import OptionError
from .identity import ModelIdentity, dimensions_of, identity_of
from .pipeline import StreamedVideo, embed_stream
from .verify import Model

__all__ = ["CorpusProgress", "CorpusResult", "embed_corpus"]

SCHEMA: Final = "weaksvr.embed/1"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CorpusProgress:
    """How far a run is.

    Attributes:
        total: videos in all.
        reused: of these, embedded by an earlier run.
        embedded, failed: by this one, so far.
        failure: what is wrong with the video that was just finished; empty if nothing is.
        notes: what a user should know; when the run begins.
    """

    total: int
    reused: int
    embedded: int = 0
    failed: int = 0
    failure: str = ""
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CorpusResult:
    """What a run has done.

    Attributes:
        out: the file.
        videos: rows in it: `embedded` by this run, `reused` from earlier ones, and `failures`.
        failures: (path, error) of each video that could not be embedded.
        seconds: that embedding took, loading left out.
        device, provider: what the networks ran on, as in effect.
        model: what the embeddings depend on.
        workers: videos that were worked on at a time, and `num_threads` of each.
        notes: what a user should know.
    """

    out: str
    videos: int
    embedded: int
    reused: int
    failures: tuple[tuple[str, str], ...]
    seconds: float
    device: str
    provider: str
    model: ModelIdentity
    workers: int
    num_threads: int
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        failures = [{"video": video, "error": error} for video, error in self.failures]
        return {
            "schema": SCHEMA,
            **data,
            "failed": len(failures),
            "failures": failures,
            "model": self.model.to_json(),
            "notes": list(self.notes),
        }


def embed_corpus(
    model: Model,
    videos: Sequence[str],
    out: str | os.PathLike[str],
    *,
    workers: int,
    frames: bool = False,
    fresh: bool = False,
    report: Callable[[CorpusProgress], None] | None = None,
) -> CorpusResult:
    """Embed videos into one Parquet file, one row a video, in their order.

    A video that cannot be embedded is a row with its error. While the run goes on, `out` stays as it was, and what is
    done is kept in the folder OUT.part: the next run with the same model reuses it, and also the rows of a finished
    `out`, for videos whose size and time of the last change are the same.

    Args:
        model: loaded with as many threads as `pipeline.plan_threads` says.
        videos: files and folders of frames, each once.
        out: the file; of its own kind it is replaced.
        workers: videos that are worked on at a time, as `pipeline.plan_threads` says.
        frames: also write the frames' features, T x D numbers a video.
        fresh: embed everything anew.
        report: called at the start and after each video.

    Raises:
        MissingExtraError: if PyArrow is not installed.
        OptionError: if there are no videos, or `workers` is not at least 1.
        BundleError: if a network cannot be loaded or run.
        DeviceError: if the GPU fails.
        OutputError: if `out` cannot be written.
    """
    import_pyarrow()
    if not videos:
        raise OptionError("there are no videos to embed")
    layout = TableLayout(
        identity=identity_of(model), dimensions=dimensions_of(model), frames=frames, folder=str(Path.cwd())
    )
    sampling = model.embedder.sampling
    rows = layout.rows_at_a_time(sampling.num_views * sampling.num_frames)
    failures: list[tuple[str, str]] = []
    with EmbeddingStore(Path(out), layout, rows_at_a_time=rows, fresh=fresh) as store:
        todo = [video for video in videos if not store.reuse(video)]
        notes = (*model.backend.notes, *store.notes)
        progress = CorpusProgress(total=len(videos), reused=len(videos) - len(todo), notes=notes)
        if report is not None:
            report(progress)
        began = time.monotonic()
        with contextlib.closing(_embedded(model, todo, workers=workers)) as results:
            for video, signature in results:
                store.add(video, signature)
                failure = "" if video.error is None else str(video.error)
                if failure:
                    failures.append((video.path, failure))
                embedded = progress.embedded + (not failure)
                progress = dataclasses.replace(
                    progress, embedded=embedded, failed=len(failures), failure=failure, notes=()
                )
                if report is not None:
                    report(progress)
        seconds = time.monotonic() - began
        store.finish(videos)
    return CorpusResult(
        out=os.fsdecode(out),
        videos=len(videos),
        embedded=progress.embedded,
        reused=progress.reused,
        failures=tuple(failures),
        seconds=seconds,
        device=model.backend.device,
        provider=model.backend.provider,
        model=layout.identity,
        workers=workers,
        num_threads=model.backend.num_threads,
        notes=notes,
    )


def _embedded(
    model: Model, videos: Sequence[str], *, workers: int
) -> Generator[tuple[StreamedVideo, Signature | None]]:
    """The videos with their signatures, taken before they are read: a later change makes them differ."""
    signatures: dict[str, Signature | None] = {}

    def signed() -> Iterator[str]:
        for video in videos:
            signatures[video] = signature_of(Path(video))
            yield video

    if not videos:
        return  # the networks need not even be loaded
    with contextlib.closing(embed_stream(model.embedder, signed(), workers=workers)) as results:
        for result in results:
            yield result, signatures.pop(result.path)
