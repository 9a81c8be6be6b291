"""Whether a bundle's TensorRT engines could run here, as far as that shows without loading anything."""

from __future__ import annotations

from typing import Final

from ..bundle import Bundle
from ..engine_file import EngineFile, Machine, rebuild_command, why_unusable
from .findings import Finding, State
from .gpu import Gpus
from .packages import installed

__all__ = ["check_engines"]

TENSORRT: Final = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")
LEAN: Final = ("tensorrt-lean", "tensorrt-lean-cu13", "tensorrt-lean-cu12")


def check_engines(bundle: Bundle, gpus: Gpus, *, wanted: bool) -> Finding | None:
    """Compare what the engines were built for with the first GPU and the installed TensorRT.

    Args:
        bundle: the bundle; None comes back if it has no engines.
        gpus: those of this machine. Without one, nothing is missed.
        wanted: whether the engines are what is to run, so that it is a problem if they cannot.
    """
    engines = bundle.manifest.engines
    if not engines:
        return None
    names = ", ".join(f"{engine.role} {engine.precision}" for engine in engines)
    built = f"TensorRT {engines[0].tensorrt}, {engines[0].device_name}"
    what = f"{names}; {built}"
    if gpus.first is None:
        return Finding(topic="bundle", name="engines", what=what)
    versions = _versions(lean=all(engine.version_compatible for engine in engines))
    if not versions:
        why = "there is a GPU, but TensorRT is not installed"
        remedy = f"pip install tensorrt-cu13=={engines[0].tensorrt} 'cuda-python>=13'"
    else:
        why = next((reason for engine in engines if (reason := _reason(engine, versions, gpus.first))), "")
        remedy = rebuild_command(bundle.path)
    if not why:
        return Finding(topic="bundle", name="engines", what=what)
    state: State = "problem" if wanted else "warning"
    return Finding(topic="bundle", name="engines", state=state, what=f"{what}: unusable", why=why, remedy=remedy)


def _versions(*, lean: bool) -> list[str]:
    """Of the installed TensorRT, and of its lean runtime if that would do."""
    wheels = map(installed, (*TENSORRT, *(LEAN if lean else ())))
    return [wheel.version for wheel in wheels if wheel is not None]


def _reason(engine: EngineFile, versions: list[str], gpu: tuple[str, str]) -> str:
    """Why no installed version can run it; empty if one can."""
    name, capability = gpu
    version = engine.tensorrt if engine.tensorrt in versions else versions[0]
    return why_unusable(engine, Machine(tensorrt=version, compute_capability=capability, device_name=name))
