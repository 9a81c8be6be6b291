"""What a probe's end means: the cause, and the one command that mends it."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from typing import Final

from ..bundle import DEFAULT_BUNDLE, Bundle, Manifest
from ..engine_file import rebuild_command
from ..errors import BundleError, DeviceError, MissingExtraError, OptionError
from ..spec import METHODS, Method
from .child import Outcome
from .contents import remade
from .findings import Comparison, Finding, State, WouldRun, cause_of, problem
from .gpu import Gpus
from .packages import GPU_WHEEL, ONNXRUNTIMES, OWN_NAME, installed, reinstall, requirements
from .probe import CODECS, COMMONEST

__all__ = ["Wanted", "judge_networks", "judge_video"]

CUDA_EXTRAS: Final = ("cuda", "cudnn")  # of onnxruntime-gpu: NVIDIA's libraries as wheels
BUNDLE_ERRORS: Final = frozenset({BundleError.__name__, *(error.__name__ for error in BundleError.__subclasses__())})

FOR_TENSORRT: Final = frozenset({error.__name__ for error in (DeviceError, MissingExtraError, OptionError)})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is to be run: a bundle, by what, and on what. `device` and `precision` may be `auto`."""

    bundle: Bundle
    backend: str = "onnxruntime"
    device: str
    precision: str

    @property
    def needs_gpu(self) -> bool:
        """Whether nothing but a GPU will do."""
        return self.device == "cuda" or self.backend != "onnxruntime"

    def verify(self, option: str) -> str:
        """The command that compares two videos with this bundle and a better option."""
        own = self.bundle.path != DEFAULT_BUNDLE
        return "weaksvr-verify A B" + (f" --bundle {shlex.quote(str(self.bundle.path))}" if own else "") + f" {option}"


def judge_video(outcome: Outcome) -> Finding:
    """Whether videos can be decoded."""
    if outcome.result is None:
        remedy = _reinstalled(outcome.library)
        return problem("would run", "video", "no video can be decoded", why=outcome.reason, remedy=remedy)
    there = outcome.result["decoders"]
    missing = [name for name in CODECS if name not in there]
    what = f"decodes {', '.join(there)}"
    if not missing:
        return Finding(topic="would run", name="video", what=what)
    why = f"this build of av has no decoder for {', '.join(missing)}"
    state: State = "problem" if COMMONEST in missing else "warning"
    return Finding(topic="would run", name="video", state=state, what=what, why=why, remedy=_reinstalled("av"))


def judge_networks(
    outcome: Outcome, wanted: Wanted, *, gpus: Gpus, retry: Callable[[Wanted], Outcome]
) -> tuple[tuple[Finding, ...], WouldRun | None]:
    """Whether the bundle's networks run as they are wanted, and what runs then.

    Args:
        outcome: of the probe.
        wanted: what was probed.
        gpus: those of this machine.
        retry: probes something else, to recommend nothing that was not tried.
    """
    if outcome.result is None:
        by = "" if wanted.backend == "onnxruntime" else f" by {wanted.backend}"
        where = "" if wanted.device == "auto" else f" on {wanted.device}"
        precision = "" if wanted.precision == "auto" else f" in {wanted.precision}"
        what = f"the networks do not run{by}{where}{precision}"
        without = outcome.kind == DeviceError.__name__ and wanted.needs_gpu and not gpus.listed
        why = f"{outcome.reason}; no GPU was found: {gpus.why_none}" if without else outcome.reason
        remedy = _remedy(outcome, wanted, gpus=gpus, retry=retry)
        return (problem("would run", "networks", what, why=why, remedy=remedy),), None
    manifest = wanted.bundle.manifest
    runs = WouldRun(
        **{**outcome.result, "notes": tuple(outcome.result["notes"])},
        sampling=manifest.sampling.key,
        comparisons=tuple(_comparison(manifest, method, outcome.result["precision"]) for method in METHODS),
    )
    return (_networks(runs, wanted, gpus), _verdicts(runs, wanted)), runs


def _comparison(manifest: Manifest, method: Method, precision: str) -> Comparison:
    entry = manifest.threshold(method, precision, manifest.sampling.key)
    threshold = entry.threshold if entry else None
    return Comparison(method=method, threshold=threshold, default=method == manifest.default_method)


def _networks(runs: WouldRun, wanted: Wanted, gpus: Gpus) -> Finding:
    what = f"{runs.device} ({runs.provider}), {runs.precision}, {runs.threads} threads"
    notes = "; ".join(map(cause_of, runs.notes))
    if wanted.device != "auto" or runs.device != "cpu" or not (gpus.listed or installed(GPU_WHEEL)):
        return Finding(topic="would run", name="networks", what=f"{what}; {notes}" if notes else what)
    why = notes or f"ONNX Runtime is the one for the CPU, but there is a GPU ({gpus.text})"
    remedy = _mend_cuda(gpus, otherwise="pip uninstall -y onnxruntime-gpu && pip install 'weaksvr[cpu]'")
    return Finding(topic="would run", name="networks", state="warning", what=what, why=why, remedy=remedy)


def _verdicts(runs: WouldRun, wanted: Wanted) -> Finding:
    known = ", ".join(
        f"{entry.method} {'(default) ' if entry.default else ''}at {entry.threshold:g}"
        for entry in runs.comparisons
        if entry.threshold is not None
    )
    what = f"{runs.sampling}; {known or 'no threshold'}"
    default = next(entry for entry in runs.comparisons if entry.default)
    if default.threshold is not None:
        return Finding(topic="would run", name="verdicts", what=what)
    why = f"{default.method}, the bundle's default, has no threshold for {runs.precision} and {runs.sampling}"
    remedy = wanted.verify("--threshold NUMBER")
    return Finding(topic="would run", name="verdicts", state="warning", what=what, why=why, remedy=remedy)


def _remedy(outcome: Outcome, wanted: Wanted, *, gpus: Gpus, retry: Callable[[Wanted], Outcome]) -> str:
    if outcome.kind in BUNDLE_ERRORS:
        return remade(wanted.bundle.path)
    by_tensorrt = wanted.backend != "onnxruntime" and outcome.kind in FOR_TENSORRT
    if by_tensorrt or outcome.kind != DeviceError.__name__:
        return _mend_tensorrt(outcome, wanted, gpus) if by_tensorrt else _reinstalled(outcome.library)
    is_there = wanted.precision in ("auto", *wanted.bundle.manifest.precisions)
    if is_there and wanted.device == "auto" and gpus.listed:
        return _mend_cuda(gpus, otherwise=remade(wanted.bundle.path))
    if wanted.precision != "auto":
        other = retry(dataclasses.replace(wanted, precision="auto"))
        if other.result is not None:
            return wanted.verify(f"--precision {other.result['precision']}")
    if wanted.device == "cuda":
        return _mend_cuda(gpus, otherwise=wanted.verify("--device cpu"))
    return remade(wanted.bundle.path)  # it holds nothing that runs on a CPU; an export always does


def _mend_tensorrt(outcome: Outcome, wanted: Wanted, gpus: Gpus) -> str:
    if not gpus.listed or outcome.kind == OptionError.__name__:
        return wanted.verify("--backend onnxruntime")
    if wanted.backend == "onnxruntime-tensorrt":
        return "pip install 'weaksvr[gpu]' 'tensorrt-cu13<11'"  # ONNX Runtime's wheels are made for TensorRT 10
    if outcome.kind == MissingExtraError.__name__:
        return "pip install 'weaksvr[tensorrt]'"
    return rebuild_command(wanted.bundle.path)


def _mend_cuda(gpus: Gpus, *, otherwise: str) -> str:
    """What makes CUDA work, or `otherwise` where there is no GPU for it."""
    if not gpus.listed:
        return otherwise
    if installed(GPU_WHEEL) is None:
        return "pip uninstall -y onnxruntime && pip install 'weaksvr[gpu]'"
    libraries = [item for item in requirements(GPU_WHEEL) if item.extra in CUDA_EXTRAS]
    if all(installed(item.name) for item in libraries):
        return f"pip install --force-reinstall '{GPU_WHEEL}[{','.join(CUDA_EXTRAS)}]'"
    return "pip install 'weaksvr[gpu]'"


def _reinstalled(library: str) -> str:
    """The command that brings back a library; of ONNX Runtime, the wheel that is installed; of nothing, ourselves."""
    names = ONNXRUNTIMES if library == "onnxruntime" else (library or OWN_NAME,)
    wheel = next((wheel for name in names if (wheel := installed(name))), None)
    return reinstall(wheel) if wheel else f"pip install --force-reinstall {library}"
