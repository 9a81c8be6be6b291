"""Everything that is needed to repeat a result: what was compared, with what, and how."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import importlib
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from .bundle import MANIFEST_NAME
from .errors import VideoError
from .storage import sha256_of
from .thresholds import Threshold
from .video_part import VideoPart

if TYPE_CHECKING:
    from .key_frames import FilmedVideo
    from .verify import Model

__all__ = ["Facts", "VideoFacts", "content_sha256", "gather", "video_facts"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class VideoFacts:
    """A video that was looked at.

    Attributes:
        part: path, and the part of it that was looked at.
        sha256: of the file; see `content_sha256` for a folder.
        duration_seconds, num_frames, height, width: of the whole video.
    """

    part: VideoPart
    sha256: str
    duration_seconds: float
    num_frames: int
    height: int
    width: int

    @property
    def name(self) -> str:
        """Last part of the path."""
        return Path(self.part.path).name or self.part.path


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a result comes from.

    Attributes:
        command: as it was typed; empty if the library was called.
        created: when, UTC, ISO 8601.
        bundle: folder of the model; `manifest_sha256` is that of its manifest, which holds the hashes of all the rest.
        versions: names and versions of what decoded and computed.
        backend: what ran the networks.
        sampling: key of the model's sampling.
        calibrated: what the bundle knows of the method, precision and sampling in effect; None if nothing.
        calibration_picture: data address of the picture of that calibration; empty if there is none.
    """

    command: str
    created: str
    bundle: str
    manifest_sha256: str
    versions: tuple[tuple[str, str], ...]
    backend: str
    sampling: str
    calibrated: Threshold | None = None
    calibration_picture: str = ""


def gather(model: Model, *, command: str = "", calibrated: Threshold | None = None) -> Facts:
    """What there is to say about a model.

    Raises:
        BundleIntegrityError: if the calibration's picture is not what the manifest says.
        OSError: if the manifest is gone.
    """
    folder = model.bundle.path
    versions = [("weaksvr", __version__), ("Python", platform.python_version())]
    versions += [(name, str(importlib.import_module(name).__version__)) for name in ("av", "numpy", "onnxruntime")]
    return Facts(
        command=command,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        bundle=str(folder),
        manifest_sha256=sha256_of(folder / MANIFEST_NAME),
        versions=tuple(versions),
        backend=type(model.backend).__name__,
        sampling=model.embedder.sampling.key,
        calibrated=calibrated,
        calibration_picture=_calibration_picture(model, calibrated),
    )


def video_facts(part: VideoPart, filmed: FilmedVideo) -> VideoFacts:
    """What there is to say about a video. Raises `VideoError` if it cannot be read any more."""
    return VideoFacts(
        part=part,
        sha256=content_sha256(Path(part.path)),
        duration_seconds=filmed.duration_seconds,
        num_frames=filmed.num_frames,
        height=filmed.height,
        width=filmed.width,
    )


def content_sha256(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of the lines `sha256  name` of its files that are not hidden, by name.

    For a folder it is what `sha256sum -- * | sha256sum` prints there.

    Raises:
        VideoError: if it cannot be read.
    """
    try:
        if not path.is_dir():
            return sha256_of(path)
        seen = (file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        files = sorted(seen, key=lambda file: file.name)
        lines = "".join(f"{sha256_of(file)}  {file.name}\n" for file in files)
    except OSError as error:
        raise VideoError(f"{path}: cannot be read any more: {error.strerror or error}") from error
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def _calibration_picture(model: Model, calibrated: Threshold | None) -> str:
    evidence = None if calibrated is None else calibrated.calibrated.evidence
    if evidence is None or not evidence.picture:
        return ""
    found = [report for report in model.bundle.manifest.reports if report.path == evidence.picture]
    if not found:
        return ""
    return "data:image/svg+xml;base64," + base64.b64encode(model.bundle.read(found[0])).decode("ascii")
