"""Which backend runs a bundle."""

from __future__ import annotations

from typing import Final, Literal, get_args

from ..bundle import Bundle
from ..errors import OptionError
from . import DeployedBackend
from .ort import Device, OrtBackend

__all__ = ["BACKENDS", "BackendName", "open_backend"]

BackendName = Literal["onnxruntime", "tensorrt", "onnxruntime-tensorrt"]
BACKENDS: Final[tuple[BackendName, ...]] = get_args(BackendName)


def open_backend(
    bundle: Bundle,
    *,
    backend: BackendName = "onnxruntime",
    device: Device = "auto",
    precision: str = "auto",
    num_threads: int | None = None,
) -> DeployedBackend:
    """The backend of that name, ready to run the bundle.

    Args:
        bundle: where the networks, or their engines, come from.
        backend: `onnxruntime`; `tensorrt`, which runs the bundle's engines; or `onnxruntime-tensorrt`, which makes its
            own from the networks. TensorRT runs on a GPU alone.
        device: `cpu`, `cuda` or `auto`.
        precision: one of the bundle's, or `auto`.
        num_threads: threads on the CPU; None takes the CPUs that this process may use.

    Raises:
        OptionError: if an option cannot be meant.
        WeakSVRError: as the backend does.
    """
    if backend not in BACKENDS:
        raise OptionError(f"backend {backend!r} is not known; use one of {', '.join(BACKENDS)}")
    if backend == "onnxruntime":
        return OrtBackend(bundle, device=device, precision=precision, num_threads=num_threads)
    if device not in ("auto", "cuda"):
        raise OptionError(f"backend {backend} runs on a GPU alone, not on device {device}; use --backend onnxruntime")
    if backend == "tensorrt":
        from .trt import TrtBackend

        return TrtBackend(bundle, precision=precision)
    from .ort_tensorrt import OrtTensorrtBackend

    return OrtTensorrtBackend(bundle, precision=precision)
