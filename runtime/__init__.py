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
    from .explain import Difference, Explanation
    from .gallery import Gallery
    from .inspection import Inspection
    from .match import MatchResult
    from .report import write_report
    from .script import Script, ScriptStep, read_script
    from .spec import PreprocessSpec, SamplingSpec
    from .step_finding import TimelineSettings
    from .timeline import Timeline
    from .verify import Model, VerifyResult, load
    from .video import open_video
    from .video_part import VideoPart

__all__ = [
    "Bundle",
    "BundleError",
    "BundleIntegrityError",
    "BundleNotFoundError",
    "BundleVersionError",
    "CheckpointError",
    "DataError",
    "DeviceError",
    "Difference",
    "Embedder",
    "Explanation",
    "ExportError",
    "Gallery",
    "Inspection",
    "MatchResult",
    "MissingExtraError",
    "Model",
    "OptionError",
    "OutputError",
    "PreprocessSpec",
    "SampledVideo",
    "SamplingSpec",
    "Script",
    "ScriptStep",
    "TextEmbedding",
    "Timeline",
    "TimelineSettings",
    "TooFewFramesError",
    "VerifyResult",
    "VideoDecodeError",
    "VideoEmbedding",
    "VideoError",
    "VideoFormatError",
    "VideoNotFoundError",
    "VideoPart",
    "WeakSVRError",
    "load",
    "open_video",
    "read_script",
    "write_report",
]

_HOMES = MappingProxyType(
    {
        "Bundle": "bundle",
        "Difference": "explain",
        "Embedder": "embedder",
        "Explanation": "explain",
        "Gallery": "gallery",
        "Inspection": "inspection",
        "MatchResult": "match",
        "Model": "verify",
        "PreprocessSpec": "spec",
        "SampledVideo": "embedder",
        "SamplingSpec": "spec",
        "Script": "script",
        "ScriptStep": "script",
        "TextEmbedding": "embedder",
        "Timeline": "timeline",
        "TimelineSettings": "step_finding",
        "VerifyResult": "verify",
        "VideoEmbedding": "embedder",
        "VideoPart": "video_part",
        "load": "verify",
        "open_video": "video",
        "read_script": "script",
        "write_report": "report",
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
