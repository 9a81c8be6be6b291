from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from weaksvr.runtime.backends.ort import OrtBackend
from weaksvr.runtime.bundle import DEFAULT_BUNDLE, Bundle, NewReport, write_bundle, write_manifest
from weaksvr.runtime.errors import (
    BundleError,
    BundleIntegrityError,
    BundleNotFoundError,
    BundleVersionError,
    OutputError,
)
from weaksvr.runtime.spec import SamplingSpec


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def edit(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = bundle / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def file_of(bundle: Path, role: str) -> Path:
    return next(bundle.glob(f"{role}.fp32.*.onnx"))


def test_what_is_written_is_read_back(toys, tmp_path):
    manifest = toys.manifest(checks={"vision": {"max_abs": 1e-6}})
    networks = list(toys.networks())
    written = write_bundle(tmp_path / "deep" / "out", manifest, networks, tokenizer=toys.tokenizer())
    bundle = Bundle.open(tmp_path / "deep" / "out")
    assert bundle == written
    assert [bundle.read(file) for file in bundle.manifest.files] == [network.data for network in networks]
    assert bundle.read(bundle.manifest.tokenizer) == toys.tokenizer().data
    assert bundle.manifest.checks == {"vision": {"max_abs": 1e-6}}
    assert bundle.manifest.precisions == ("fp32",)
    assert bundle.manifest.threshold("vector", "fp32", "uniform-4").threshold == 0.25
    assert bundle.manifest.threshold("vector", "fp16", "uniform-4") is None
    assert bundle.manifest.network("text", "fp16") is None
    for file in bundle.manifest.files:
        assert file.path == f"{file.role}.fp32.{file.sha256[:8]}.onnx"
    document = json.loads((bundle.path / "manifest.json").read_text())
    assert (document["schema"], document["schema_version"]) == ("weaksvr.bundle/1", 1)


def test_what_an_embedding_depends_on(toy_bundle, toys, tmp_path):
    manifest = Bundle.open(toy_bundle).manifest
    own = manifest.embedding_id("fp32", manifest.sampling)
    assert re.fullmatch("[0-9a-f]{64}", own)
    same = [
        dataclasses.replace(manifest, thresholds=(), default_method="alignment", name="other", checks={"x": 1}),
        dataclasses.replace(manifest, files=manifest.files[:2], tokenizer=None),
        Bundle.open(toys.write(tmp_path / "again", seed=0)).manifest,
    ]
    assert {other.embedding_id("fp32", other.sampling) for other in same} == {own}
    preprocess = dataclasses.replace(manifest.preprocess, resize="shorter")
    different = [
        manifest.embedding_id("fp32", SamplingSpec(policy="segment", num_frames=4)),
        manifest.embedding_id("fp32", SamplingSpec(policy="uniform", num_frames=8)),
        dataclasses.replace(manifest, preprocess=preprocess).embedding_id("fp32", manifest.sampling),
        Bundle.open(toys.write(tmp_path / "other", seed=1)).manifest.embedding_id("fp32", manifest.sampling),
    ]
    assert len({own, *different}) == 5
    with pytest.raises(BundleError, match="has no precision 'fp16'; it has fp32"):
        manifest.embedding_id("fp16", manifest.sampling)


def test_the_manifest_survives_json(toy_bundle):
    manifest = Bundle.open(toy_bundle).manifest
    assert type(manifest).from_json(json.loads(json.dumps(manifest.to_json()))) == manifest


@pytest.mark.parametrize("path", ["", "nowhere", "file"])
def test_no_bundle(tmp_path, path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleNotFoundError, match=r"no bundle there \(looked for .*manifest\.json"):
        Bundle.open(str(tmp_path / path) if path else "")


def test_a_changed_byte_is_found_when_opened_and_when_read(own_bundle):
    path = file_of(own_bundle, "temporal")
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleIntegrityError, match=r"temporal\.fp32\..*was changed since"):
        Bundle.open(own_bundle)
    bundle = Bundle.open(own_bundle, verify=False)
    with pytest.raises(BundleIntegrityError, match=r"temporal\.fp32\..*was changed since"):
        bundle.read(bundle.manifest.network("temporal", "fp32"))


@pytest.mark.parametrize("verify", [True, False])
def test_a_removed_or_cut_file_is_found(own_bundle, verify):
    path = file_of(own_bundle, "vision")
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(BundleIntegrityError, match=rf"has {len(data) - 1} bytes, but the manifest says {len(data)}"):
        Bundle.open(own_bundle, verify=verify)
    path.unlink()
    with pytest.raises(BundleIntegrityError, match=r"vision\.fp32\..*is missing"):
        Bundle.open(own_bundle, verify=verify)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/../../x", "", ".", "C:x", "a\\b", "\0", "//x"], ids=ascii
)
def test_paths_stay_inside(own_bundle, name):
    edit(own_bundle, lambda document: document["files"][0].update(path=name))
    with pytest.raises(BundleIntegrityError, match="does not name a file inside"):
        Bundle.open(own_bundle)


def test_links_and_pipes_are_refused(own_bundle, tmp_path):
    path = file_of(own_bundle, "vision")
    moved = path.rename(tmp_path / "moved.onnx")
    path.symlink_to(moved)
    with pytest.raises(BundleIntegrityError, match="must be a plain file"):
        Bundle.open(own_bundle)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BundleIntegrityError, match="must be a plain file"):
        Bundle.open(own_bundle)


def test_a_linked_folder_is_refused(own_bundle, tmp_path):
    name = file_of(own_bundle, "vision").name
    (tmp_path / "elsewhere").mkdir()
    (own_bundle / name).rename(tmp_path / "elsewhere" / name)
    (own_bundle / "sub").symlink_to(tmp_path / "elsewhere")
    edit(own_bundle, lambda document: document["files"][0].update(path=f"sub/{name}"))
    with pytest.raises(BundleIntegrityError, match="must be a plain file"):
        Bundle.open(own_bundle)


def test_a_hard_link_is_a_plain_file(own_bundle, tmp_path):
    path = file_of(own_bundle, "vision")
    os.link(path, tmp_path / "second name")  # as installers make them
    assert Bundle.open(own_bundle).manifest.name == "toy"


def test_a_manifest_that_is_no_plain_file(tmp_path):
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(BundleError, match="must be a plain file of at most 16 MiB"):
        Bundle.open(tmp_path)


def test_a_newer_schema(own_bundle):
    edit(own_bundle, lambda document: document.update(schema="weaksvr.bundle/2", schema_version=2))
    with pytest.raises(BundleVersionError, match=r"schema version 2, .* reads up to 1; upgrade with: pip install"):
        Bundle.open(own_bundle)


@pytest.mark.parametrize("text", ["", "{", "\xff", "[" * 100_000], ids=["empty", "cut", "latin-1", "deep"])
def test_a_manifest_that_is_not_json(own_bundle, text):
    (own_bundle / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match=r"manifest\.json: is not valid JSON"):
        Bundle.open(own_bundle)


def drop(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.pop(key)


DAMAGE = {
    "no schema": (drop("schema"), "not a weaksvr bundle"),
    "other schema": (lambda d: d.update(schema="other/1"), "not a weaksvr bundle"),
    "no version": (drop("schema_version"), "has schema version None, expected 1"),
    "true version": (lambda d: d.update(schema_version=True), "has schema version True"),
    "no name": (drop("name"), "has no key 'name'"),
    "no method": (drop("default_method"), "has no key 'default_method'"),
    "odd method": (lambda d: d.update(default_method="guess"), "method 'guess' is not known; use one of vector, align"),
    "number for files": (lambda d: d.update(files=3), "files is 3, but must be of type list"),
    "text in files": (lambda d: d.update(files=["x"]), "cannot be used"),
    "text for bytes": (lambda d: d["files"][0].update(bytes="9"), "bytes is '9', but must be of type int"),
    "odd role": (lambda d: d["files"][0].update(role="smell"), "role 'smell' is not known; this version knows vision"),
    "odd precision": (lambda d: d["files"][0].update(precision="FP/32"), "precision 'FP/32' must be lower-case"),
    "odd tensor": (lambda d: d["files"][0]["inputs"][0].update(name="x"), r"vision network has tensors x \(float32"),
    "twice": (lambda d: d["files"].append(d["files"][0]), "network vision fp32 is listed twice"),
    "two limits": (lambda d: d["thresholds"].append(d["thresholds"][0]), "threshold vector fp32 uniform-4 is listed"),
    "negative limit": (lambda d: d["thresholds"][0].update(threshold=-1), "must be a finite number of at least 0"),
    "NaN limit": (lambda d: d["thresholds"][0].update(threshold=float("nan")), "must be a finite number"),
    "odd sampling": (lambda d: d["sampling"].update(policy="all"), "sampling policy 'all' is not known"),
    "number for reports": (lambda d: d.update(reports=3), "reports is 3, but must be of type list"),
    "text for speed": (lambda d: d.update(speed={"fp32": "fast"}), "fp32 is 'fast', but must be of type float"),
    "no speed": (lambda d: d.update(speed={"fp32": 0}), "but must be milliseconds above 0"),
    "odd cleaning": (lambda d: d["tokenizer"].update(cleaning="upper"), "cleaning 'upper' is not known; use one of"),
    "text for an id": (lambda d: d["tokenizer"].update(zeroed_id="2"), "zeroed_id is '2', but must be of type int"),
    "short mean": (lambda d: d["preprocess"].update(mean=[0.5]), "cannot be used"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_manifest_that_cannot_be_meant(own_bundle, damage):
    change, message = DAMAGE[damage]
    edit(own_bundle, change)
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.open(own_bundle)
    assert str(caught.value).startswith(str(own_bundle / "manifest.json"))
    assert "\n" not in str(caught.value)


def external(toys, folder: Path) -> bytes:
    graph = toys.model().graphs()["vision"]
    path = folder / "split.onnx"
    onnx.save_model(graph, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path.read_bytes()


def test_external_data_is_neither_written_nor_read(toys, own_bundle, tmp_path):
    data = external(toys, tmp_path)
    before = content(own_bundle)
    with pytest.raises(BundleIntegrityError, match="keeps weights in another file"):
        write_bundle(own_bundle, toys.manifest(), [toys.network("vision", data)])
    assert content(own_bundle) == before
    file_of(own_bundle, "vision").write_bytes(data)
    change = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    edit(own_bundle, lambda document: document["files"][0].update(change))
    with pytest.raises(BundleIntegrityError, match=r"vision\.fp32.*keeps weights in another file"):
        Bundle.open(own_bundle)


@pytest.mark.parametrize("kind", ["file", "hard link", "symbolic link", "absolute", "above"])
def test_external_data_is_not_followed_wherever_it_leads(toys, own_bundle, tmp_path, kind):
    """What the pointer names is there and would do."""
    graph = toys.model().graphs()["vision"]
    secret = tmp_path / "secret.bin"
    weights = own_bundle / "weights.bin"
    location = {"absolute": str(secret), "above": "../secret.bin"}.get(kind, "weights.bin")
    for tensor in graph.graph.initializer:
        secret.write_bytes(tensor.raw_data)
        onnx.external_data_helper.set_external_data(tensor, location=location)
        tensor.ClearField("raw_data")
    if kind == "file":
        weights.write_bytes(secret.read_bytes())
    elif kind == "hard link":
        os.link(secret, weights)
    elif kind == "symbolic link":
        weights.symlink_to(secret)
    data = graph.SerializeToString()
    file_of(own_bundle, "vision").write_bytes(data)
    change = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    edit(own_bundle, lambda document: document["files"][0].update(change))
    backend = OrtBackend(Bundle.open(own_bundle, verify=False), device="cpu")
    with pytest.raises(BundleIntegrityError, match="keeps weights in another file, which is not safe to load"):
        backend.run("vision", {"frames": np.zeros((1, 3, 16, 16), np.float32)})


def test_rewriting_replaces_everything_and_sweeps(toys, own_bundle):
    (own_bundle / "notes.txt").write_text("mine")
    old = set(content(own_bundle))
    toys.write(own_bundle, seed=1, name="second")
    bundle = Bundle.open(own_bundle)
    assert bundle.manifest.name == "second"
    files = set(content(own_bundle))
    listed = {entry.path for entry in bundle.manifest.entries}
    assert files == listed | {"manifest.json", "notes.txt"}
    assert not {name for name in old & files if name.endswith(".onnx")}


@pytest.mark.parametrize("existing", [True, False])
def test_a_failure_leaves_what_was_there(toys, own_bundle, tmp_path, existing):
    out = own_bundle if existing else tmp_path / "new" / "out"
    before = content(out) if existing else None

    def networks():
        yield next(toys.networks(seed=1))
        raise RuntimeError("the exporter broke")

    with pytest.raises(RuntimeError, match="the exporter broke"):
        write_bundle(out, toys.manifest(), networks())
    if existing:
        assert content(out) == before
    else:
        assert not (tmp_path / "new").exists()


def test_a_file_that_cannot_be_written(toys, own_bundle):
    networks = list(toys.networks(seed=1))
    probe = write_bundle(own_bundle.parent / "probe", toys.manifest(), networks, tokenizer=toys.tokenizer())
    (own_bundle / probe.manifest.network("temporal", "fp32").path).mkdir()
    before = content(own_bundle)
    with pytest.raises(OutputError, match=r"temporal\.fp32\..*cannot be written"):
        write_bundle(own_bundle, toys.manifest(), networks, tokenizer=toys.tokenizer())
    assert content(own_bundle) == before
    assert Bundle.open(own_bundle).manifest.name == "toy"


KILLED = """
import os, signal, sys
from pathlib import Path
from weaksvr.runtime.bundle import Bundle, NewNetwork, write_bundle
source = Bundle.open(sys.argv[1])
def networks():
    for file in source.manifest.files:
        fields = {n: getattr(file, n) for n in ("role", "precision", "opset", "inputs", "outputs")}
        yield NewNetwork(**fields, data=source.read(file))
        os.kill(os.getpid(), signal.SIGKILL)
write_bundle(sys.argv[2], source.manifest, networks())
"""


@pytest.mark.parametrize("existing", [True, False])
def test_a_kill_leaves_the_old_bundle_and_no_obstacle(toys, own_bundle, tmp_path, existing):
    source = toys.write(tmp_path / "source", seed=1)
    out = own_bundle if existing else tmp_path / "out"
    process = subprocess.run([sys.executable, "-c", KILLED, source, out], check=False)
    assert process.returncode == -signal.SIGKILL
    assert len(list(out.glob("vision.fp32.*.onnx"))) == (2 if existing else 1)
    if existing:
        assert Bundle.open(out).manifest.name == "toy"
    toys.write(out, seed=2, name="third")
    assert Bundle.open(out).manifest.name == "third"
    assert len(list(out.glob("vision.fp32.*.onnx"))) == 1


def test_other_peoples_folders_are_refused(toys, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="exists and is not a bundle; choose a new or empty folder"):
        toys.write(tmp_path)
    (tmp_path / "manifest.json").write_text('{"schema": "something else"}')
    with pytest.raises(OutputError, match="exists and is not a bundle"):
        toys.write(tmp_path)
    with pytest.raises(OutputError, match=r"thesis\.tex: cannot be written to as a folder"):
        toys.write(tmp_path / "thesis.tex")
    with pytest.raises(OutputError, match="cannot be"):
        toys.write(tmp_path / "thesis.tex" / "out")
    assert set(content(tmp_path)) == {"thesis.tex", "manifest.json"}


def test_what_makes_no_bundle_is_not_written(toys, tmp_path):
    vision, temporal, text = toys.networks()
    with pytest.raises(BundleError, match="needs the networks vision and temporal in one precision"):
        write_bundle(tmp_path / "out", toys.manifest(), [vision, text], tokenizer=toys.tokenizer())
    with pytest.raises(BundleError, match="a text network and a tokenizer need each other"):
        write_bundle(tmp_path / "out", toys.manifest(), [vision, temporal, text])
    with pytest.raises(BundleError, match="network vision fp32 is listed twice"):
        write_bundle(tmp_path / "out", toys.manifest(), [vision, temporal, vision])
    with pytest.raises(BundleError, match="a value that JSON cannot"):
        write_bundle(tmp_path / "out", toys.manifest(checks={"x": float("nan")}), [vision, temporal])
    with pytest.raises(BundleError, match="a value that JSON cannot"):
        write_bundle(tmp_path / "out", toys.manifest(training={"x": object()}), [vision, temporal])
    with pytest.raises(BundleError, match="vision network has tensors"):
        write_bundle(tmp_path / "out", toys.manifest(), [wrong_tensors(vision)])
    assert not (tmp_path / "out").exists()
    assert write_bundle(tmp_path / "out", toys.manifest(), [vision, temporal]).manifest.tokenizer is None


def wrong_tensors(network):
    return dataclasses.replace(network, outputs=network.inputs)


def test_a_threshold_is_added_in_place(toys, own_bundle):
    bundle = Bundle.open(own_bundle)
    more = (*bundle.manifest.thresholds, toys.threshold("vector", 0.7, sampling="three-view-4"))
    changed = write_manifest(own_bundle, dataclasses.replace(bundle.manifest, thresholds=more))
    assert Bundle.open(own_bundle) == changed
    assert changed.manifest.threshold("vector", "fp32", "three-view-4").threshold == 0.7
    file_of(own_bundle, "text").unlink()
    before = content(own_bundle)
    with pytest.raises(BundleIntegrityError, match="is missing"):
        write_manifest(own_bundle, bundle.manifest)
    assert content(own_bundle) == before


def test_two_precisions_may_share_a_file(toys, tmp_path):
    vision, temporal, _ = toys.networks()
    shared = [dataclasses.replace(network, precision="int8") for network in (vision, temporal)]
    bundle = write_bundle(tmp_path / "out", toys.manifest(), [vision, temporal, *shared])
    assert bundle.manifest.precisions == ("fp32", "int8")
    files = bundle.manifest.files
    assert [file.path for file in files[:2]] == [file.path for file in files[2:]]
    assert [bundle.read(file) for file in files[2:]] == [vision.data, temporal.data]


def test_reports_come_with_the_bundle_and_are_replaced_with_it(toys, own_bundle):
    picture = NewReport(suffix="svg", data=b"<svg/>")
    text = NewReport(suffix="md", data=f"![]({picture.path})".encode())
    manifest = dataclasses.replace(toys.manifest(), speed={"fp32": 3.5, "int8": 2})
    files = {"tokenizer": toys.tokenizer(), "reports": [picture, text]}
    bundle = write_bundle(own_bundle, manifest, toys.networks(), **files)
    opened = Bundle.open(own_bundle)
    assert opened == bundle
    assert opened.manifest.speed == {"fp32": 3.5, "int8": 2.0}
    assert [report.path for report in opened.manifest.reports] == [picture.path, text.path]
    assert [opened.read(report) for report in opened.manifest.reports] == [picture.data, text.data]
    assert re.fullmatch(r"gate\.[0-9a-f]{8}\.svg", picture.path)
    (own_bundle / text.path).write_bytes(b"all is well".ljust(len(text.data)))
    with pytest.raises(BundleIntegrityError, match=r"gate\..*\.md: was changed"):
        Bundle.open(own_bundle)
    other = NewReport(suffix="md", data=b"other")
    write_bundle(own_bundle, toys.manifest(), toys.networks(), tokenizer=toys.tokenizer(), reports=[other])
    assert {path.name for path in own_bundle.glob("gate.*")} == {other.path}


def test_what_a_tokenizer_file_cannot_say_is_kept(toys, tmp_path):
    tokenizer = dataclasses.replace(toys.tokenizer(), cleaning="canonicalize", zeroed_id=2)
    write_bundle(tmp_path / "out", toys.manifest(), toys.networks(), tokenizer=tokenizer)
    found = Bundle.open(tmp_path / "out").manifest.tokenizer
    assert (found.cleaning, found.zeroed_id) == ("canonicalize", 2)


def test_bundles_that_say_nothing_about_cleaning_are_cleaned_as_clips(own_bundle):
    def change(document):
        del document["tokenizer"]["cleaning"], document["tokenizer"]["zeroed_id"]

    edit(own_bundle, change)
    found = Bundle.open(own_bundle).manifest.tokenizer
    assert (found.cleaning, found.zeroed_id) == ("lower", None)


def test_bundles_from_before_there_were_reports_are_read(own_bundle):
    edit(own_bundle, drop("reports"))
    edit(own_bundle, drop("speed"))
    manifest = Bundle.open(own_bundle).manifest
    assert (manifest.reports, manifest.speed) == ((), {})


def test_the_default_bundle_lies_in_the_package():
    assert DEFAULT_BUNDLE.parts[-3:] == ("runtime", "assets", "default")
