"""What is searched: a gallery of the operator's, or else the example clips."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from ..runtime.embedder import VideoEmbedding
from ..runtime.errors import DataError, VideoError
from ..runtime.gallery import Gallery
from ..runtime.gallery_search import GalleryHits, gallery_key, search_gallery
from ..runtime.script import Script
from ..runtime.spec import Method
from ..runtime.verify import Model, distance
from .key_frames import strip
from .uploads import EXAMPLES

__all__ = ["ExampleShelf", "GalleryShelf", "Shelf"]

TOP: Final = 10
_PICTURES: Final = 4

Check = Callable[[str], None]


class Shelf(Protocol):
    """Videos that can be searched.

    Attributes:
        title: what it is called on the page.
    """

    title: str

    def find(self, query: str | Script, *, pictures: bool) -> dict[str, Any]:
        """The videos that are most like a video (by its path), or follow a script best.

        Returns:
            `hits`, best first, each with `name`, `distance` or `score`, `seconds`, `metadata` and `pictures`; `method`
            and `size`. No path is among them.

        Raises:
            WeakSVRError: as `search_gallery` and `match_videos` do.
        """
        ...


class ExampleShelf:
    """The clips that come along, embedded when it is made.

    Args:
        model: that embeds and compares.
    """

    def __init__(self, model: Model) -> None:
        self.title = "the example clips"
        self._model = model
        self._videos = [model.embed(clip) for clip in sorted(EXAMPLES.glob("*.mp4"))]

    def find(self, query: str | Script, *, pictures: bool) -> dict[str, Any]:
        hits: list[dict[str, Any]] = []
        method: Method = self._model.bundle.manifest.default_method
        if isinstance(query, Script):
            matched = self._model.match(query, self._videos)
            method = matched.method
            hits = [_hit(each.video, pictures, score=each.score) for each in matched.scripts[0].videos]
        else:
            asked = self._model.embed(query)
            apart = sorted((distance(asked, video, method=method), video.path) for video in self._videos)
            hits = [_hit(path, pictures, distance=value) for value, path in apart]
        return {"hits": hits[:TOP], "method": method, "size": len(self._videos)}


class GalleryShelf:
    """A gallery that `weaksvr-gallery` made.

    Args:
        model: the one that it was made with.
        uri: its folder or address.

    Raises:
        MissingExtraError: if LanceDB is not installed.
        DataError: if it cannot be used.
    """

    def __init__(self, model: Model, uri: str) -> None:
        self._model = model
        place = uri.rstrip("/") if "://" in uri else str(Path(uri).absolute())
        self._gallery = Gallery.open(place, key=gallery_key(model))
        self.title = f"the gallery {Path(place).name}"

    def find(self, query: str | Script, *, pictures: bool) -> dict[str, Any]:
        asked = query if isinstance(query, Script) else self._model.embed(query)
        try:
            found = self._search(asked)
        except DataError as error:
            raise DataError(str(error).replace(self._gallery.uri, "the gallery")) from error
        hits = [
            _hit(
                hit.entry.video,
                pictures,
                distance=hit.distance,
                score=hit.score,
                seconds=hit.entry.duration_seconds,
                metadata=dict(hit.entry.metadata),
            )
            for hit in found.hits
        ]
        return {"hits": hits, "method": found.method, "size": found.size}

    def _search(self, asked: VideoEmbedding | Script) -> GalleryHits:
        """By the frames, or as a whole if the gallery does not keep frames; the answer says which."""
        method: Method = "alignment" if self._keeps_frames() else "vector"
        return search_gallery(self._gallery, self._model, asked, method=method, top=TOP)

    def _keeps_frames(self) -> bool:
        some = self._gallery.nearest([1.0] * self._gallery.key.dimensions, top=1, frames=True).entries
        return all(entry.frame_features is not None for entry in some)


def _hit(path: str, pictures: bool, **known: Any) -> dict[str, Any]:
    """One hit by its name; its pictures only if the file is still there, and can be read."""
    shown: list[str] = []
    if pictures and Path(path).is_file():
        with contextlib.suppress(VideoError):
            shown = strip(path, pictures=_PICTURES)
    facts: dict[str, Any] = {"distance": None, "score": None, "seconds": None, "metadata": {}}
    return {**facts, **known, "name": os.path.basename(path.rstrip("/")), "pictures": shown}  # noqa: PTH119 - not a path here
