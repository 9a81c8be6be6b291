"""Finds the videos that published files name: folders of frames or files, beside one another or in folders by task."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ...runtime.errors import DataError
from ...runtime.listing import SUFFIXES
from .collection import Item

__all__ = ["VideoFinder", "VideoKind"]

VideoKind = Literal["any", "frames", "files"]


class VideoFinder:
    """Looks for videos below a folder; every folder is listed once.

    A video NAME is a folder NAME, or a file NAME with the suffix of a video in capital or small letters, in `root` or
    in the folder `root/TASK`. Names that begin with `._` are files of macOS and never found. No video is opened.

    Args:
        root: the folder.
        kind: what is looked for: folders of frames, files, or both.

    Raises:
        DataError: if `root` is no folder.
    """

    def __init__(self, root: Path, kind: VideoKind = "any") -> None:
        if not root.is_dir():
            raise DataError(f"{root}: is no folder; give the one that holds the videos or their frames")
        self.root = root
        self.kind = kind
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def find(self, item: Item) -> Sequence[Path]:
        """All videos of that name: one, none, or several that only the user can choose from.

        Raises:
            DataError: if a folder cannot be read.
        """
        *folders, last = item.name.split("/")
        parents = [self.root.joinpath(*folders)]
        if not folders and item.task is not None:
            parents.append(self.root / item.task)
        return [parent / name for parent in parents for name in self._names(parent).get(last, ())]

    def _names(self, folder: Path) -> dict[str, list[str]]:
        """Entries of a folder by the video that they are; empty if there is no such folder."""
        if folder not in self._listed:
            found: dict[str, list[str]] = {}
            try:
                with os.scandir(folder) as entries:
                    for entry in sorted(entries, key=lambda entry: entry.name):
                        name = self._video_name(entry)
                        if name is not None:
                            found.setdefault(name, []).append(entry.name)
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError as error:
                raise DataError(f"{folder}: the folder cannot be read: {error.strerror or error}") from error
            self._listed[folder] = found
        return self._listed[folder]

    def _video_name(self, entry: os.DirEntry[str]) -> str | None:
        if entry.name.startswith("._"):
            return None
        if entry.is_dir():
            return entry.name if self.kind != "files" else None
        suffix = Path(entry.name).suffix
        return entry.name.removesuffix(suffix) if self.kind != "frames" and suffix.lower() in SUFFIXES else None
