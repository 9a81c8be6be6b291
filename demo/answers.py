"""From a request to its answer, both plain JSON: what a worker computes with the runtime."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ..runtime.embedder import Embedder, VideoEmbedding
from ..runtime.errors import BundleError, OptionError, VideoError, WeakSVRError
from ..runtime.script import Script, parse_script
from ..runtime.spec import Method
from ..runtime.verify import Model
from ..runtime.video import open_video
from ..runtime.video_part import VideoPart
from .key_frames import aligned_columns, pictures_at
from .limits import Limits
from .shelf import ExampleShelf, GalleryShelf, Shelf

__all__ = ["Answerer"]

Say = Callable[[str], None]

MAX_STEPS: Final = 50


class _KeepingEmbedder(Embedder):
    """Keeps what it embedded last: the pictures of a verdict are of the very frames that it was founded on."""

    kept: Sequence[VideoEmbedding] = ()

    def embed_together(self, videos: Sequence[str | os.PathLike[str] | VideoPart]) -> list[VideoEmbedding]:
        self.kept = found = super().embed_together(videos)
        return found


class Answerer:
    """Answers requests with a model.

    A request is an object with `task`, `videos` (each with a `path`, and a `label` that stands for it in all texts),
    `pictures` (whether they are wanted), and what the task needs: `threshold` for `verify` (None is the model's own),
    the text `script` for `timeline` and, where there is no video, for `find`.

    Args:
        model: as `runtime.load` gives it.
        limits: of the videos.
        gallery: that is searched; None is the example clips.

    Raises:
        WeakSVRError: if the model or the gallery cannot be used.
    """

    def __init__(self, model: Model, limits: Limits, *, gallery: str | None = None) -> None:
        self.embedder = _KeepingEmbedder(
            model.embedder.backend,
            sampling=model.embedder.sampling,
            preprocess=model.embedder.preprocess,
            tokenizer=model.embedder.tokenizer,
            decode_threads=model.embedder.decode_threads,
        )
        self.model = dataclasses.replace(model, embedder=self.embedder)
        self.limits = limits
        self._tasks: dict[str, Callable[[Mapping[str, Any], Say], dict[str, Any]]] = {
            "find": self._find,
            "timeline": self._timeline,
            "verify": self._verify,
        }
        self._shelf: Shelf = ExampleShelf(self.model) if gallery is None else GalleryShelf(self.model, gallery)

    def warm_up(self) -> None:
        """Load all networks, and the decoder, so that what a request adds is its own. Raises `BundleError`."""
        from ..runtime import video_file  # noqa: F401 - loads FFmpeg

        self.embedder.warm_up()
        if self.embedder.tokenizer is not None:
            self.embedder.embed_text(["a step"])

    def facts(self) -> dict[str, Any]:
        """What a page says about the model."""
        manifest, backend = self.model.bundle.manifest, self.model.backend
        sampling = self.embedder.sampling.key
        entries: dict[str, Any] = {
            entry.method: entry.to_json()
            for entry in manifest.thresholds
            if (entry.precision, entry.sampling) == (backend.precision, sampling)
        }
        return {
            "name": manifest.name,
            "description": manifest.description,
            "method": manifest.default_method,
            "device": backend.device,
            "provider": backend.provider,
            "precision": backend.precision,
            "sampling": sampling,
            "notes": list(backend.notes),
            "shelf": self._shelf.title,
            "reads_scripts": self.embedder.tokenizer is not None,
            "thresholds": entries,
            "picture": self._calibration_picture(entries),
        }

    def answer(self, request: Mapping[str, Any], *, say: Say) -> dict[str, Any]:
        """Do what a request asks for.

        Args:
            request: see the class.
            say: is told what is being done.

        Raises:
            WeakSVRError: whatever a user can mend; videos are called by their labels.
        """
        labels = {video["path"]: video["label"] for video in request["videos"]}
        task = self._tasks.get(request["task"])
        if task is None:
            raise OptionError(f"task {request['task']!r} is not known; use one of {', '.join(self._tasks)}")
        try:
            for video in request["videos"]:
                self._check(video["path"])
            found = task(request, say)
        except WeakSVRError as error:
            raise WeakSVRError(_labelled(str(error), labels)) from error
        named: dict[str, Any] = _labelled(found, labels)
        return named

    def _verify(self, request: Mapping[str, Any], say: Say) -> dict[str, Any]:
        a, b = (video["path"] for video in request["videos"])
        say("looking at both videos")
        result = self.model.verify(a, b, threshold=request.get("threshold"), explain=True)
        first, second = self.embedder.kept
        answer = {"result": result.to_json(), "unlike_from": self._threshold("alignment")}
        if not request["pictures"]:
            return answer
        say("choosing pictures")
        columns = aligned_columns(first, second)
        for name, path in (("a", a), ("b", b)):
            frames = [column[f"frame_{name}"] for column in columns]
            for column, picture in zip(columns, pictures_at(path, frames), strict=True):
                column[f"picture_{name}"] = picture
        return {**answer, "columns": columns}

    def _timeline(self, request: Mapping[str, Any], say: Say) -> dict[str, Any]:
        (video,) = request["videos"]
        script = _script_of(request)
        say("looking for the steps")
        found = self.model.timeline(script, video["path"])
        answer = {"result": found.to_dict()}
        if not request["pictures"]:
            return answer
        say("choosing pictures")
        with open_video(video["path"], num_threads=1) as opened:
            times = opened.times(range(opened.num_frames))
        spans = [(step.start, step.end) for step in found.steps if step.start is not None and step.end is not None]
        middles = [min(int(times.searchsorted((start + end) / 2)), len(times) - 1) for start, end in spans]
        pictures = iter(pictures_at(video["path"], middles))
        return {**answer, "pictures": [None if step.start is None else next(pictures) for step in found.steps]}

    def _find(self, request: Mapping[str, Any], say: Say) -> dict[str, Any]:
        query = request["videos"][0]["path"] if request["videos"] else _script_of(request)
        say("searching")
        found = self._shelf.find(query, pictures=request["pictures"])
        return {**found, "shelf": self._shelf.title, "threshold": self._threshold(found["method"])}

    def _threshold(self, method: Method) -> float | None:
        """The model's own, None if it was not calibrated for this method."""
        with contextlib.suppress(BundleError):
            return self.model.threshold(method)
        return None

    def _check(self, path: str) -> None:
        """Refuse a video that is larger than the limits. Raises `VideoError`."""
        limits = self.limits
        with open_video(path, num_threads=1) as video:
            seconds, height, width = video.duration_seconds, video.height, video.width
        if seconds > limits.video_seconds:
            raise VideoError(
                f"{path}: lasts {seconds:.0f} seconds, but this page takes at most {limits.video_seconds:.0f}; cut it"
            )
        if height * width > limits.video_pixels:
            raise VideoError(
                f"{path}: has frames of {width} x {height}, but this page takes at most "
                f"{limits.video_pixels / 1e6:.1f} million pixels; scale it down"
            )

    def _calibration_picture(self, entries: Mapping[str, Any]) -> str:
        """The SVG that shows the calibration of the default method, empty if the bundle has none."""
        entry = entries.get(self.model.bundle.manifest.default_method, {})
        name = entry.get("calibrated", {}).get("evidence", {}).get("picture", "")
        files = [report for report in self.model.bundle.manifest.reports if report.path == name]
        return self.model.bundle.read(files[0]).decode() if files else ""


def _script_of(request: Mapping[str, Any]) -> Script:
    """The script of a request. Raises `DataError` or `OptionError`."""
    script = parse_script(request["script"], name="the steps")
    if len(script.steps) > MAX_STEPS:
        raise OptionError(f"the steps: there are {len(script.steps)}, but this page takes at most {MAX_STEPS}")
    return script


def _labelled(value: Any, labels: Mapping[str, str]) -> Any:
    """The same with labels in place of paths, which are nobody's business; also in nested values."""
    if isinstance(value, str):
        for path, label in labels.items():
            value = value.replace(path, label).replace(ascii(path), label)
        return value
    if isinstance(value, Mapping):
        return {key: _labelled(item, labels) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_labelled(item, labels) for item in value]
    return value
