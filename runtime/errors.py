"""Every error that a user can meet, as one tree.

    WeakSVRError
    ├── OptionError            (ValueError)         an argument or option that cannot be meant
    ├── MissingExtraError      (ImportError)        an optional dependency is not installed
    ├── OutputError            (OSError)            a result cannot be written
    ├── DataError              (ValueError)         a manifest, pairs, matching or script file is wrong
    ├── VideoError             (ValueError)         anything wrong with one video
    │   ├── VideoNotFoundError (FileNotFoundError)  no such file or folder
    │   ├── VideoFormatError                        not a video that is accepted
    │   ├── VideoDecodeError                        a needed frame cannot be decoded
    │   └── TooFewFramesError                       fewer frames than are sampled
    ├── BundleError            (ValueError)         anything wrong with a bundle
    │   ├── BundleNotFoundError (FileNotFoundError) no bundle there
    │   ├── BundleIntegrityError                    a file is missing, changed or unsafe
    │   └── BundleVersionError                      written by a newer schema
    ├── CheckpointError        (ValueError)         a run or checkpoint that cannot be used
    ├── DeviceError            (RuntimeError)       the requested device or precision is not available
    └── ExportError            (RuntimeError)       an exported model differs from its source

Catch `WeakSVRError` to handle all of them; its text is one line that says what, why and what to do.
"""

from __future__ import annotations

__all__ = [
    "BundleError",
    "BundleIntegrityError",
    "BundleNotFoundError",
    "BundleVersionError",
    "CheckpointError",
    "DataError",
    "DeviceError",
    "ExportError",
    "MissingExtraError",
    "OptionError",
    "OutputError",
    "TooFewFramesError",
    "VideoDecodeError",
    "VideoError",
    "VideoFormatError",
    "VideoNotFoundError",
    "WeakSVRError",
]


class WeakSVRError(Exception):
    """Base of all errors that are the user's to mend. `str(error)` is one line."""

    def __str__(self) -> str:
        return " ".join(str(part) for part in self.args)


class OptionError(WeakSVRError, ValueError):
    """An argument or option whose value cannot be meant."""


class MissingExtraError(WeakSVRError, ImportError):
    """An optional dependency is needed and not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        self.extra = extra
        super().__init__(f"{purpose} needs {package}, which is not installed: pip install 'weaksvr[{extra}]'")


class OutputError(WeakSVRError, OSError):
    """A result cannot be written where it was asked for."""


class DataError(WeakSVRError, ValueError):
    """A manifest, pairs, matching or script file that cannot be read as such."""


class VideoError(WeakSVRError, ValueError):
    """Anything wrong with one video; the path is part of the text."""


class VideoNotFoundError(VideoError, FileNotFoundError):
    """No file or folder of that name."""


class VideoFormatError(VideoError):
    """A file or folder that is not a video of an accepted kind."""


class VideoDecodeError(VideoError):
    """A frame that is needed cannot be decoded."""


class TooFewFramesError(VideoError):
    """A video with fewer frames than are sampled from it."""

    def __init__(self, num_frames: int, needed: int, path: str = "the video") -> None:
        self.num_frames = num_frames
        self.needed = needed
        super().__init__(f"{path}: has {num_frames} frames, but {needed} are needed; use a longer video")


class BundleError(WeakSVRError, ValueError):
    """Anything wrong with a bundle."""


class BundleNotFoundError(BundleError, FileNotFoundError):
    """No bundle at that path."""


class BundleIntegrityError(BundleError):
    """A file of the bundle is missing, changed, or not safe to load."""


class BundleVersionError(BundleError):
    """The bundle was written with a schema that this version does not know."""


class CheckpointError(WeakSVRError, ValueError):
    """A run or checkpoint that cannot be used."""


class DeviceError(WeakSVRError, RuntimeError):
    """The requested device, provider or precision is not available; nothing else is used in its place."""


class ExportError(WeakSVRError, RuntimeError):
    """An exported model that does not compute what its source computes."""
