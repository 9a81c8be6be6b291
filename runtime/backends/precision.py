"""Which of a bundle's precisions is the fastest on a device."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = ["fastest_precision", "has_int8_instructions"]

CPU_INFO: Final = Path("/proc/cpuinfo")
INT8_FLAGS: Final = frozenset({"avx_vnni", "avx512_vnni", "asimddp", "i8mm"})  # x86 and ARM, in the kernel's names


def fastest_precision(precisions: Sequence[str], *, device: str, speed: Mapping[str, float] | None = None) -> str:
    """The one that `--precision auto` takes.

    On a GPU fp16, as its tensor units are made for it. On a CPU int8 where the CPU has instructions for its dot
    products, unless the export measured that fp32 is faster: without them int8 is slower than fp32, and a network whose
    norms and activations stay fp32 may gain less by int8 than it pays for the conversions. Else fp32, or what comes
    first where there is none.

    Args:
        precisions: what the bundle has and the device runs, at least one.
        device: `cpu` or `cuda`.
        speed: milliseconds a video on a CPU with such instructions, by precision; None or without an entry where it
            was not measured.
    """
    measured = speed or {}
    if device == "cuda":
        if "fp16" in precisions:
            return "fp16"
    elif "int8" in precisions and has_int8_instructions():
        fp32 = measured.get("fp32")
        if "fp32" not in precisions or fp32 is None or measured.get("int8", 0.0) < fp32:
            return "int8"
    return "fp32" if "fp32" in precisions else precisions[0]


@functools.cache
def has_int8_instructions() -> bool:
    """Whether the CPU has instructions for int8 dot products (VNNI on x86); False where that cannot be found out."""
    if platform.system() == "Darwin":
        return platform.machine() == "arm64"
    try:
        text = CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    names = ("flags", "Features")
    lines = (line.partition(":") for line in text.splitlines())
    return any(not INT8_FLAGS.isdisjoint(values.split()) for key, _, values in lines if key.strip() in names)
