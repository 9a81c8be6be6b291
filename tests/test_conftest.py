"""The test suite's own rules, tried on a small suite in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SKIPS = """
import pytest

@pytest.mark.needs_tool("no-such-program")
def test_tool(): ...

@pytest.mark.skipif(True, reason="no GPU")
def test_gpu(): ...
"""
NEEDS_GPU = """
import pytest

@pytest.mark.gpu()
def test_gpu(): ...

@pytest.mark.gpu("no_such_module")
def test_module(): ...

@pytest.mark.gpu("onnxruntime", provider="NoSuchProvider")
def test_provider(): ...
"""
DRAWS = """
import random
import numpy as np
import pytest
import torch

DRAWN = []

@pytest.mark.parametrize("time", [0, 1])
def test_random(time):
    DRAWN.append((random.random(), float(np.random.rand()), float(torch.rand(1))))
    assert DRAWN[0] == DRAWN[-1]
"""


def run_suite(folder: Path, tests: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_suite.py").write_text(tests)
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "WEAKSVR"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "--strict-markers", "-p", "no:cacheprovider", "--rootdir=.", "."],
        cwd=folder,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_missing_tool_is_a_skip(tmp_path):
    done = run_suite(tmp_path, SKIPS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 skipped" in done.stdout
    assert "needs no-such-program on the PATH" in done.stdout


def test_missing_tool_is_a_failure_where_all_tools_must_be_there(tmp_path):
    done = run_suite(tmp_path, SKIPS, WEAKSVR_FAIL_ON_SKIP="1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 skipped, 1 error" in done.stdout
    assert "needs no-such-program on the PATH (WEAKSVR_FAIL_ON_SKIP is set)" in done.stdout


def test_random_numbers_are_restored_and_versions_are_named(tmp_path):
    done = run_suite(tmp_path, DRAWS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert f"numpy {np.__version__}" in done.stdout
    assert "onnxruntime providers: " in done.stdout


@pytest.fixture
def with_gpu(tmp_path):
    """The variables of an environment where nvidia-smi lists a GPU."""
    program = tmp_path / "programs" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200 (UUID: GPU-1)'\n")
    program.chmod(0o755)
    return {"PATH": str(program.parent)}


def test_without_a_gpu_its_tests_are_skipped_even_where_all_tools_must_be_there(tmp_path):
    done = run_suite(tmp_path, NEEDS_GPU, WEAKSVR_FAIL_ON_SKIP="1", PATH=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 skipped" in done.stdout
    assert "needs an NVIDIA GPU" in done.stdout


def test_where_a_gpu_must_be_there_its_tests_fail(tmp_path):
    done = run_suite(tmp_path, NEEDS_GPU, WEAKSVR_REQUIRE_GPU="1", PATH=str(tmp_path))
    assert "3 errors" in done.stdout
    assert "needs an NVIDIA GPU (WEAKSVR_REQUIRE_GPU is set)" in done.stdout


def test_with_a_gpu_its_tests_run_if_what_drives_it_is_there(tmp_path, with_gpu):
    done = run_suite(tmp_path, NEEDS_GPU, **with_gpu)
    assert "1 passed, 2 skipped" in done.stdout, done.stdout
    assert "needs no_such_module" in done.stdout
    assert "needs ONNX Runtime's NoSuchProvider" in done.stdout


def test_what_drives_the_gpu_must_be_there_with_it(tmp_path, with_gpu):
    done = run_suite(tmp_path, NEEDS_GPU, WEAKSVR_REQUIRE_GPU="1", **with_gpu)
    assert "1 passed, 2 errors" in done.stdout, done.stdout
    assert "needs no_such_module (WEAKSVR_REQUIRE_GPU is set)" in done.stdout
