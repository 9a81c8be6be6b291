"""Videos into a gallery, and out of it: by a video that is like them, or by a script that they follow."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .alignment import alignment_distance, vector_distance
from .embedder import VideoEmbedding
from .errors import DataError, OptionError, VideoError
from .gallery import Entry, Gallery, GalleryKey
from .identity import content_hash, dimensions_of
from .pipeline import StreamedVideo, embed_stream
from .script import Script
from .script_score import paragraph_scores, script_scores
from .spec import METHODS, Method
from .verify import check_direction

if TYPE_CHECKING:
    from .verify import Model

__all__ = ["GalleryAdded", "GalleryHit", "GalleryHits", "add_videos", "entry_to_dict", "gallery_key", "search_gallery"]

ADD_SCHEMA: Final = "weaksvr.gallery-add/1"
SEARCH_SCHEMA: Final = "weaksvr.gallery-search/1"
CANDIDATES: Final = 100
VIDEOS_AT_A_TIME: Final = 256
NOTHING: Final[Mapping[str, str]] = {}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GalleryAdded:
    """What an addition has done.

    Attributes:
        gallery: its folder or address.
        added: videos that are new in it.
        duplicates: videos whose content was there already, or was given twice.
        failures: (path, error) of each video that could not be added.
        size: videos in the gallery now.
    """

    gallery: str
    added: int
    duplicates: tuple[str, ...]
    failures: tuple[tuple[str, str], ...]
    size: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": ADD_SCHEMA,
            "gallery": self.gallery,
            "added": self.added,
            "duplicates": list(self.duplicates),
            "failures": [{"video": video, "error": error} for video, error in self.failures],
            "size": self.size,
        }


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GalleryHit:
    """One video that was found.

    Attributes:
        rank: 1 is the best.
        entry: what the gallery knows of it.
        distance: from the video that was asked for, by `GalleryHits.method`, as `Model.verify` gives it; None if a
            script was.
        score: for the script that was asked for, as `Model.match` gives it; None if a video was.
    """

    rank: int
    entry: Entry
    distance: float | None
    score: float | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "rank": self.rank,
            "distance": self.distance,
            "score": self.score,
            **entry_to_dict(self.entry),
        }


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GalleryHits:
    """What a search found.

    Attributes:
        gallery: its folder or address.
        hits: best first.
        method: how the hits were compared.
        exact: whether all vectors were compared; if not, an index may have missed some.
        candidates: nearest vectors that `alignment` had a closer look at; None for `vector`.
        size: videos in the gallery.
        notes: what a user should know of the video that was asked for.
    """

    gallery: str
    hits: tuple[GalleryHit, ...]
    method: Method
    exact: bool
    candidates: int | None
    size: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        hits = [hit.to_dict() for hit in self.hits]
        return {"schema": SEARCH_SCHEMA, **data, "hits": hits, "notes": list(self.notes)}


def entry_to_dict(entry: Entry) -> dict[str, Any]:
    """What people want to know of an entry: all but its numbers."""
    return {
        "video": entry.video,
        "content": entry.content,
        "metadata": dict(entry.metadata),
        "duration_seconds": entry.duration_seconds,
    }


def gallery_key(model: Model) -> GalleryKey:
    """What the vectors of a loaded model have in common. Raises `BundleError`."""
    manifest, sampling = model.bundle.manifest, model.embedder.sampling
    return GalleryKey(
        embedding_id=manifest.embedding_id(model.backend.precision, sampling),
        dimensions=dimensions_of(model),
        bundle=manifest.name,
        precision=model.backend.precision,
        sampling=sampling.key,
    )


def add_videos(
    gallery: Gallery,
    model: Model,
    videos: Iterable[str | os.PathLike[str]],
    *,
    metadata: Mapping[str, str] = NOTHING,
    frames: bool = False,
    workers: int = 1,
    report: Callable[[StreamedVideo], None] | None = None,
) -> GalleryAdded:
    """Embed the videos that a gallery does not hold yet, and add them.

    What has the same content as a video of the gallery is left out, whatever it is called; it is not embedded again. A
    video that cannot be used is one of the `failures`; the others are added.

    Args:
        gallery: made with `gallery_key(model)`.
        model: that embeds.
        videos: files and folders of frames.
        metadata: of all these videos.
        frames: also keep the features of frames, T x D numbers a video, which `alignment` needs.
        workers: videos that are embedded at a time, see `pipeline.plan_threads`.
        report: called after each video that was embedded or failed.

    Raises:
        OptionError: if metadata cannot be meant.
        DataError: if the gallery comes from another model, or cannot be written.
        BundleError: if a network cannot be loaded or run.
        DeviceError: if the GPU fails.
    """
    _check_model(gallery, model)
    given = iter(os.fsdecode(video) for video in videos)
    seen: set[str] = set()
    duplicates: list[str] = []
    failures: list[tuple[str, str]] = []
    added = 0
    while part := list(itertools.islice(given, VIDEOS_AT_A_TIME)):
        contents = list(_hashed(part))
        seen |= gallery.known([content for _, content in contents if isinstance(content, str)])
        todo: dict[str, str] = {}
        broken: list[StreamedVideo] = []
        for video, content in contents:
            if isinstance(content, VideoError):
                broken.append(StreamedVideo(path=video, error=content))
            elif content in seen:
                duplicates.append(video)
            else:
                seen.add(content)
                todo[video] = content
        entries = []
        for result in itertools.chain(broken, _embedded(model, list(todo), workers=workers)):
            if result.embedding is None:
                failures.append((result.path, str(result.error)))
            else:
                entries.append(_entry(result, result.embedding, todo[result.path], metadata, frames=frames))
            if report is not None:
                report(result)
        added += gallery.add(entries)
    if added:
        gallery.optimize()
    return GalleryAdded(
        gallery=gallery.uri, added=added, duplicates=tuple(duplicates), failures=tuple(failures), size=len(gallery)
    )


def search_gallery(
    gallery: Gallery,
    model: Model,
    query: str | os.PathLike[str] | VideoEmbedding | Script,
    *,
    method: Method = "vector",
    top: int = 10,
    candidates: int = CANDIDATES,
    where: Mapping[str, str] = NOTHING,
    exact: bool = False,
) -> GalleryHits:
    """The videos of a gallery that are most like a video, or follow a script best.

    Args:
        gallery: made with the same model.
        model: embeds the query.
        query: a video file, a folder of frames, an embedding of the same model, or a script.
        method: `vector` takes the nearest vectors. `alignment` has a closer look at the nearest ones, frame by frame
            (for a script, step by step), and orders them anew; it needs the features of frames.
        top: videos to return.
        candidates: nearest vectors that `alignment` looks at.
        where: metadata that videos must have.
        exact: compare all vectors, also where there is an index.

    Raises:
        OptionError: if an option cannot be meant.
        DataError: if the gallery comes from another model, cannot be read, or lacks features of frames.
        VideoError: if the query is a video that cannot be used.
        BundleError: if a network is missing, or cannot be run.
    """
    _check_model(gallery, model)
    if method not in METHODS:
        raise OptionError(f"method {method!r} is not known; use one of {', '.join(METHODS)}")
    if top < 1 or candidates < 1:
        raise OptionError(f"{top = } and {candidates = } must be at least 1")
    close = method == "alignment"
    most = max(top, candidates) if close else top
    embedded: VideoEmbedding | None = None
    if isinstance(query, Script):
        text = model.embed_text(query.texts)
        vector = text.paragraph_feature
    else:
        embedded = query if isinstance(query, VideoEmbedding) else model.embed(query)
        check_direction(embedded, method=method)
        vector = embedded.vector
    found = gallery.nearest(vector, top=most, where=where, exact=exact, frames=close)
    videos = [_embedding_of(entry, gallery.uri, frames=close) for entry in found.entries]
    if embedded is not None:
        values = np.array([_distance(embedded, video, method) for video in videos])
    elif close:
        values = -script_scores(videos, text)[0]
    else:
        values = -paragraph_scores([video.vector for video in videos], vector) if videos else np.empty(0)
    hits = tuple(
        GalleryHit(
            rank=rank,
            entry=dataclasses.replace(found.entries[row], frame_features=None),
            distance=None if embedded is None else float(values[row]),
            score=None if embedded is not None else float(-values[row]),
        )
        for rank, row in enumerate(np.argsort(values, kind="stable")[:top], start=1)
    )
    return GalleryHits(
        gallery=gallery.uri,
        hits=hits,
        method=method,
        exact=found.exact,
        candidates=len(videos) if close else None,
        size=len(gallery),
        notes=() if embedded is None else embedded.notes,
    )


def _check_model(gallery: Gallery, model: Model) -> None:
    key = gallery_key(model)
    if key.embedding_id != gallery.key.embedding_id:
        raise DataError(f"{gallery.uri}: holds embeddings of another model ({gallery.key.bundle}); use that one")


def _hashed(videos: Sequence[str]) -> Iterator[tuple[str, str | VideoError]]:
    for video in videos:
        try:
            yield video, content_hash(video)
        except VideoError as error:
            yield video, error


def _embedded(model: Model, videos: Sequence[str], *, workers: int) -> Iterator[StreamedVideo]:
    """The embeddings, each with a direction, or errors."""
    if not videos:
        return
    with contextlib.closing(embed_stream(model.embedder, videos, workers=workers)) as results:
        for result in results:
            try:
                if result.embedding is not None:
                    for method in METHODS:
                        check_direction(result.embedding, method=method)
            except VideoError as error:
                yield StreamedVideo(path=result.path, error=error)
            else:
                yield result


def _entry(
    video: StreamedVideo, embedding: VideoEmbedding, content: str, metadata: Mapping[str, str], *, frames: bool
) -> Entry:
    return Entry(
        content=content,
        video=video.path,
        vector=embedding.vector,
        frame_features=embedding.frame_features if frames else None,
        metadata=metadata,
        duration_seconds=video.duration_seconds,
    )


def _embedding_of(entry: Entry, uri: str, *, frames: bool) -> VideoEmbedding:
    features = entry.frame_features
    if features is None:
        if frames:
            raise DataError(
                f"{uri}: holds no features of the frames of {entry.video}; add it with --frames, or use --method vector"
            )
        features = np.empty((0, len(entry.vector)), np.float32)
    return VideoEmbedding(
        path=entry.video,
        vector=entry.vector,
        frame_features=features,
        indices=np.arange(len(features)),
        times_seconds=np.zeros(len(features)),
    )


def _distance(a: VideoEmbedding, b: VideoEmbedding, method: Method) -> float:
    if method == "vector":
        return vector_distance(a.vector, b.vector)
    return alignment_distance(a.frame_features, b.frame_features)
