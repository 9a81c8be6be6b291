"""Where a run computes, and in which arithmetic: what is asked for is what is in effect, or an error."""

from __future__ import annotations

import os

import torch

from ..runtime.errors import OptionError
from .config import Network

__all__ = ["pick_device", "pick_precision"]


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA where it works, else the CPU.

    Raises:
        OptionError: if CUDA is asked for and not there.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise OptionError("--device cuda: PyTorch sees no CUDA device; use --device cpu, or mend the driver")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def pick_precision(asked: str, device: torch.device, *, network: Network = "transformer") -> str:
    """The arithmetic in effect; what is asked for by name is what is used.

    PyTorch's bf16 gradients of convolutions over time are garbage on CPUs where a map has fewer frames than the kernel.

    Raises:
        OptionError: if the device or the network does not have the arithmetic that is asked for.
    """
    if network == "s3d-g" and device.type == "cpu":
        if asked == "bf16":
            raise OptionError("optim.precision=bf16: s3d-g cannot be trained so on a CPU; use fp32 or auto")
        asked = "fp32" if asked == "auto" else asked
    has_bf16 = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    if asked == "auto":
        return "bf16" if has_bf16 else "fp32"
    if asked == "fp16" and device.type != "cuda":
        raise OptionError("optim.precision=fp16 needs CUDA; use bf16, fp32 or auto on a CPU")
    if asked == "bf16" and not has_bf16:
        raise OptionError(f"optim.precision=bf16: this {device.type} device has no bf16; use fp32 or auto")
    return asked
