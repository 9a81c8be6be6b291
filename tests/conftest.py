"""What holds for every test: versions in the header, random numbers restored, no skip where a tool must be there."""

from __future__ import annotations

import functools
import importlib.util
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pytest

FAIL_ON_SKIP = "WEAKSVR_FAIL_ON_SKIP"
"""Set to 1 where all tools are installed: a test that would be skipped for want of one fails instead."""

REQUIRE_GPU = "WEAKSVR_REQUIRE_GPU"
"""Set to 1 where there is a GPU: a test that would be skipped for want of it, or of what drives it, fails instead."""

MAX_TORCH_THREADS = 4  # the networks of the tests are small; more threads only wait for one another


def pytest_configure(config: pytest.Config) -> None:
    os.environ["WEAKSVR_CACHE"] = "off"  # nothing is written to the user's home, nothing taken from there
    config.addinivalue_line(
        "markers",
        f"needs_tool(*names): skipped unless these programs are on the PATH; fails instead with {FAIL_ON_SKIP}=1",
    )
    config.addinivalue_line(
        "markers",
        "gpu(*modules, provider=None): skipped unless there is an NVIDIA GPU, these modules, and the provider of ONNX "
        f"Runtime; fails instead with {REQUIRE_GPU}=1",
    )


def pytest_report_header() -> list[str]:
    """The versions that a report of a failure must name."""
    names = {
        "numpy": "numpy",
        "av": "av",
        "onnxruntime": "onnxruntime",
        "torch": "torch",
        "open_clip": "open_clip_torch",
    }
    shown = ", ".join(f"{name} {_installed(package)}" for name, package in names.items())
    return [f"with: {shown}", f"onnxruntime providers: {_providers()}"]


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return version("onnxruntime-gpu") + " (gpu)" if _is_gpu_wheel(package) else "absent"


def _is_gpu_wheel(package: str) -> bool:
    return package == "onnxruntime" and importlib.util.find_spec("onnxruntime") is not None


def _providers() -> str:
    if importlib.util.find_spec("onnxruntime") is None:
        return "none"
    import onnxruntime

    return ", ".join(onnxruntime.get_available_providers())


def pytest_runtest_setup(item: pytest.Item) -> None:
    wanted = [name for marker in item.iter_markers("needs_tool") for name in marker.args]
    missing = [name for name in wanted if shutil.which(name) is None]
    if missing:
        _skip(f"needs {', '.join(missing)} on the PATH", unless=FAIL_ON_SKIP)
    for marker in item.iter_markers("gpu"):
        absent = [name for name in marker.args if importlib.util.find_spec(name) is None]
        if not _has_gpu():
            _skip("needs an NVIDIA GPU", unless=REQUIRE_GPU)
        elif absent:
            _skip(f"needs {', '.join(absent)}", unless=REQUIRE_GPU)
        elif marker.kwargs.get("provider", "") not in _providers():
            _skip(f"needs ONNX Runtime's {marker.kwargs['provider']}", unless=REQUIRE_GPU)


def _skip(reason: str, *, unless: str) -> None:
    """Skip, or fail where the environment variable `unless` says so."""
    if os.environ.get(unless, "") not in ("", "0"):
        pytest.fail(f"{reason} ({unless} is set)", pytrace=False)
    pytest.skip(reason)


@functools.cache
def _has_gpu() -> bool:
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    listed = subprocess.run([program, "-L"], capture_output=True, text=True, check=False, timeout=60)
    return listed.returncode == 0 and listed.stdout.startswith("GPU")


@pytest.fixture(autouse=True)
def random_state() -> Iterator[None]:
    """Every test leaves the global random numbers as it found them, those of torch if it is loaded."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(min(torch.get_num_threads(), MAX_TORCH_THREADS))
    drawn, numpy_drawn = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global state is the point
    torch_drawn = None if torch is None else torch.random.get_rng_state()
    yield
    random.setstate(drawn)
    np.random.set_state(numpy_drawn)  # noqa: NPY002
    if torch is not None:
        torch.random.set_rng_state(torch_drawn)
