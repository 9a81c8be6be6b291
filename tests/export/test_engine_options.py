from __future__ import annotations

from pathlib import Path

import pytest
from weaksvr.export.engine_options import EngineOptions, engine_profiles, timing_cache_file
from weaksvr.runtime.engine_file import Machine
from weaksvr.runtime.errors import ExportError, OptionError
from weaksvr.runtime.spec import PreprocessSpec, SamplingSpec, TensorSpec

FRAMES = TensorSpec(name="frames", dtype="float32", shape=("N", 3, "H", "W"))
FEATURES = TensorSpec(name="features", dtype="float32", shape=("B", "T", 8))
TOKENS = TensorSpec(name="tokens", dtype="int64", shape=("N", 77))
SIZE = PreprocessSpec(height=32, width=48)


def rows(role, tensor, sampling):
    """The batches of the profiles; the other dimensions are looked at too."""
    found = []
    for profile in engine_profiles(role, [tensor], sampling=sampling, preprocess=SIZE):
        (item,) = profile.inputs
        assert item.name == tensor.name
        assert item.min[1:] == item.opt[1:] == item.max[1:]
        found.append((item.min[0], item.opt[0], item.max[0]))
    return found, item.min[1:]


@pytest.mark.parametrize(
    ("policy", "num_frames", "one_video", "views"),
    [("uniform", 16, 16, 1), ("uniform", 4, 4, 1), ("three-view", 8, 24, 3), ("three-view", 16, 32, 3)],
)
def test_profiles_follow_from_what_is_sampled(policy, num_frames, one_video, views):
    sampling = SamplingSpec(policy=policy, num_frames=num_frames)
    assert rows("vision", FRAMES, sampling) == ([(1, one_video, one_video), (1, 64, 128)], (3, 32, 48))
    assert rows("temporal", FEATURES, sampling) == ([(1, views, 64)], (num_frames, 8))
    assert rows("text", TOKENS, sampling) == ([(1, 16, 256)], (77,))


def test_fixed_dimensions_are_the_networks():
    fixed = TensorSpec(name="features", dtype="float32", shape=("B", 5, 8))
    assert rows("temporal", fixed, SamplingSpec(num_frames=16))[1] == (5, 8)


def test_a_dimension_that_nothing_gives_is_refused():
    tensor = TensorSpec(name="tokens", dtype="int64", shape=("N", "L"))
    with pytest.raises(ExportError, match="the text network leaves dimension L of tokens open; export it anew"):
        engine_profiles("text", [tensor], sampling=SamplingSpec(), preprocess=SIZE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"portability": "everywhere"}, r"portability 'everywhere' is not known; use one of .*ampere-plus"),
        ({"stripped": True, "version_compatible": True}, "stripped engines cannot be version compatible"),
    ],
)
def test_options_that_cannot_be_meant(options, message):
    with pytest.raises(OptionError, match=message):
        EngineOptions(**options)


def machine(**changes):
    return Machine(
        **{"tensorrt": "11.4.0.106", "compute_capability": "9.0", "device_name": "NVIDIA H100 80GB", **changes}
    )


def test_timings_are_kept_in_the_users_cache():
    home = Path("/somewhere/me")
    assert timing_cache_file(machine(), environment={}, home=home) == (
        home / ".cache/weaksvr/tensorrt/nvidia-h100-80gb.9.0.11.4.0.106.timings"
    )
    moved = timing_cache_file(machine(), environment={"XDG_CACHE_HOME": "/caches"}, home=home)
    assert moved.parent == Path("/caches/weaksvr/tensorrt")


def test_timings_of_other_devices_and_versions_are_kept_apart():
    others = ({}, {"tensorrt": "10.16.1.11"}, {"compute_capability": "8.9"}, {"device_name": "../NVIDIA H200"})
    files = {timing_cache_file(machine(**change), environment={}, home=Path("/h")) for change in others}
    assert len(files) == 4
    assert {file.parent for file in files} == {Path("/h/.cache/weaksvr/tensorrt")}
