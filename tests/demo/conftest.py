"""A page that runs in this process, with real workers, and a browser that looks at it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from weaksvr.demo.child import ModelOptions
from weaksvr.demo.limits import Limits
from weaksvr.demo.worker import WorkerPool
from weaksvr.runtime.bundle import DEFAULT_BUNDLE

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without the bundle that comes along there is nothing to show."""
    if DEFAULT_BUNDLE.is_dir():
        return
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="this checkout holds no default bundle"))


@pytest.fixture(scope="session")
def limits() -> Limits:
    return Limits(video_seconds=60, video_pixels=1000 * 1000, video_bytes=3 * 2**20)


@pytest.fixture(scope="session")
def pool(limits) -> Iterator[WorkerPool]:
    with WorkerPool(ModelOptions(num_threads=1), limits, workers=2) as opened:
        yield opened


class Server:
    """`weaksvr-demo` in a process of its own, as an operator starts it.

    Attributes:
        url: of the page.
        process: its process.
        folder: where it keeps uploads.
    """

    def __init__(self, home: Path, *options: str) -> None:
        command = [sys.executable, "-m", "weaksvr.demo.commands.demo", *options]
        self.log = home / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=home,
                env={**os.environ, "TMPDIR": str(home)},
            )
        line = self.process.stdout.readline()
        assert line.startswith("http"), self.log.read_text()
        self.url = line.split()[0]
        (self.folder,) = home.glob("weaksvr-demo-*")

    def workers(self) -> list[int]:
        """Its worker processes (Linux)."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        children = {int(number) for task in tasks for number in task.read_text().split()}
        return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]

    def end(self) -> int:
        """End it as an operator does, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        self.process.stdout.close()
        return code


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Server]:
    opened = Server(
        tmp_path_factory.mktemp("server"), "--workers", "2", "--max-mb", "3", "--max-seconds", "60", "--device", "cpu"
    )
    yield opened
    opened.end()


@pytest.fixture(scope="session")
def url(server) -> str:
    return server.url


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        opened = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", *camera])
        yield opened
        opened.close()


def write_clip(path: Path, *, frames: int = 60, size: tuple[int, int] = (64, 64), rate: int = 10) -> Path:
    """A small video whose picture changes. `size` is (height, width)."""
    height, width = size
    blocks = np.random.default_rng(3).integers(0, 255, (4, 8, 8, 3), np.uint8)
    rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
    pictures = blocks[:, rows][:, :, columns]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(rate))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(pictures[number * 4 // frames], format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """A folder of the example clips and of what no page should fall for."""
    made = tmp_path_factory.mktemp("clips")
    for clip in EXAMPLES.glob("*.mp4"):
        shutil.copy(clip, made)
    (made / "playlist.mp4").write_text("ffconcat version 1.0\nfile assembly_1.mp4\n")
    (made / "stream.mp4").write_text(f"#EXTM3U\n#EXTINF:10,\nfile://{made}/assembly_1.mp4\n#EXT-X-ENDLIST\n")
    (made / "text.mp4").write_text("not a video at all\n" * 30)
    (made / "bytes.mp4").write_bytes(np.random.default_rng(0).bytes(50_000))
    whole = (EXAMPLES / "assembly_1.mp4").read_bytes()
    (made / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    write_clip(made / "long.mp4", frames=200, rate=2)
    write_clip(made / "wide.mp4", frames=20, size=(1100, 1100))
    write_clip(made / "short.mp4", frames=2)
    return made


HOSTILE = ("playlist.mp4", "stream.mp4", "text.mp4", "bytes.mp4", "long.mp4", "wide.mp4", "short.mp4")


def memory_of(process: int) -> int:
    """Bytes of memory that a process holds (Linux)."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
