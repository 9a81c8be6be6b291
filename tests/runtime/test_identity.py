from __future__ import annotations

import dataclasses

import pytest
from weaksvr.runtime.bundle import write_bundle
from weaksvr.runtime.embedder import Embedder
from weaksvr.runtime.errors import BundleError
from weaksvr.runtime.identity import dimensions_of, identity_of
from weaksvr.runtime.spec import PreprocessSpec, SamplingSpec, TensorSpec
from weaksvr.runtime.verify import load


def digest(toys, folder, *, seed=0, **changes):
    return identity_of(load(toys.write(folder, seed=seed, **changes), device="cpu")).digest


def test_what_changes_it(toys, tmp_path):
    first = digest(toys, tmp_path / "a")
    assert digest(toys, tmp_path / "b") == first
    assert digest(toys, tmp_path / "c", thresholds=(toys.threshold("vector", 0.3),), name="other") == first
    others = {
        digest(toys, tmp_path / "d", seed=1),
        digest(toys, tmp_path / "e", sampling=SamplingSpec(num_frames=5), thresholds=()),
        digest(toys, tmp_path / "f", preprocess=PreprocessSpec(height=16, width=16)),
        digest(toys, tmp_path / "g", preprocess=PreprocessSpec(height=16, width=16, resize="squash")),
    }
    assert len(others) == 4
    assert first not in others


def test_every_field_but_the_name_counts(toy_bundle):
    identity = identity_of(load(toy_bundle, device="cpu"))
    for field in dataclasses.fields(identity):
        changed = dataclasses.replace(identity, **{field.name: "x"})
        assert (changed.digest == identity.digest) is (field.name == "bundle")
    assert identity.to_json()["digest"] == identity.digest
    assert identity.sampling == "uniform-4"
    assert {part.split()[0] for part in identity.versions.split(", ")} == {"weaksvr", "av", "onnxruntime"}


def test_the_sampling_in_effect_counts(toy_bundle):
    model = load(toy_bundle, device="cpu")
    own = model.embedder
    other = Embedder(own.backend, sampling=SamplingSpec(num_frames=8), preprocess=own.preprocess)
    assert identity_of(dataclasses.replace(model, embedder=other)).digest != identity_of(model).digest


def test_dimensions(toy_bundle):
    assert dimensions_of(load(toy_bundle, device="cpu")) == 5


def test_dimensions_that_are_not_told(toys, tmp_path):
    def untold(tensor):
        return TensorSpec(name=tensor.name, dtype=tensor.dtype, shape=(*tensor.shape[:-1], "D"))

    vision, temporal, _ = toys.networks()
    temporal = dataclasses.replace(temporal, outputs=tuple(map(untold, temporal.outputs)))
    bundle = write_bundle(tmp_path / "out", toys.manifest(), [vision, temporal])
    with pytest.raises(BundleError, match="does not say how many dimensions"):
        dimensions_of(load(bundle.path, device="cpu"))


def test_a_bundle_without_networks(toys, tmp_path):
    bundle = write_bundle(tmp_path / "out", toys.manifest(), list(toys.networks())[:2])
    model = load(bundle.path, device="cpu")
    files = [file for file in bundle.manifest.files if file.role != "temporal"]
    bare = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, files=tuple(files)))
    with pytest.raises(BundleError, match="has no temporal network in fp32"):
        identity_of(dataclasses.replace(model, bundle=bare))
