from __future__ import annotations

import pytest
from weaksvr.runtime.doctor import gpu
from weaksvr.runtime.doctor.gpu import find_gpus


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Puts a program of that name on an otherwise empty path."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def write(source: str) -> None:
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{source}\n")
        path.chmod(0o755)

    return write


def test_two_gpus(nvidia_smi):
    nvidia_smi('echo "$@" >&2; printf "A, 1, 9.0\\nB, 1, 8.0\\n"')
    found = find_gpus()
    assert found.listed == ("A, 1, 9.0", "B, 1, 8.0")
    assert found.text == "A, 1, 9.0; B, 1, 8.0"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("echo 'NVIDIA-SMI has failed because of X'; exit 9", "lists none (NVIDIA-SMI has failed because of X)"),
        ("echo 'No devices were found' >&2", "lists none (No devices were found)"),
        ("exit 6", "lists none (exit code 6)"),
        ("exec /bin/sleep 60", "did not answer within 1 s"),
    ],
)
def test_no_gpu(nvidia_smi, monkeypatch, source, why):
    monkeypatch.setattr(gpu, "TIME_LIMIT_SECONDS", 1 if "sleep" in source else 60)
    nvidia_smi(source)
    assert find_gpus().text == f"none: nvidia-smi {why}"


def test_no_driver(nvidia_smi):
    assert find_gpus().text == "none: there is no nvidia-smi, which comes with NVIDIA's driver"


def test_a_program_of_another_machine(nvidia_smi, tmp_path):
    (tmp_path / "nvidia-smi").write_bytes(b"\x7fELF nothing")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert find_gpus().why_none == f"{tmp_path}/nvidia-smi cannot be run: Exec format error"
