"""Which NVIDIA GPUs there are, as their driver's own tool tells."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from typing import Final

__all__ = ["Gpus", "find_gpus"]

TIME_LIMIT_SECONDS: Final = 10.0
QUERY: Final = ("--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Gpus:
    """What was found.

    Attributes:
        listed: one line a GPU: its name, the driver's version, its compute capability.
        why_none: why there is none; empty if there is one.
    """

    listed: tuple[str, ...] = ()
    why_none: str = ""

    @property
    def text(self) -> str:
        return "; ".join(self.listed) or f"none: {self.why_none}"

    @property
    def first(self) -> tuple[str, str] | None:
        """Name and compute capability of the first one; None without one, or if its driver does not tell."""
        match = re.fullmatch(r"(.+), [^,]+, (\d+\.\d+)", self.listed[0]) if self.listed else None
        return (match[1], match[2]) if match else None


def find_gpus() -> Gpus:
    """Ask nvidia-smi, which comes with the driver, and is handed into containers that may use the GPU."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return Gpus(why_none="there is no nvidia-smi, which comes with NVIDIA's driver")
    try:
        done = subprocess.run(
            [program, *QUERY], capture_output=True, text=True, timeout=TIME_LIMIT_SECONDS, check=False, errors="replace"
        )
    except subprocess.TimeoutExpired:
        return Gpus(why_none=f"nvidia-smi did not answer within {TIME_LIMIT_SECONDS:g} s")
    except OSError as error:
        return Gpus(why_none=f"{program} cannot be run: {error.strerror or error}")
    lines = tuple(line.strip() for line in done.stdout.splitlines() if line.strip())
    if done.returncode != 0 or not lines:
        said = lines or tuple(done.stderr.split("\n")[:1])
        return Gpus(why_none=f"nvidia-smi lists none ({' '.join(said).strip() or f'exit code {done.returncode}'})")
    return Gpus(listed=lines)
