"""A small rendered dataset, a small network trained on it, and the commands as processes that start at once."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from weaksvr.train.config import TrainConfig
    from weaksvr.train.model import WeakSVR

SIZE, NUM_FRAMES = 32, 8


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are no faster with more threads, and far slower where other programs want the cores too."""
    before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    os.environ.update(dict.fromkeys(before, "1"))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    yield
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """A dataset folder: 12 videos to train on, 6 to validate, 6 to test."""
    from weaksvr.train.datasets.workbench.writer import make_dataset

    folder = tmp_path_factory.mktemp("workbench") / "data"
    make_dataset(folder, train=12, val=6, test=6, seed=3, size=64)
    return folder


@pytest.fixture(scope="session")
def settings(tmp_path_factory) -> list[str]:
    """What makes the workbench preset small, as `section.key=value`."""
    return [
        f"data.size={SIZE}",
        f"data.num_frames={NUM_FRAMES}",
        "data.batch_size=4",
        "data.workers=0",
        f"data.cache={tmp_path_factory.mktemp('frames')}",
        "optim.epochs=2",
        "optim.precision=fp32",
    ]


@pytest.fixture(scope="session")
def config(settings) -> TrainConfig:
    from weaksvr.train.config import override
    from weaksvr.train.presets import preset

    return override(preset("workbench"), settings)


@pytest.fixture(scope="session")
def run_folder(data, config, tmp_path_factory) -> Path:
    """A finished RUN. Not to be written into."""
    from weaksvr.train.engine import train
    from weaksvr.train.progress import Reporter

    out = tmp_path_factory.mktemp("runs") / "run"
    reporter = Reporter(None, tensorboard=out / "tensorboard")
    train(data, out, config, device="cpu", reporter=reporter)
    reporter.close()
    return out


@pytest.fixture(scope="session")
def model(config) -> WeakSVR:
    """The untrained network, in evaluation mode. Not to be changed."""
    import torch
    from weaksvr.train.model import WeakSVR

    torch.manual_seed(0)
    return WeakSVR(config).eval()


@dataclasses.dataclass
class Process:
    """A command that runs in a process of its own.

    Attributes:
        number: the process's.
        stdout, stderr: what it has printed so far.
    """

    number: int
    _out: Path
    _err: Path
    _read: Callable[[], str]
    _code: int | None = None

    def kill(self) -> None:
        os.kill(self.number, signal.SIGKILL)

    def wait_until(self, condition: Callable[[], object], *, seconds: float = 300) -> bool:
        """Whether `condition` came true before the process ended."""
        deadline = time.monotonic() + seconds
        while self._runs():
            if condition():
                return True
            assert time.monotonic() < deadline, self.stderr
            time.sleep(0.001)
        return bool(condition())

    def _runs(self) -> bool:
        state = Path(f"/proc/{self.number}/stat")
        return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"

    def wait(self) -> int:
        """The exit code; minus the signal's number if one ended it."""
        if self._code is None:
            self._code = int(self._read())
        return self._code

    @property
    def stdout(self) -> str:
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        return self._err.read_text()


class Commands:
    """Starts the project's commands, one at a time."""

    def __init__(self, server: subprocess.Popen[str], folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._count = 0

    def start(self, command: str, *arguments: object) -> Process:
        self._count += 1
        out, err = (self._folder / f"{self._count}.{name}" for name in ("out", "err"))
        request = {"command": command, "arguments": [str(a) for a in arguments], "stdout": str(out), "stderr": str(err)}
        assert self._server.stdin
        assert self._server.stdout
        print(json.dumps(request), file=self._server.stdin, flush=True)
        return Process(int(self._server.stdout.readline()), out, err, self._server.stdout.readline)

    def __call__(self, command: str, *arguments: object) -> Process:
        """Run to the end."""
        process = self.start(command, *arguments)
        process.wait()
        return process


@pytest.fixture(scope="session")
def commands(tmp_path_factory) -> Iterator[Commands]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error", "COLUMNS": "80"}
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "forking.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    yield Commands(server, tmp_path_factory.mktemp("printed"))
    assert server.stdin
    server.stdin.close()
    server.wait(timeout=300)
    assert server.stdout
    server.stdout.close()
