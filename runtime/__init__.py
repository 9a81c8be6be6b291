"""Run exported models: videos in, verdicts out. Needs numpy, av and ONNX Runtime; never torch.

    from weaksvr.runtime import load

    result = load().verify("a.mp4", "b.mp4")

Names are imported when they are first used, so that `import weaksvr.runtime` costs next to nothing.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bundle import Bundle
    from .embedder import Embedder, SampledVideo, TextEmbedding, VideoEmbedding
    from .errors import (
        BundleError,
        BundleIntegrityError,
        BundleNotFoundError,
        BundleVersionError,
        CheckpointError,
        DataError,
        DeviceError,
        ExportError,
        MissingExtraError,
        OptionError,
        OutputError,
        TooFewFramesError,
        VideoDecodeError,
        VideoError,
        VideoFormatError,
        VideoNotFoundError,
        WeakSVRError,
    )
    from .spec import PreprocessSpec, SamplingSpec
    from .verify import Model, VerifyResult, load
    from .video import open_video

__all__ = [
    "Bundle",
    "BundleError",
    "BundleIntegrityError",
    "BundleNotFoundError",
    "BundleVersionError",
    "CheckpointError",
    "DataError",
    "DeviceError",
    "Embedder",
    "ExportError",
    "MissingExtraError",
    "Model",
    "OptionError",
    "OutputError",
    "PreprocessSpec",
    "SampledVideo",
    "SamplingSpec",
    "TextEmbedding",
    "TooFewFramesError",
    "VerifyResult",
    "VideoDecodeError",
    "VideoEmbedding",
    "VideoError",
    "VideoFormatError",
    "VideoNotFoundError",
    "WeakSVRError",
    "load",
    "open_video",
]

_HOMES = MappingProxyType(
    {
        "Bundle": "bundle",
        "Embedder": "embedder",
        "Model": "verify",
        "PreprocessSpec": "spec",
        "SampledVideo": "embedder",
        "SamplingSpec": "spec",
        "TextEmbedding": "embedder",
        "VerifyResult": "verify",
        "VideoEmbedding": "embedder",
        "load": "verify",
        "open_video": "video",
    }
)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES.get(name, 'errors')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
