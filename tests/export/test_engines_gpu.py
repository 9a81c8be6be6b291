"""Engines by the TensorRT and on the GPU of this machine, through the processes that an export uses."""

from __future__ import annotations

import pytest
from weaksvr.export.engine_options import EngineOptions
from weaksvr.export.export import ExportOptions, export_run
from weaksvr.export.rebuild import rebuild_engines
from weaksvr.runtime import load
from weaksvr.runtime.bundle import Bundle

pytestmark = pytest.mark.gpu("tensorrt")


@pytest.fixture(scope="module")
def built(runs, tmp_path_factory):
    """The tiny ViT in both precisions, gated with its engines."""
    out = tmp_path_factory.mktemp("built") / "bundle"
    return export_run(runs["vit"], out, options=ExportOptions(fp16=True, engines=EngineOptions()))


def test_an_export_with_engines(built, dataset):
    bundle, report = built
    assert [entry.name for entry in report.precisions] == ["fp32", "fp16", "fp32-tensorrt", "fp16-tensorrt"]
    assert len(bundle.manifest.engines) == 6
    a, b = (clip.video for clip in dataset.val[:2])
    for precision in ("fp32", "fp16"):
        engines = load(bundle.path, backend="tensorrt", precision=precision)
        assert engines.verify(a, b).distance == pytest.approx(
            load(bundle.path, device="cpu").verify(a, b).distance, abs=0.02
        )


@pytest.mark.parametrize(
    "options",
    [
        {"portability": "same-compute-capability"},
        {"portability": "ampere-plus"},
        {"version_compatible": True},
        {"stripped": True},
    ],
)
def test_engines_are_built_anew(built, tmp_path, options):
    plain, _ = built
    bundle, _ = rebuild_engines(plain, tmp_path / "bundle", options=EngineOptions(**options))
    (engine, *_) = Bundle.open(bundle.path).manifest.engines
    assert {name: getattr(engine, name) for name in options} == options
    if options.get("stripped"):
        assert sum(e.bytes for e in bundle.manifest.engines) < sum(e.bytes for e in plain.manifest.engines)
