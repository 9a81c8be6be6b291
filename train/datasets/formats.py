"""The published formats by name, and what is looked for in each of them once its files are read."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
from pathlib import Path

from ...runtime.errors import OptionError
from .coin_sv import read_coin_sv
from .collection import Collection, Item
from .csv_sv import read_csv_sv
from .diving48_sv import read_diving48_sv
from .findings import Findings
from .video_finder import VideoFinder, VideoKind

__all__ = ["FORMATS", "PublishedSource", "read_source"]

FORMATS: Mapping[str, Callable[..., Collection]] = types.MappingProxyType(
    {"csv-sv": read_csv_sv, "coin-sv": read_coin_sv, "diving48-sv": read_diving48_sv}
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PublishedSource:
    """A published dataset, as it lies on the disk.

    Attributes:
        name: one of `FORMATS`.
        folder: holds `label_bank.json` and the lists.
        videos: the folder of the videos, or of their frames (see `VideoFinder`); None if they are not looked for.
        kind: what is looked for there.
        coin_json, uncut: of COIN-SV alone; see `read_coin_sv`.

    Raises:
        OptionError: if there is no such format, or an option does not go with it.
    """

    name: str
    folder: Path
    videos: Path | None = None
    kind: VideoKind = "any"
    coin_json: Path | None = None
    uncut: bool = False

    def __post_init__(self) -> None:
        if self.name not in FORMATS:
            raise OptionError(f"format {self.name!r} is not known; use one of {', '.join(FORMATS)}")
        if self.name != "coin-sv" and (self.coin_json is not None or self.uncut):
            raise OptionError(f"--coin-json and --uncut are of coin-sv alone; leave them out for {self.name}")
        if self.uncut and self.coin_json is None:
            raise OptionError("--uncut takes start and end of every video from COIN.json; add --coin-json FILE")
        if self.videos is None and self.kind != "any":
            raise OptionError(f"--kind {self.kind} says what is looked for in --videos DIR; add that")


def read_source(source: PublishedSource, findings: Findings) -> Collection:
    """Read the published files of one dataset, and find its videos if it names their folder.

    Raises:
        DataError: if the files cannot be read, or `videos` is no folder.
    """
    finder = None if source.videos is None else VideoFinder(source.videos, source.kind)
    coin = {"coin_json": source.coin_json, "uncut": source.uncut} if source.name == "coin-sv" else {}
    collection = FORMATS[source.name](source.folder, findings, **coin)
    for split, items in collection.splits.items():
        for item in items:
            if not item.steps:
                findings.add("no-text", split, f"{item.name} (label {item.procedure})")
    return collection if finder is None else _with_videos(collection, finder, findings)


def _with_videos(collection: Collection, finder: VideoFinder, findings: Findings) -> Collection:
    """The collection with the place of every video; those that are absent or ambiguous are findings and have none."""

    def located(item: Item, split: str) -> Item:
        found = finder.find(item)
        if len(found) == 1:
            return dataclasses.replace(item, video=found[0])
        if found:
            findings.add("video-ambiguous", split, f"{found[0]} and {found[1]}")
        else:
            findings.add("video-absent", split, item.name)
        return item

    splits = {split: tuple(located(item, split) for item in items) for split, items in collection.splits.items()}
    return dataclasses.replace(collection, splits=splits)
