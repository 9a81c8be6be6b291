from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from weaksvr.export.draft import make_draft
from weaksvr.export.isolated import Child, IsolatedBackend
from weaksvr.runtime.errors import ExportError


@pytest.fixture
def draft(exports, tmp_path):
    bundle = exports["vit"].bundle(tmp_path / "bundle")
    return make_draft(bundle.manifest, exports["vit"].networks.values(), precision="fp32")


def test_networks_run_in_a_process_of_their_own(exports, draft):
    source = exports["vit"].source
    frames = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    with Child("fp32") as child:
        backend = IsolatedBackend(child, draft, precision="fp32")
        assert (backend.device, backend.provider, backend.optimization) == ("cpu", "CPUExecutionProvider", "all")
        found = backend.run("vision", {"frames": frames})["features"]
        assert backend.seconds > 0
        np.testing.assert_allclose(found, source.backend.run("vision", {"frames": frames})["features"], atol=1e-4)
        with pytest.raises(
            ExportError, match=r"^fp32: loading the networks: test: has no precision 'fp16'; it has fp32$"
        ):
            IsolatedBackend(child, draft, precision="fp16")


def test_torch_is_not_there():
    code = f"import sys, {', '.join(f'weaksvr.export.{name}' for name in ('child', 'quantize', 'rounding'))}"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print(sorted({{'torch', 'onnx'}} & set(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "['onnx']\n"


def test_what_fails_there_fails_here_in_one_line():
    with Child("int8") as child:
        with pytest.raises(ExportError, match=r"^int8: running the vision network: no bundle was opened$"):
            child.call("running the vision network", "run", "vision", {})
        with pytest.raises(ExportError, match=r"int8: quantizing the text network: .*"):
            child.call("quantizing the text network", "quantize", b"no network", False, "tokens", [])
        with pytest.raises(ExportError, match=r"^int8: running the text network: no bundle was opened$"):
            child.call("running the text network", "run", "text", {})


def test_a_crash_has_a_name():
    with Child("fp16") as child:
        os.kill(child.process_id, signal.SIGSEGV)
        refusal = r"^fp16: loading the networks: ONNX Runtime crashed the process \(SIGSEGV\)$"
        with pytest.raises(ExportError, match=refusal):
            child.call("loading the networks", "run", "vision", {})


def test_a_process_that_hangs_is_ended():
    with Child("fp16", patience_seconds=0.01) as child:
        os.kill(child.process_id, signal.SIGSTOP)
        with pytest.raises(ExportError, match=r"fp16: loading the networks: no answer within 0\.01 s; the process was"):
            child.call("loading the networks", "run", "vision", {})


def test_a_process_that_cannot_start_says_why(monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with Child("fp16") as child, pytest.raises(ExportError, match=r"the process ended with status 1: .+"):
        child.call("loading the networks", "run", "vision", {})


def test_a_task_says_how_far_it_is(monkeypatch, tmp_path):
    (tmp_path / "stand_in").mkdir()
    (tmp_path / "stand_in" / "__init__.py").touch()
    (tmp_path / "stand_in" / "child.py").write_text(
        "import pickle, sys, time\n"
        "task, arguments = pickle.load(sys.stdin.buffer)\n"
        "for answer in ((None, (1, 4)), (None, (3, 4)), (True, 'done')):\n"
        "    time.sleep(0.4)\n"
        "    pickle.dump(answer, sys.stdout.buffer)\n"
        "    sys.stdout.buffer.flush()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("weaksvr.export.isolated.__package__", "stand_in")
    said = []
    with Child("engines", patience_seconds=60) as child:
        assert child.call("building", "build", report=lambda *parts: said.append(parts)) == "done"
    assert said == [(1, 4), (3, 4)]


def test_a_crash_of_tensorrt_is_said_to_be_its_own():
    with Child("fp16-tensorrt", library="TensorRT") as child:
        os.kill(child.process_id, signal.SIGSEGV)
        with pytest.raises(ExportError, match=r"^fp16-tensorrt: building: TensorRT crashed the process \(SIGSEGV\)$"):
            child.call("building", "build")
