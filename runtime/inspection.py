"""Many recordings against one approved procedure: which of them show it?"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

from .decision import Decision, Judge, Verdict
from .embedder import VideoEmbedding
from .errors import BundleError, OptionError, VideoError
from .identity import identity_of
from .pipeline import StreamedVideo, embed_stream
from .sampling_interval import interval_notes
from .spec import Method
from .storage import sha256_of
from .verify import Model, check_direction, distance
from .video_part import VideoPart

__all__ = ["Inspection", "References", "inspect"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """One recording against the references: a verdict, or what is wrong with the recording.

    Attributes:
        recording: path as it was given.
        start, end: the part that was looked at, in seconds; None is the video's own start or end.
        verdict: None if the recording could not be compared.
        reference: path of the nearest reference, the first one of several that are equally near.
        distance, threshold, margin, probability: as in `VerifyResult`, of the nearest reference.
        error: empty if all went well; all of the above is None otherwise.
        notes: what a user should know, e.g. why the verdict is undecided.
    """

    recording: str
    start: float | None = None
    end: float | None = None
    verdict: Verdict | None = None
    reference: str | None = None
    distance: float | None = None
    threshold: float | None = None
    margin: float | None = None
    probability: float | None = None
    error: str = ""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**data, "error": self.error or None, "notes": list(self.notes)}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class References:
    """An approved procedure: R >= 1 videos of it, embedded, and how recordings are judged by them.

    Attributes:
        parts: the videos, R.
        embeddings: of them, R.
        judge: the threshold and what the bundle knows of it.
        model: what embeds the recordings.
        notes: what a user should know about the references.
    """

    parts: tuple[VideoPart, ...]
    embeddings: tuple[VideoEmbedding, ...]
    judge: Judge
    model: Model
    notes: tuple[str, ...] = ()

    @classmethod
    def embed(
        cls,
        model: Model,
        references: Sequence[str | os.PathLike[str] | VideoPart],
        *,
        method: Method | None = None,
        threshold: float | None = None,
    ) -> References:
        """Embed the references.

        Raises:
            OptionError: if there is none, or the method or the threshold cannot be meant.
            VideoError: if one of them cannot be used: without all of them no verdict would be right.
            BundleError: if there is no calibrated threshold, or the networks fail.
        """
        parts = tuple(dict.fromkeys(map(VideoPart.of, references)))
        if not parts:
            raise OptionError("there is no reference; give at least one video of the approved procedure")
        judge = model.judge(method=method, threshold=threshold)
        embedded = []
        for part in parts:
            video = model.embed(part.path, start=part.start, end=part.end)
            check_direction(video, method=judge.method)
            embedded.append(video)
        found = [f"{video.path}: {note}" for video in embedded for note in video.notes]
        found += [note for video in embedded for note in interval_notes(video)]
        notes = tuple(dict.fromkeys([*model.backend.notes, *found]))
        return cls(parts=parts, embeddings=tuple(embedded), judge=judge, model=model, notes=notes)

    def nearest(self, video: VideoEmbedding) -> tuple[VideoPart, Decision]:
        """The nearest reference, and what its distance means.

        Raises:
            VideoError: if the video has no direction, so that nothing can be said.
        """
        distances = [distance(reference, video, method=self.judge.method) for reference in self.embeddings]
        row = distances.index(min(distances))
        return self.parts[row], self.judge.decide(distances[row], (self.embeddings[row], video))

    def digest(self) -> str:
        """SHA-256 in hex of all that a verdict depends on besides the recording: references, model, threshold.

        Raises:
            VideoError: if a reference can no longer be read.
        """
        calibrated = self.judge.calibrated
        abstention = None if calibrated is None else calibrated.abstention
        probability = None if calibrated is None else calibrated.probability
        parts = {
            "model": identity_of(self.model).digest,
            "method": self.judge.method,
            "threshold": [self.judge.threshold, self.judge.given],
            "probability": None if probability is None else probability.to_json(),
            "abstention": None if abstention is None else abstention.to_json(),
            "references": [
                [os.fsencode(part.path).hex(), part.start, part.end, _content(Path(part.path))] for part in self.parts
            ],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def inspect(
    references: References, recordings: Iterable[str | os.PathLike[str] | VideoPart], *, workers: int = 1
) -> Generator[Inspection]:
    """Compare recordings with the references, each with the nearest one.

    Args:
        references: see `References.embed`.
        recordings: video files, folders of frames, or parts of them; taken as they are needed.
        workers: recordings that are worked on at a time, see `pipeline.plan_threads`.

    Yields:
        One result a recording, in their order. One that cannot be used is a result with its error.

    Raises:
        OptionError: if `workers` is not at least 1.
        BundleError: if a network cannot be loaded or run; before the first recording.
        DeviceError: if the GPU fails.
    """
    waiting: list[VideoPart] = []

    def taken() -> Generator[VideoPart]:
        for recording in recordings:
            waiting.append(VideoPart.of(recording))
            yield waiting[-1]

    with contextlib.closing(embed_stream(references.model.embedder, taken(), workers=workers)) as videos:
        for video in videos:
            yield _inspected(references, waiting.pop(0), video)


def _inspected(references: References, part: VideoPart, video: StreamedVideo) -> Inspection:
    found = Inspection(recording=part.path, start=part.start, end=part.end)
    if video.embedding is None:
        return dataclasses.replace(found, error=str(video.error))
    try:
        nearest, decision = references.nearest(video.embedding)
    except (VideoError, BundleError) as error:
        return dataclasses.replace(found, error=str(error))
    damage = [f"{part.path}: {note}" for note in video.embedding.notes]
    return dataclasses.replace(
        found,
        verdict=decision.verdict,
        reference=str(nearest),
        distance=decision.distance,
        threshold=decision.threshold,
        margin=decision.margin,
        probability=decision.probability,
        notes=tuple(dict.fromkeys([*decision.reasons, *damage, *interval_notes(video.embedding)])),
    )


def _content(path: Path) -> str:
    """SHA-256 of a file, or of the names and files of a folder."""
    try:
        if not path.is_dir():
            return sha256_of(path)
        lines = [f"{file.name} {sha256_of(file)}" for file in sorted(path.iterdir()) if file.is_file()]
    except OSError as error:
        raise VideoError(f"{path}: cannot be read: {error.strerror or error}") from error
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
