"""Examines this installation, a bundle, and what would run; changes nothing."""

from __future__ import annotations

import contextlib
import os
import platform

from ... import __version__
from ..bundle import DEFAULT_BUNDLE, Bundle
from .child import Outcome, Probe
from .contents import check_bundle
from .engines import check_engines
from .findings import Finding, Report, WouldRun
from .folders import check_bundle_folder, check_embedding_cache, check_temporary, check_weights_cache
from .gpu import Gpus, find_gpus
from .judge import Wanted, judge_networks, judge_video
from .packages import check_extra, check_onnxruntime, check_runtime, check_torchvision, is_installed
from .probe import FOR_VIDEO

__all__ = ["examine"]


def examine(
    bundle: str | os.PathLike[str] | None = None,
    *,
    backend: str = "onnxruntime",
    device: str = "auto",
    precision: str = "auto",
) -> Report:
    """Look at what is installed, at a bundle and at the folders that are written to, and try what would run.

    Native libraries are loaded in processes of their own. Where one thing is broken, what builds on it is not tried, so
    that every cause is told once.

    Args:
        bundle: its folder; None is the one that comes with the package.
        backend, device, precision: as in `verify.load`.
    """
    gpus = find_gpus()
    runtime = check_runtime()
    onnxruntime = check_onnxruntime(wants_gpu=device == "cuda" or bool(gpus.listed))
    found = [*runtime, onnxruntime, Finding(topic="installed", name="gpu", what=gpus.text), *_parts()]
    folder = DEFAULT_BUNDLE if bundle is None else bundle
    with contextlib.ExitStack() as stack:
        video = stack.enter_context(Probe("video")) if _are_well(runtime) else None
        opened, contents = check_bundle(folder)
        engines = opened and check_engines(opened, gpus, wanted=backend == "tensorrt")
        contents = (*contents, *([engines] if engines else []))
        found += contents
        wanted = opened and Wanted(bundle=opened, backend=backend, device=device, precision=precision)
        networks = None
        if wanted and _are_well((*runtime, onnxruntime, *contents)):
            networks = stack.enter_context(_probe(wanted))
        folders = _folders(opened)  # while the probes run
        runs = None
        if video:
            found.append(judge_video(video.outcome()))
        if networks and wanted:
            tried, runs = _judge(networks.outcome(), wanted, gpus)
            found += tried
    return Report(
        version=__version__,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        bundle=os.fspath(folder),
        findings=(*found, *folders),
        would_run=runs,
    )


def _parts() -> list[Finding]:
    """The parts that need not be installed."""
    found = [finding for extra in ("embed", "train", "export", "tensorrt", "demo") for finding in check_extra(extra)]
    pair = check_torchvision()
    return [*found, *([pair] if pair else [])]


def _folders(bundle: Bundle | None) -> tuple[Finding, ...]:
    trains = is_installed("train")
    return (
        check_temporary(needed=trains),
        check_embedding_cache(),
        *([check_weights_cache()] if trains else []),
        *([check_bundle_folder(bundle.path)] if bundle else []),
    )


def _are_well(findings: tuple[Finding, ...]) -> bool:
    return all(finding.state != "problem" for finding in findings)


def _probe(wanted: Wanted) -> Probe:
    return Probe("networks", str(wanted.bundle.path), wanted.backend, wanted.device, wanted.precision)


def _try(wanted: Wanted) -> Outcome:
    with _probe(wanted) as probe:
        return probe.outcome()


def _judge(outcome: Outcome, wanted: Wanted, gpus: Gpus) -> tuple[tuple[Finding, ...], WouldRun | None]:
    if outcome.library in FOR_VIDEO:  # the video's probe stopped there too
        return (), None
    return judge_networks(outcome, wanted, gpus=gpus, retry=_try)
