"""What holds for every test: versions in the header, random numbers restored, no skip where a tool must be there."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pytest

FAIL_ON_SKIP = "WEAKSVR_FAIL_ON_SKIP"
"""Set to 1 where all tools are installed: a test that would be skipped for want of one fails instead."""

MAX_TORCH_THREADS = 4  # the networks of the tests are small; more threads only wait for one another


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"needs_tool(*names): skipped unless these programs are on the PATH; fails instead with {FAIL_ON_SKIP}=1",
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
    if not missing:
        return
    reason = f"needs {', '.join(missing)} on the PATH"
    if os.environ.get(FAIL_ON_SKIP, "") not in ("", "0"):
        pytest.fail(f"{reason} ({FAIL_ON_SKIP} is set)", pytrace=False)
    pytest.skip(reason)


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
