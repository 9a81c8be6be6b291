from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import sys

import pytest
from weaksvr.runtime.bundle import Bundle, write_bundle
from weaksvr.runtime.engine_file import EngineFile, Machine, Profile, ShapeRange, why_unusable
from weaksvr.runtime.errors import BundleError, BundleIntegrityError, OutputError

H200 = Machine(tensorrt="11.4.0.106", compute_capability="9.0", device_name="NVIDIA H200")


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def with_engines(toys, tmp_path):
    networks = list(toys.networks())
    out = tmp_path / "with engines"
    write_bundle(out, toys.manifest(), networks, engines=map(toys.engine, networks[:2]), tokenizer=toys.tokenizer())
    return out


def edit(folder, change):
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    change(document["engines"])
    path.write_text(json.dumps(document))


def test_engines_are_written_and_read_back(toys, with_engines):
    networks = list(toys.networks())
    bundle = Bundle.open(with_engines)
    vision = bundle.manifest.engine("vision", "fp32")
    expected = toys.engine(networks[0])
    assert re.fullmatch(r"engines/vision\.fp32\.[0-9a-f]{8}\.plan", vision.path)
    assert (with_engines / vision.path).read_bytes() == expected.data == bundle.read(vision)
    assert expected.as_file() == vision
    assert vision.network_sha256 == bundle.manifest.network("vision", "fp32").sha256
    assert (vision.profiles[0].min_batch, vision.profiles[0].max_batch) == (1, 8)
    assert bundle.manifest.engine("text", "fp32") is None
    assert bundle.manifest.engine("vision", "fp16") is None
    assert vision in bundle.manifest.entries
    assert type(bundle.manifest).from_json(json.loads(json.dumps(bundle.manifest.to_json()))) == bundle.manifest


def test_bundles_from_before_there_were_engines_are_read(own_bundle):
    path = own_bundle / "manifest.json"
    document = json.loads(path.read_text())
    assert document.pop("engines") == []
    path.write_text(json.dumps(document))
    assert Bundle.open(own_bundle).manifest.engines == ()


def test_an_engine_is_guarded_as_every_file_is(with_engines, tmp_path):
    (path,) = (with_engines / "engines").glob("temporal.*")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"?")
    with pytest.raises(BundleIntegrityError, match=r"engines/temporal\.fp32\..*was changed since"):
        Bundle.open(with_engines)
    path.unlink()
    with pytest.raises(BundleIntegrityError, match=r"temporal\.fp32\..*plan: is missing"):
        Bundle.open(with_engines, verify=False)
    (tmp_path / "elsewhere").write_bytes(data)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleIntegrityError, match="must be a plain file, not a link"):
        Bundle.open(with_engines, verify=False)
    path.unlink()
    path.write_bytes(data)
    (with_engines / "engines").rename(tmp_path / "moved")
    (with_engines / "engines").symlink_to(tmp_path / "moved")
    with pytest.raises(BundleIntegrityError, match="must be a plain file, not a link"):
        Bundle.open(with_engines, verify=False)


def test_rewriting_sweeps_engines(toys, with_engines):
    networks = list(toys.networks())
    tokenizer = {"tokenizer": toys.tokenizer()}
    (kept,) = (with_engines / "engines").glob("vision.*")
    (with_engines / "engines" / ".text.fp32.01234567.plan.abc.tmp").write_bytes(b"cut off")
    (with_engines / "engines" / "mine.txt").write_text("mine")
    changed = [toys.engine(networks[0]), toys.engine(networks[1], data=b"another")]
    bundle = write_bundle(with_engines, toys.manifest(), networks, engines=changed, **tokenizer)
    plans = {entry.path for entry in bundle.manifest.engines}
    assert {name for name in names(with_engines) if name.startswith("engines/")} == plans | {"engines/mine.txt"}
    assert kept.exists()
    (with_engines / "engines" / "mine.txt").unlink()
    write_bundle(with_engines, toys.manifest(), networks, **tokenizer)
    assert not (with_engines / "engines").exists()


@pytest.mark.parametrize("existing", [True, False])
def test_a_failure_leaves_what_was_there(toys, with_engines, tmp_path, existing):
    out = with_engines if existing else tmp_path / "deep" / "new"
    before = names(with_engines)
    networks = list(toys.networks(seed=1))

    def engines():
        yield toys.engine(networks[0], data=b"new")
        raise RuntimeError("the builder broke")

    with pytest.raises(RuntimeError, match="the builder broke"):
        write_bundle(out, toys.manifest(), networks, engines=engines(), tokenizer=toys.tokenizer())
    assert names(with_engines) == before
    assert Bundle.open(with_engines).manifest.engine("vision", "fp32")
    assert not (tmp_path / "deep").exists()


KILLED = """
import dataclasses, os, signal, sys
from weaksvr.runtime.bundle import Bundle, NewEngine, NewNetwork, write_bundle
source = Bundle.open(sys.argv[1])
def new(kind, entry):
    names = {field.name for field in dataclasses.fields(kind)} - {"data"}
    return kind(**{name: getattr(entry, name) for name in names}, data=source.read(entry))
def engines():
    yield new(NewEngine, source.manifest.engines[0])
    os.kill(os.getpid(), signal.SIGKILL)
networks = [new(NewNetwork, file) for file in source.manifest.files]
write_bundle(sys.argv[2], source.manifest, networks, engines=engines())
"""


def test_a_kill_leaves_no_obstacle(toys, tmp_path):
    networks = list(toys.networks())[:2]
    source, out = tmp_path / "source", tmp_path / "out"
    write_bundle(source, toys.manifest(), networks, engines=[toys.engine(networks[0])])
    done = subprocess.run([sys.executable, "-c", KILLED, source, out], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list((out / "engines").iterdir())) == 1
    bundle = write_bundle(out, toys.manifest(), networks, engines=[toys.engine(networks[0], data=b"other")])
    assert names(out) == {"manifest.json", *(entry.path for entry in bundle.manifest.entries)}


def test_a_linked_folder_is_not_written_through(toys, own_bundle, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (own_bundle / "engines").symlink_to(tmp_path / "elsewhere")
    networks = list(toys.networks())
    with pytest.raises(OutputError, match="engines: is a link; remove it"):
        write_bundle(
            own_bundle, toys.manifest(), networks, engines=[toys.engine(networks[0])], tokenizer=toys.tokenizer()
        )
    assert names(tmp_path / "elsewhere") == set()
    (own_bundle / "engines").unlink()
    (own_bundle / "engines").write_text("a file")
    with pytest.raises(OutputError, match="engines: cannot be made: File exists"):
        write_bundle(
            own_bundle, toys.manifest(), networks, engines=[toys.engine(networks[0])], tokenizer=toys.tokenizer()
        )


def test_other_peoples_engines_are_no_bundle(toys, tmp_path):
    (tmp_path / "engines").mkdir()
    toys.write(tmp_path / "empty", name="x")
    (tmp_path / "engines" / "diesel.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists and is not a bundle"):
        toys.write(tmp_path)


DAMAGE = {
    "twice": (lambda e: e.append(e[0]), "engine vision fp32 is listed twice"),
    "another network": (
        lambda e: e[0].update(network_sha256="0" * 64),
        "vision engine in fp32 is of a network that is",
    ),
    "another precision": (lambda e: e[0].update(precision="fp16"), "vision engine in fp16 is of a network that is not"),
    "odd portability": (lambda e: e[0].update(portability="all"), "portability 'all' is not known; use one of"),
    "odd version": (lambda e: e[0].update(tensorrt="eleven"), "has 'eleven' where a version belongs"),
    "odd capability": (lambda e: e[0].update(compute_capability="sm_90"), "has 'sm_90' where a version belongs"),
    "number for a flag": (lambda e: e[0].update(stripped=1), "stripped is 1, but must be of type bool"),
    "text for a flag": (lambda e: e[0].update(version_compatible="no"), "version_compatible is 'no', but must be of"),
    "both": (lambda e: e[0].update(stripped=True, version_compatible=True), "stripped, which the lean runtime cannot"),
    "no profile": (lambda e: e[0].update(profiles=[]), "vision engine has no profile"),
    "empty profile": (
        lambda e: e[0].update(profiles=[{"inputs": []}]),
        "vision engine has no profile, or an empty one",
    ),
    "other input": (lambda e: e[0]["profiles"][0]["inputs"][0].update(name="x"), "profile for x, not for its inputs"),
    "input twice": (
        lambda e: e[0]["profiles"][0].update(inputs=2 * e[0]["profiles"][0]["inputs"]),
        "profile for frames, not for its inputs",
    ),
    "shrinking": (lambda e: e[0]["profiles"][0]["inputs"][0].update(max=[1, 3, 16, 16]), "which do not grow"),
    "flat": (lambda e: e[0]["profiles"][0]["inputs"][0].update(max=[8]), "which do not grow"),
    "text for sides": (
        lambda e: e[0]["profiles"][0]["inputs"][0].update(min=["1"]),
        r"a shape is \['1'\], but must be",
    ),
    "other width": (
        lambda e: [
            i.update({k: [*i[k][:-1], 9] for k in ("min", "opt", "max")}) for i in e[1]["profiles"][0]["inputs"]
        ],
        r"temporal engine takes features from \(1, 4, 9\) to \(8, 4, 9\), but its network takes \('B', 'T', 4\)",
    ),
    "no key": (lambda e: e[0].pop("device_name"), "has no key 'device_name'"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_engine_that_cannot_be_meant(with_engines, damage):
    change, message = DAMAGE[damage]
    edit(with_engines, change)
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.open(with_engines)
    assert "\n" not in str(caught.value)


def engine(**changes) -> EngineFile:
    plain = EngineFile(
        role="vision",
        precision="fp16",
        path="engines/vision.fp16.01234567.plan",
        bytes=1,
        sha256="0" * 64,
        network_sha256="1" * 64,
        tensorrt="11.4.0.106",
        compute_capability="9.0",
        device_name="NVIDIA H200",
        portability="none",
        version_compatible=False,
        stripped=False,
        profiles=(Profile(inputs=(ShapeRange(name="frames", min=(1, 2), opt=(4, 2), max=(8, 2)),)),),
    )
    return dataclasses.replace(plain, **changes)


USABLE = {
    "as built": ({}, {}),
    "another model of the same capability": (
        {"portability": "same-compute-capability"},
        {"device_name": "NVIDIA H100"},
    ),
    "a newer GPU": ({"portability": "ampere-plus"}, {"compute_capability": "12.0", "device_name": "RTX 5090"}),
    "an older GPU": ({"portability": "ampere-plus"}, {"compute_capability": "8.0", "device_name": "A100"}),
    "the lean runtime": ({"version_compatible": True}, {}),
    "TensorRT 10": ({"tensorrt": "10.16.1.11"}, {"tensorrt": "10.16.1.11"}),
}
UNUSABLE = {
    "major": ({}, {"tensorrt": "10.16.1.11"}, "it was built by TensorRT 11.4.0.106, here is 10.16.1.11"),
    "minor": ({}, {"tensorrt": "11.5.0.20"}, "it was built by TensorRT 11.4.0.106, here is 11.5.0.20"),
    "build": ({}, {"tensorrt": "11.4.0.110"}, "it was built by TensorRT 11.4.0.106, here is 11.4.0.110"),
    "another lean runtime": (
        {"version_compatible": True},
        {"tensorrt": "11.5.0.20"},
        "it was built by TensorRT 11.4.0",
    ),
    "model": ({}, {"device_name": "NVIDIA H100 PCIe"}, "for this model alone, here is NVIDIA H100 PCIe"),
    "capability": (
        {"portability": "same-compute-capability"},
        {"compute_capability": "8.9", "device_name": "NVIDIA L4"},
        "it was built on NVIDIA H200 with compute capability 9.0, here is NVIDIA L4 with 8.9",
    ),
    "before Ampere": (
        {"portability": "ampere-plus"},
        {"compute_capability": "7.5", "device_name": "T4"},
        "here is T4 with",
    ),
    "built before Ampere": (
        {"portability": "ampere-plus", "compute_capability": "7.5"},
        {},
        "with compute capability 7.5",
    ),
}


@pytest.mark.parametrize("case", USABLE)
def test_usable(case):
    built, here = USABLE[case]
    assert why_unusable(engine(**built), dataclasses.replace(H200, **here)) == ""


@pytest.mark.parametrize("case", UNUSABLE)
def test_unusable(case):
    built, here, reason = UNUSABLE[case]
    assert reason in why_unusable(engine(**built), dataclasses.replace(H200, **here))
