from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from weaksvr.runtime import open_video
from weaksvr.runtime.bundle import write_bundle
from weaksvr.runtime.doctor.probe import CLIP, CODECS, try_networks, try_video
from weaksvr.runtime.errors import BundleError, DeviceError

COLOURS = ((200, 30, 30), (20, 180, 40), (30, 40, 220))


@pytest.fixture
def said():
    """What a probe says that it does, with the library."""
    return []


def test_the_clip_shows_what_it_should():
    with open_video(CLIP) as video:
        assert (video.num_frames, video.height, video.width) == (12, 64, 64)
        frames = video.frames([1, 5, 9])
    np.testing.assert_allclose(frames.mean(axis=(1, 2)), COLOURS, atol=6)


def test_video(said):
    found = try_video(lambda _, library: said.append(library))
    assert found == {"decoders": list(CODECS)}
    assert said == ["numpy", "av", "av", "av"]


def test_networks(said, toy_bundle):
    found = try_networks(lambda what, _: said.append(what), str(toy_bundle), "onnxruntime", "cpu", "auto")
    threads = found.pop("threads")
    assert threads >= 1
    assert found == {"device": "cpu", "provider": "CPUExecutionProvider", "precision": "fp32", "notes": []}
    assert said[-5:] == [
        "loading the bundle",
        "running the vision network",
        "running the temporal network",
        "cutting a text into tokens",
        "running the text network",
    ]


def test_a_bundle_without_text(toys, tmp_path, said):
    networks = [network for network in toys.networks() if network.role != "text"]
    write_bundle(tmp_path / "silent", toys.manifest(), networks)
    try_networks(lambda what, _: said.append(what), str(tmp_path / "silent"), "onnxruntime", "cpu", "fp32")
    assert said[-1] == "running the temporal network"


def test_a_precision_that_is_not_there(toy_bundle):
    with pytest.raises(DeviceError, match="has no precision 'fp64'"):
        try_networks(lambda *_: None, str(toy_bundle), "onnxruntime", "cpu", "fp64")


def test_a_network_that_cannot_be_run(toys, tmp_path):
    graphs = toys.model().graphs()
    graphs["vision"].graph.node[2].op_type = "NoSuchOperator"
    networks = [toys.network(role, graph) for role, graph in graphs.items()]
    write_bundle(tmp_path / "bad", toys.manifest(), networks, tokenizer=toys.tokenizer())
    with pytest.raises(BundleError, match="cannot be loaded"):
        try_networks(lambda *_: None, str(tmp_path / "bad"), "onnxruntime", "cpu", "auto")


def test_what_libraries_print_does_not_mix_with_the_result(toy_bundle):
    program = """
import os, sys
from weaksvr.runtime.doctor import probe
def noisy(say):
    os.write(1, b"noise of a library\\n")
    print("more noise")
    say("working", "library")
    raise ValueError("broken")
probe.PROBES = {"noisy": noisy}
sys.argv = ["probe", "noisy"]
probe.main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines == [{"doing": "working", "library": "library"}, {"error": ["ValueError", "ValueError: broken"]}]
    assert "noise of a library" in done.stderr
