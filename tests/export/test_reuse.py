"""What is kept of an earlier export: everything that was not touched, and nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner
from weaksvr.export import inputs as subject
from weaksvr.export.commands.export import command
from weaksvr.export.inputs import Request, inputs_of
from weaksvr.export.reuse import look
from weaksvr.runtime.bundle import Bundle, write_manifest

IDENTITY = {"name": "mine", "num_frames": None, "sampling": None}


def invoke(*arguments):
    return CliRunner().invoke(command, list(map(str, arguments)), standalone_mode=False)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@dataclasses.dataclass
class Place:
    """A run, pairs of its own copies of videos, and a bundle of them."""

    folder: object

    def __post_init__(self):
        self.run, self.out, self.pairs = (self.folder / name for name in ("run", "out", "pairs.csv"))
        self.arguments = (self.run, "--out", self.out, "--pairs", self.pairs, "--name", "mine")

    @property
    def request(self):
        options = dict.fromkeys(("description", "int8_mode"))
        engines = {
            "tensorrt": False,
            "engine_portability": "none",
            "engine_version_compatible": False,
            "strip_engines": False,
        }
        return Request(
            run=self.run,
            pretrained=None,
            pairs_file=self.pairs,
            tokenizer_file=None,
            identity=IDENTITY,
            options={"fp16": False, "int8": False, "gate_pairs": 10000, "limits": (), **options, **engines},
        )


@pytest.fixture(scope="module")
def exported(runs, data, tmp_path_factory):
    """A place where the command has exported, and what it printed."""
    place = Place(tmp_path_factory.mktemp("exported"))
    shutil.copytree(runs["workbench"], place.run)
    for number, name in enumerate("abc"):
        shutil.copy(data / f"videos/val/000{number}.mp4", place.folder / f"{name}.mp4")
    place.pairs.write_text("video_a,video_b,same\na.mp4,b.mp4,1\na.mp4,c.mp4,0\n")
    return place, invoke(*place.arguments)


@pytest.fixture
def place(exported, tmp_path):
    """A copy of that bundle, whose things a test may change and change back."""
    out = tmp_path / "out"
    shutil.copytree(exported[0].out, out)
    mine = Place(exported[0].folder)
    mine.out = out
    mine.arguments = (mine.run, "--out", out, *mine.arguments[3:])
    return mine


def test_a_second_export_does_nothing(exported):
    place, first = exported
    before = {path: path.stat().st_mtime_ns for path in (place.out, *place.out.iterdir())}
    again = invoke(*place.arguments)
    assert (first.exit_code, again.exit_code, again.return_value) == (0, 0, 0)
    assert again.stdout == first.stdout
    assert again.stderr.splitlines() == [f"nothing has changed: {place.out} is kept; --force exports it anew"]
    assert {path: path.stat().st_mtime_ns for path in (place.out, *place.out.iterdir())} == before
    documents = [invoke(*place.arguments, "--json").stdout for _ in range(2)]
    assert documents[0] == documents[1]
    assert json.loads(documents[0])["checks"] == json.loads((place.out / "manifest.json").read_text())["checks"]


DECIDED = """
import contextlib, io, json, runpy, sys
sys.argv = ["weaksvr-export", *sys.argv[1:]]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    runpy.run_module("weaksvr.export.commands.export", run_name="__main__")
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names)))
"""


def test_that_is_decided_before_anything_heavy_is_loaded(exported):
    place, _ = exported
    done = subprocess.run(
        [sys.executable, "-c", DECIDED, *map(str, place.arguments)],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    assert done.stderr.startswith("nothing has changed: ")
    loaded = set(json.loads(done.stdout))
    assert {"weaksvr", "click", "numpy"} <= loaded
    assert not loaded & {"torch", "torchvision", "open_clip", "timm", "onnx", "onnxscript", "onnxruntime", "av", "rich"}


def test_leftovers_of_a_killed_export_are_removed(place):
    before = content(place.out)
    for name in (".manifest.json.abcd.tmp", "vision.int8.01234567.onnx"):
        (place.out / name).write_bytes(b"half")
    assert look(place.out, place.request).bundle is not None
    assert content(place.out) == before


def changed_weights(place, monkeypatch):
    path = place.run / "checkpoint/model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return lambda: path.write_bytes(data)


def changed_pairs(place, monkeypatch):
    data = place.pairs.read_bytes()
    place.pairs.write_bytes(data + b"b.mp4,c.mp4,0\n")
    return lambda: place.pairs.write_bytes(data)


def changed_version(place, monkeypatch):
    folder = place.out.parent / "site/onnxruntime-99.9.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime\nVersion: 99.9\n")
    monkeypatch.syspath_prepend(folder.parent)


def changed_code(place, monkeypatch):
    copy = place.out.parent / "package"
    for part in ("runtime", "train", "export"):
        shutil.copytree(subject._PACKAGE / part, copy / part, ignore=shutil.ignore_patterns("assets", "__pycache__"))
    assert look(place.out, place.request).bundle is not None
    monkeypatch.setattr(subject, "_PACKAGE", copy)
    assert look(place.out, place.request).bundle is not None  # where it lies does not count
    (copy / "runtime/preprocess.py").write_text("# changed\n")


def changed_machine(place, monkeypatch):
    (place.out.parent / "version").write_text("NVRM version: 999")
    monkeypatch.setattr(subject, "_DRIVER", place.out.parent)


@pytest.mark.parametrize(
    ("change", "what", "networks"),
    [
        (changed_weights, "model", set()),
        (changed_pairs, "pairs", {"vision", "temporal", "text"}),
        (changed_version, "tools", set()),
        (changed_code, "code", set()),
        (changed_machine, "machine", set()),
    ],
)
def test_whatever_changes_is_seen_and_named(place, monkeypatch, change, what, networks):
    restore = change(place, monkeypatch)
    try:
        found = look(place.out, place.request)
    finally:
        (restore or (lambda: None))()
    assert (found.bundle, found.reason) == (None, f"changed: {what}")
    assert set(found.networks) == networks


@pytest.mark.parametrize(
    "options",
    [{"limits": ("fp32.tie=0.1",)}, {"fp16": True}, {"int8": True}, {"gate_pairs": 5}, {"description": "Else."}],
    ids=lambda options: next(iter(options)),
)
def test_another_option_is_another_export_of_the_same_networks(place, options):
    request = dataclasses.replace(place.request, options={**place.request.options, **options})
    found = look(place.out, request)
    assert (found.bundle, found.reason) == (None, "changed: options")
    bundle = Bundle.open(place.out)
    kept = {bundle.manifest.network(role, "fp32").sha256: network for role, network in found.networks.items()}
    assert set(kept) == {file.sha256 for file in bundle.manifest.files}
    assert all(hashlib.sha256(network.data).hexdigest() == digest for digest, network in kept.items())


def test_another_name_is_in_the_networks(place):
    found = look(place.out, dataclasses.replace(place.request, identity={**IDENTITY, "name": "other"}))
    assert (found.bundle, found.networks, found.reason) == (None, {}, "changed: model")


def test_force_keeps_nothing(place):
    found = look(place.out, place.request, force=True)
    assert (found.bundle, found.networks, found.reason) == (None, {}, "as it was asked for")


def damaged_network(out):
    path = next(out.glob("vision.*"))
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def missing_report(out):
    next(out.glob("gate.*.md")).unlink()


def damaged_manifest(out):
    (out / "manifest.json").write_text("{")


def edited_manifest(out):
    """A valid one, with another threshold."""
    manifest = Bundle.open(out).manifest
    first = dataclasses.replace(manifest.thresholds[0], threshold=manifest.thresholds[0].threshold / 10)
    write_manifest(out, dataclasses.replace(manifest, thresholds=(first, *manifest.thresholds[1:])))


def edited_record(out):
    manifest = Bundle.open(out).manifest
    write_manifest(out, dataclasses.replace(manifest, made_from={**manifest.made_from, "networks": "0"}))


def older_manifest(out):
    write_manifest(out, dataclasses.replace(Bundle.open(out).manifest, made_from={}))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damaged_network, r"what is there cannot be used: .*vision.*SHA-256 differs"),
        (missing_report, r"what is there cannot be used: .*gate.*is missing"),
        (damaged_manifest, r"what is there cannot be used: .*is not valid JSON"),
        (edited_manifest, r"its manifest\.json was edited"),
        (edited_record, r"its manifest\.json was edited"),
        (older_manifest, r"what is there does not say what it was made from"),
    ],
)
def test_a_bundle_that_is_not_as_it_was_written_is_not_kept(place, damage, reason):
    damage(place.out)
    found = look(place.out, place.request)
    assert (found.bundle, found.networks) == (None, {})
    assert re.match(reason, found.reason)


def test_where_there_is_no_bundle_there_is_nothing_to_say(place, tmp_path):
    found = look(tmp_path / "none", place.request)
    assert (found.bundle, found.networks, found.reason) == (None, {}, "")


def test_the_command_mends_what_is_damaged(place):
    before = content(place.out)
    damaged_network(place.out)
    result = invoke(*place.arguments)
    assert result.exit_code == 0
    assert f"{place.out} is made anew: what is there cannot be used: " in result.stderr
    assert "exporting the vision network\n" in result.stderr
    after = content(place.out)
    assert {name: data for name, data in after.items() if name.endswith(".onnx")} == {
        name: data for name, data in before.items() if name.endswith(".onnx")
    }
    assert "nothing has changed" in invoke(*place.arguments).stderr


def test_variants_are_added_to_the_networks_that_are_there(place):
    before = {path.name: path.stat().st_mtime_ns for path in place.out.glob("*.onnx")}
    limits = [f"--limit=int8.{limit}" for limit in ("flips=1", "auc=1", "cosine=0.5", "difference=20")]
    result = invoke(*place.arguments, "--int8-mode", "dynamic", *limits)
    assert result.exit_code == 0, result.exception
    said = result.stderr.splitlines()
    assert said[:2] == [
        f"{place.out} is made anew: changed: options",
        "the fp32 networks are taken from the bundle that is there: what they depend on has not changed",
    ]
    assert not any(line.startswith("exporting the ") for line in said)
    manifest = Bundle.open(place.out).manifest
    assert manifest.precisions == ("fp32", "int8")
    assert manifest.checks["gate"]["precisions"]["fp32"]["networks"]  # gated as if it were new
    assert {file.path for file in manifest.files if file.precision == "fp32"} == set(before)
    assert {name: (place.out / name).stat().st_mtime_ns for name in before} == before
    assert "nothing has changed" in invoke(*place.arguments, "--int8-mode", "dynamic", *limits).stderr


def test_what_changes_during_the_export_is_not_recorded(place):
    earlier = look(place.out, place.request, force=True)
    assert set(earlier.made_from()) == {"inputs", "networks"}
    restore = changed_pairs(place, None)
    try:
        assert earlier.made_from() == {}
    finally:
        restore()


def changed(before, after):
    assert before.unknown == after.unknown == ""
    return {what for what in before.digests if before.digests[what] != after.digests[what]}


@pytest.fixture
def mine(exported, data, tmp_path):
    """A request of pairs whose videos a test may change: two files, and a folder of frames."""
    for number, name in enumerate("ab"):
        shutil.copy(data / f"videos/val/000{number}.mp4", tmp_path / f"{name}.mp4")
    (tmp_path / "frames").mkdir()
    for number in (1, 2):
        (tmp_path / f"frames/{number}.jpg").write_bytes(b"frame")
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("video_a,video_b,same\na.mp4,b.mp4,1\na.mp4,frames,0\n")
    return dataclasses.replace(exported[0].request, pairs_file=pairs)


@pytest.mark.parametrize("name", ["b.mp4", "frames/2.jpg"])
def test_a_video_that_changes_is_seen(mine, tmp_path, name):
    """Though it has as many bytes as before, and the same time of change of its content."""
    before = inputs_of(mine)
    assert inputs_of(mine) == before
    video = tmp_path / name
    status, data = video.stat(), video.read_bytes()
    with video.open("r+b") as file:
        file.write(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(video, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert changed(before, inputs_of(mine)) == {"videos"}


def test_a_frame_more_is_seen(mine, tmp_path):
    before = inputs_of(mine)
    (tmp_path / "frames/3.jpg").write_bytes(b"frame")
    assert changed(before, inputs_of(mine)) == {"videos"}


def test_the_data_of_the_run_counts_where_no_pairs_are_given(exported, tmp_path):
    place, _ = exported
    request = dataclasses.replace(place.request, pairs_file=None)
    before = inputs_of(request)
    assert changed(inputs_of(place.request), before) == {"pairs", "videos"}
    run = tmp_path / "run"  # of the same name, and with the same weights
    shutil.copytree(place.run, run)
    assert inputs_of(dataclasses.replace(request, run=run)) == before
    record = json.loads((run / "checkpoint/config.json").read_text())
    (run / "checkpoint/config.json").write_text(json.dumps(record, indent=3))
    assert changed(before, inputs_of(dataclasses.replace(request, run=run))) == {"model"}


@pytest.fixture
def model(tmp_path):
    """A folder with an open_clip model, as far as it is read before it is loaded."""
    folder = tmp_path / "model"
    folder.mkdir()
    config = {"model_cfg": {"text_cfg": {"hf_tokenizer_name": "somewhere"}}, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    (folder / "open_clip_model.safetensors").write_bytes(b"weights")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def pretrained(name, **changes):
    identity = {"name": None, "num_frames": None, "sampling": None}
    plain = Request(run=None, pretrained=str(name), pairs_file=None, tokenizer_file=None, identity=identity, options={})
    return inputs_of(dataclasses.replace(plain, **changes))


@pytest.mark.parametrize("form", ["ViT-B-32/{}/open_clip_model.safetensors", "local-dir:{}"])
def test_the_files_of_a_pretrained_model_count(model, form, tmp_path):
    name = form.format(model)
    before = pretrained(name)
    assert pretrained(name) == before
    assert changed(before, pretrained(name, identity={"num_frames": 8})) == {"model"}
    (model / "open_clip_model.safetensors").write_bytes(b"other")
    assert changed(before, pretrained(name)) == {"model"}
    (model / "open_clip_model.safetensors").write_bytes(b"weights")
    config = json.loads((model / "open_clip_config.json").read_text())
    (model / "open_clip_config.json").write_text(json.dumps({**config, "preprocess_cfg": {"mean": [0, 0, 0]}}))
    assert changed(before, pretrained(name)) == {"model"}


def test_a_tokenizer_counts_with_its_settings(model, tmp_path):
    name, file = f"ViT-B-16-SigLIP/{model}/open_clip_model.safetensors", tmp_path / "tokenizer.json"
    file.write_text("{}")
    before = pretrained(name, tokenizer_file=file)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with_settings = pretrained(name, tokenizer_file=file)
    assert changed(before, with_settings) == {"tokenizer"}
    file.write_text("{ }")
    assert changed(with_settings, pretrained(name, tokenizer_file=file)) == {"tokenizer"}


@pytest.mark.parametrize(
    ("name", "unknown"),
    [
        ("ViT-B-32/openai", "the weights come from the Hugging Face hub, which may hold others by now"),
        ("hf-hub:some/model.pt", "the weights come from the Hugging Face hub"),
        ("ViT-B-16-SigLIP/{}", "the tokenizer comes from the Hugging Face hub"),
        ("roberta-ViT-B-32/{}", "the text tower's configuration comes from the Hugging Face hub"),
        ("no-such-model/{}", "the configuration of no-such-model is not at hand"),
        ("local-dir:none", "No such file"),
    ],
)
def test_what_comes_from_elsewhere_is_never_taken_for_unchanged(model, place, name, unknown):
    name = name.format(model / "open_clip_model.safetensors")
    request = dataclasses.replace(place.request, run=None, pretrained=name)
    found = look(place.out, request)
    assert (found.bundle, found.networks, found.made_from()) == (None, {}, {})
    assert found.reason.startswith("whether anything has changed cannot be known: ")
    assert unknown in found.reason


@pytest.mark.parametrize("header", [b"", b"\xff" * 8, b"\x02" + b"\0" * 7 + b"{}", b"\x04" + b"\0" * 7 + b"null "])
def test_a_run_that_cannot_be_read_is_left_to_the_export_to_refuse(place, tmp_path, header):
    run = tmp_path / "broken"
    shutil.copytree(place.run, run)
    (run / "checkpoint/model.safetensors").write_bytes(header)
    found = look(place.out, dataclasses.replace(place.request, run=run))
    assert (found.bundle, found.networks, found.made_from()) == (None, {}, {})
