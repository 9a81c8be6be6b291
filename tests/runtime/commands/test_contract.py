"""What every command that takes videos does with hostile input: exit code 2, one line, no traceback, nothing left."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

ERROR = "weaksvr.error/1"
SAME_PROCEDURE = "take the cup\npour water\nstir\n"
ODD_NAME = "odd\n\x1b[31m\x07name.mp4"


def one_frame(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 32
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())


def sound_alone(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for _ in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


VIDEOS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": ("missing.mp4", lambda _: None, "VideoNotFoundError"),
    "folder without frames": ("folder", Path.mkdir, "VideoFormatError"),
    "empty file": ("empty.mp4", Path.touch, "VideoFormatError"),
    "text": ("text.mp4", lambda path: path.write_text("This is no video.\n" * 50), "VideoFormatError"),
    "concat list": (
        "concat.mp4",
        lambda path: path.write_text("ffconcat version 1.0\nfile good.mp4\n"),
        "VideoFormatError",
    ),
    "playlist": (
        "list.mp4",
        lambda path: path.write_text("#EXTM3U\n#EXTINF:2.0,\ngood.mp4\n#EXT-X-ENDLIST\n"),
        "VideoFormatError",
    ),
    "cut off": (
        "cut.mp4",
        lambda path: path.write_bytes(path.with_name("good.mp4").read_bytes()[:400]),
        "VideoFormatError",
    ),
    "one frame": ("one.mp4", one_frame, "TooFewFramesError"),
    "pipe": ("pipe.mp4", os.mkfifo, "VideoFormatError"),
    "odd name": (ODD_NAME, lambda path: path.write_text("no video"), "VideoFormatError"),
    "odd name, missing": (ODD_NAME, lambda _: None, "VideoNotFoundError"),
    "no permission": ("locked.mp4", lambda path: (path.write_bytes(b"x" * 100), path.chmod(0)), "VideoError"),
    "sound alone": ("song.mp4", sound_alone, "VideoFormatError"),
}
COMMANDS: dict[str, tuple[str, list[str]]] = {
    "verify, as A": ("verify", ["VIDEO", "good.mp4"]),
    "verify, as B": ("verify", ["good.mp4", "VIDEO"]),
    "verify, explained": ("verify", ["good.mp4", "VIDEO", "--script", "script.txt"]),
    "verify, as reference": ("verify", ["--reference", "VIDEO", "good.mp4", "--out", "out.csv"]),
    "verify, as recording": ("verify", ["--reference", "good.mp4", "VIDEO"]),
    "timeline": ("timeline", ["script.txt", "VIDEO"]),
    "match": ("match", ["script.txt", "VIDEO"]),
    "embed": ("embed", ["VIDEO", "--out", "out.parquet"]),
    "gallery add": ("gallery", ["add", "g", "VIDEO"]),
    "gallery search": ("gallery", ["search", "full", "--video", "VIDEO"]),
}


@pytest.fixture(scope="module")
def gallery(videos, toy_bundle, tmp_path_factory):
    """A gallery with one video, made by the command itself."""
    path = tmp_path_factory.mktemp("gallery") / "full"
    module = importlib.import_module("weaksvr.runtime.commands.gallery")
    arguments = ["add", str(path), str(videos.first), "--bundle", str(toy_bundle), "--device", "cpu"]
    assert module.gallery.main(arguments, standalone_mode=False) == 0
    return path


@pytest.fixture
def call(videos, toy_bundle, tmp_path, monkeypatch, capfd):
    """Runs a command as its console script does: (exit code, stdout, stderr). It stands in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(videos.first, "good.mp4")
    Path("script.txt").write_text(SAME_PROCEDURE)

    def run(name, *arguments, bundle=toy_bundle):
        module = importlib.import_module(f"weaksvr.runtime.commands.{name}")
        given = [*arguments] if bundle is None else [*arguments, "--bundle", str(bundle), "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", [f"weaksvr-{name}", *given])
        with pytest.raises(SystemExit) as done:
            module.main()
        return (done.value.code, *capfd.readouterr())

    return run


def with_video(arguments, name):
    return [name if word == "VIDEO" else word for word in arguments]


def one_clear_line(err):
    """The line, after what holds for all: nothing more than it, no traceback, no control characters."""
    assert err.endswith("\n"), err
    (line,) = err.splitlines()
    assert line.isprintable()
    assert "unexpected" not in line
    assert "Traceback" not in line
    return line


def is_document_of_failures(out):
    """Whether a command that takes many videos answers with its own document, in which the bad one is named."""
    document = json.loads(out)
    if document["schema"] == "weaksvr.verify-many/1":
        return document["failed"] == 1 and document["recordings"][0]["error"]
    return len(document["failures"]) == 1


GOES_ON = ("verify, as recording", "match", "embed", "gallery add")  # a bad video is a result; the rest goes on


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("case", "more"), [*((case, ["--json"]) for case in VIDEOS), ("text", []), ("odd name", [])])
def test_hostile_videos(call, gallery, tmp_path, case, command, more):
    if case == "no permission" and os.geteuid() == 0:
        pytest.skip("root may read everything")
    name, make, kind = VIDEOS[case]
    if command in GOES_ON:
        kind = "OptionError"  # the name leads to no video; a video that is bad is a result
    module, arguments = COMMANDS[command]
    make(Path(name))
    if "full" in arguments:
        shutil.copytree(gallery, "full")
    before = {str(path) for path in tmp_path.rglob("*")}
    code, out, err = call(module, *with_video(arguments, name), *more)
    line = one_clear_line(err)
    document = json.loads(out) if more else None
    if line.startswith("error: "):
        assert code == 2
        assert out == "" if document is None else document == error(kind, line)
        assert {str(path) for path in tmp_path.rglob("*")} == before
    else:
        assert command in GOES_ON
        assert line.startswith("failed: ")
        assert code == (1 if command == "embed" else 2)
        assert document is None or is_document_of_failures(out)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".part", ".tmp") or path.name[0] == "."]


def error(kind, line):
    return {"schema": ERROR, "error": {"type": kind, "message": line.removeprefix("error: ")}}


SCRIPTS: dict[str, bytes | None] = {
    "missing": None,
    "empty": b"",
    "comments alone": b"# nothing\n\n",
    "binary": b"\x7fELF" + bytes(range(256)) * 4,
    "not UTF-8": "Zürich\n".encode("latin-1"),
    "NUL": b"take\0the cup\n",
    "huge": b"take the cup\n" * 200_000,
}
WITH_SCRIPT = {
    "verify": ["good.mp4", "good.mp4", "--script", "bad.txt"],
    "timeline": ["bad.txt", "good.mp4"],
    "match": ["bad.txt", "good.mp4"],
    "gallery": ["search", "full", "--script", "bad.txt"],
}


@pytest.mark.parametrize("name", WITH_SCRIPT)
@pytest.mark.parametrize("case", SCRIPTS)
def test_hostile_scripts(call, gallery, case, name):
    content = SCRIPTS[case]
    if content is not None:
        Path("bad.txt").write_bytes(content)
    shutil.copytree(gallery, "full")
    code, out, err = call(name, *WITH_SCRIPT[name], "--json")
    assert code == 2
    assert json.loads(out) == error("DataError", one_clear_line(err))
    assert one_clear_line(err).startswith("error: bad.txt: ")


def no_manifest(path: Path) -> None:
    (path / "manifest.json").unlink()


def cut_manifest(path: Path) -> None:
    manifest = path / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:200])


def other_manifest(path: Path) -> None:
    (path / "manifest.json").write_text("[1, 2]")


def binary_manifest(path: Path) -> None:
    (path / "manifest.json").write_bytes(bytes(range(256)))


def cut_network(path: Path) -> None:
    for network in path.glob("*.onnx"):
        network.write_bytes(network.read_bytes()[:50])


ON_A_BUNDLE = {
    "verify": ["good.mp4", "good.mp4"],
    "timeline": ["script.txt", "good.mp4"],
    "match": ["script.txt", "good.mp4"],
    "embed": ["good.mp4", "--out", "out.parquet"],
    "gallery": ["add", "g", "good.mp4"],
}


@pytest.mark.parametrize("name", ON_A_BUNDLE)
@pytest.mark.parametrize(
    "damage", [shutil.rmtree, no_manifest, cut_manifest, other_manifest, binary_manifest, cut_network]
)
def test_hostile_bundles(call, own_bundle, tmp_path, name, damage):
    damage(own_bundle)
    before = set(tmp_path.rglob("*"))
    code, out, err = call(name, *ON_A_BUNDLE[name], "--json", bundle=own_bundle)
    line = one_clear_line(err)
    assert code == 2
    assert json.loads(out)["error"]["type"] in ("BundleNotFoundError", "BundleIntegrityError", "BundleError")
    assert json.loads(out)["error"]["message"] == line.removeprefix("error: ")
    assert set(tmp_path.rglob("*")) == before


WRITES = {
    "verify": ["--reference", "good.mp4", "good.mp4", "--out", "OUT"],
    "embed": ["good.mp4", "--out", "OUT"],
}
PLACES = {"no folder": "no/folder/out", "a folder": "folder", "below a file": "good.mp4/out", "full": "/dev/full"}


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("place", PLACES)
def test_hostile_outputs(call, tmp_path, name, place):
    if place == "full" and not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    Path("folder").mkdir()
    before = set(tmp_path.rglob("*"))
    arguments = [PLACES[place] if word == "OUT" else word for word in WRITES[name]]
    code, out, err = call(name, *arguments, "--json")
    assert code == 2
    assert json.loads(out)["error"]["message"] == one_clear_line(err).removeprefix("error: ")
    assert set(tmp_path.rglob("*")) == before
