from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import weaksvr.export.export as subject
import weaksvr.export.source as run_subject
from weaksvr.export.calibration import CalibrationData
from weaksvr.export.export import ExportOptions, export_run, export_source
from weaksvr.export.graphs import role_graphs
from weaksvr.export.limits import overridden
from weaksvr.export.source import run_source
from weaksvr.runtime import load
from weaksvr.runtime.bundle import Bundle
from weaksvr.runtime.errors import (
    CheckpointError,
    DataError,
    DeviceError,
    ExportError,
    OptionError,
    OutputError,
    VideoError,
)
from weaksvr.runtime.evaluate import evaluate
from weaksvr.train.checkpoint import load_checkpoint
from weaksvr.train.config import override
from weaksvr.train.datasets.splits import load_training_data
from weaksvr.train.evaluate import checkpoint_embedder


def snapshot(folder):
    """Every file below a folder, with its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture(scope="module")
def run(runs):
    return runs["vit"]


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """A bundle, and what its export said."""
    stages = []
    out = tmp_path_factory.mktemp("bundles") / "vit"
    return (*export_run(run, out, progress=lambda *stage: stages.append(stage)), stages)


def test_the_bundle_is_complete(exported, run, data):
    bundle, report, stages = exported
    opened = Bundle.open(bundle.path)
    manifest, model = opened.manifest, load_checkpoint(run).model
    assert manifest == bundle.manifest
    assert [(file.role, file.precision) for file in manifest.files] == [
        ("vision", "fp32"),
        ("temporal", "fp32"),
        ("text", "fp32"),
    ]
    assert sorted(path.name for path in bundle.path.iterdir()) == sorted(
        ["manifest.json", *(entry.path for entry in manifest.entries)]
    )
    assert [path.name for path in bundle.path.parent.iterdir()] == ["vit"]
    assert (manifest.sampling, manifest.preprocess) == (model.sampling, model.preprocess)
    assert manifest.tokenizer.context_length == model.context_length
    assert (manifest.name, manifest.default_method) == ("vit", report.default_method)
    assert "workbench" in manifest.description
    thresholds = {entry.method: entry for entry in manifest.thresholds}
    assert set(thresholds) == {"vector", "alignment"}
    for method, entry in thresholds.items():
        assert (entry.precision, entry.sampling) == ("fp32", "three-view-4")
        verdicts = report.precisions[0].verdicts[method]
        assert (entry.threshold, entry.calibrated.auc) == (verdicts.threshold, verdicts.auc)
        assert (entry.calibrated.pairs, entry.calibrated.same) == (9, 1)
    assert manifest.checks["pairs_from"] == "validation pairs of workbench"
    assert manifest.checks["gate"]["pairs"] == {"asked": 10000, "compared": 15, "labelled": 9, "same": 1, "videos": 6}
    assert list(manifest.checks["gate"]["precisions"]) == ["fp32"]
    assert [Path(entry.path).suffix for entry in manifest.reports] == [".svg", ".md"]
    assert str(data) not in (bundle.path / "manifest.json").read_text()
    assert [what for what, done, _ in stages if done == 0 or what.startswith("exporting")] == [
        "exporting the vision network",
        "exporting the temporal network",
        "exporting the text network",
        "comparing fp32 with PyTorch on 6 videos, 15 pairs",
    ]
    assert stages[-1][1:] == (6, 6)


def test_every_network_says_what_it_is(exported):
    bundle, _, _ = exported
    for file in bundle.manifest.files:
        entries = {entry.key: entry.value for entry in onnx.load_from_string(bundle.read(file)).metadata_props}
        assert entries["weaksvr.role"] == file.role
        assert entries["weaksvr.name"] == "vit"
        assert entries["weaksvr.version"] == bundle.manifest.tools["weaksvr"]
        assert json.loads(entries["weaksvr.preprocess"]) == bundle.manifest.preprocess.to_json()
        assert json.loads(entries["weaksvr.sampling"]) == bundle.manifest.sampling.to_json()


def test_the_bundle_computes_what_pytorch_computes(exported, run, dataset):
    bundle, report, _ = exported
    model = load(bundle.path, device="cpu")
    source = checkpoint_embedder(load_checkpoint(run), device=torch.device("cpu"))
    for clip in (*dataset.train[:2], *dataset.val[:2]):  # the first were not seen by the gate
        wanted, found = source.embed(clip.video), model.embed(clip.video)
        assert np.abs(wanted.vector - found.vector).max() < 1e-4
        assert np.abs(wanted.frame_features - found.frame_features).max() < 1e-4
        wanted, found = source.embed_text(clip.steps), model.embed_text(clip.steps)
        assert np.abs(wanted.sentence_features - found.sentence_features).max() < 1e-4
        assert np.abs(wanted.paragraph_feature - found.paragraph_feature).max() < 1e-4
    results = [evaluate(embedder, dataset, split="val") for embedder in (source, model.embedder)]
    for method in ("vector", "alignment"):
        assert round(results[0].methods[method].auc, 4) == round(results[1].methods[method].auc, 4)
        assert results[1].methods[method].auc == report.precisions[0].verdicts[method].auc


def test_an_old_bundle_is_replaced_and_pairs_may_be_given(exported, run, data, tmp_path):
    out = tmp_path / "deep" / "bundle"
    shutil.copytree(exported[0].path, out)
    old = {path.name for path in out.glob("*.onnx")}
    pairs = tmp_path / "pairs" / "mine.csv"
    pairs.parent.mkdir()
    rows = [f"../videos/{a}.mp4,../videos/{b}.mp4,{same}" for a, b, same in (("0", "1", 1), ("0", "2", 0))]
    pairs.write_text("\n".join(["video_a,video_b,same", *rows]))
    shutil.copytree(data / "videos" / "train", tmp_path / "videos")
    for number in "012":
        (tmp_path / "videos" / f"000{number}.mp4").rename(tmp_path / "videos" / f"{number}.mp4")
    bundle, report = export_run(run, out, pairs_file=pairs, name="mine", description="Knows two things.")
    assert (bundle.manifest.name, bundle.manifest.description) == ("mine", "Knows two things.")
    assert bundle.manifest.checks["pairs_from"] == "mine.csv"
    assert bundle.manifest.checks["pairs_sha256"] == hashlib.sha256(pairs.read_bytes()).hexdigest()
    assert (len(report.pairs), report.labelled, report.same, report.videos) == (3, 2, 1, 3)
    assert not old & {path.name for path in out.glob("*.onnx")}
    assert {path.name for path in tmp_path.iterdir()} == {"deep", "pairs", "videos"}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["bundle"]
    assert load(out, device="cpu").verify(tmp_path / "videos/0.mp4", tmp_path / "videos/0.mp4").same


def test_a_graph_that_differs_writes_nothing(exported, run, tmp_path, monkeypatch):
    out = tmp_path / "bundle"
    shutil.copytree(exported[0].path, out)

    def graphs_of_another_network(model):
        other = load_checkpoint(run).model
        with torch.no_grad():
            other.temporal.video_head.bias.add_(0.01)
        return {**role_graphs(model), "temporal": role_graphs(other)["temporal"]}

    monkeypatch.setattr(subject, "role_graphs", graphs_of_another_network)
    before = snapshot(tmp_path)
    refusal = r"^fp32: the temporal network, video_vector: differs from PyTorch by .*; nothing was written$"
    with pytest.raises(ExportError, match=refusal):
        export_run(run, out)
    assert snapshot(tmp_path) == before


LOOSE = overridden(  # random weights amplify what quantization does
    [f"{name}.{limit}" for name in ("fp16", "int8") for limit in ("flips=1", "auc=1", "cosine=0.8", "difference=9")]
)


@pytest.fixture(scope="module")
def variants(runs, tmp_path_factory):
    """A bundle of a small convolutional network in all precisions, and what its export said."""
    stages = []
    options = ExportOptions(fp16=True, int8="auto", limits=LOOSE)
    out = tmp_path_factory.mktemp("variants") / "workbench"
    found = export_run(runs["workbench"], out, options=options, progress=lambda *stage: stages.append(stage[0]))
    return (*found, stages)


def test_variants_come_with_thresholds_of_their_own(variants):
    bundle, report, _ = variants
    manifest = Bundle.open(bundle.path).manifest
    assert manifest.precisions == ("fp32", "fp16", "int8")
    assert {(entry.precision, entry.method) for entry in manifest.thresholds} == {
        (precision, method) for precision in manifest.precisions for method in ("vector", "alignment")
    }
    for entry in report.precisions:
        assert entry.refusals == ()
        for method, verdicts in entry.verdicts.items():
            threshold = manifest.threshold(method, entry.precision, manifest.sampling.key)
            assert threshold.threshold == verdicts.threshold
    found = {entry.precision: entry for entry in report.precisions}
    assert (found["fp16"].device, found["fp16"].optimization) in {("cpu", "basic"), ("cuda", "all")}
    assert found["fp16"].num_bytes < 0.6 * found["fp32"].num_bytes
    assert set(manifest.speed) <= {"fp32", "int8"}
    assert {path.name for path in bundle.path.iterdir()} == {
        "manifest.json",
        *(entry.path for entry in manifest.entries),
    }


def test_what_is_quantized_is_decided_recorded_and_said(variants):
    bundle, report, stages = variants
    notes = report.precisions[2].notes
    decided = {note.split()[1] for note in notes if " is int8 (" in note}
    assert decided & {"vision", "temporal"}  # else it would be fp32 by another name
    assert {note.split()[1] for note in notes} == {"vision", "temporal", "text"}
    assert bundle.manifest.checks["gate"]["precisions"]["int8"]["notes"] == list(notes)
    assert {f"int8: {note}" for note in notes} <= set(stages)
    text = bundle.read(bundle.manifest.reports[1]).decode()
    assert all(f"- int8: {note}" in text for note in notes)


def test_the_runtime_runs_what_was_gated(variants, dataset):
    bundle, report, _ = variants
    a, b = dataset.val[0].video, dataset.val[1].video
    row = next(row for row, pair in enumerate(report.pairs) if {pair.video_a, pair.video_b} == {a, b})
    for entry in (report.precisions[0], report.precisions[2]):
        result = load(bundle.path, device="cpu", precision=entry.precision).verify(a, b, method="vector")
        assert result.precision == entry.precision
        assert result.distance == pytest.approx(entry.distances["vector"].variant[row], abs=1e-5)
    assert load(bundle.path, device="cpu").backend.precision in ("fp32", "int8")
    with pytest.raises(DeviceError, match="precision fp16 needs a GPU"):
        load(bundle.path, device="cpu", precision="fp16")


def test_an_export_can_be_repeated(variants, runs, tmp_path):
    bundle, _, _ = variants
    options = ExportOptions(fp16=True, int8="auto", limits=LOOSE)
    again, _ = export_run(runs["workbench"], tmp_path / "again", name="workbench", options=options)
    assert again.manifest.files == bundle.manifest.files
    assert again.manifest.thresholds == bundle.manifest.thresholds


def test_a_variant_that_flips_verdicts_writes_nothing(run, tmp_path, monkeypatch):
    def off_by_one_decimal(*arguments):
        for entry in thresholds(*arguments):
            wrong = entry.threshold / 10 if entry.precision == "int8" else entry.threshold
            yield dataclasses.replace(entry, threshold=wrong)

    thresholds = subject._thresholds
    monkeypatch.setattr(subject, "_thresholds", off_by_one_decimal)
    stages = []
    with pytest.raises(
        ExportError, match=r"^int8: vector: \d+ of 15 verdicts flip, more than .*; nothing was written$"
    ):
        export_run(
            run,
            tmp_path / "out",
            options=ExportOptions(int8="dynamic", limits=overridden(["int8.auc=1"])),
            progress=lambda *stage: stages.append(stage[0]),
        )
    assert list(tmp_path.iterdir()) == []
    for role in ("temporal", "vision"):  # given up one after the other before the whole is
        assert any(
            stage.startswith(f"int8: the {role} network stays fp32, as with it int8: vector: ") for stage in stages
        )


def test_int8_that_is_too_far_off_leaves_nothing_to_gain(run, tmp_path):
    limits = overridden(["int8.cosine=0.9999999"])
    refusal = "int8: .*the vision network stays fp32: the vision network, features: has a cosine of .*nothing to gain"
    with pytest.raises(ExportError, match=refusal):
        export_run(run, tmp_path / "out", options=ExportOptions(int8="dynamic", limits=limits))
    assert list(tmp_path.iterdir()) == []


def test_static_int8_needs_training_videos(run, tmp_path):
    source = run_source(run)
    moved = dataclasses.replace(source, data=dataclasses.replace(source.data, trained_on=()))
    with pytest.raises(
        ExportError, match=r"static int8 cannot be calibrated: .* are not there; use --int8-mode dynamic"
    ):
        export_source(moved, tmp_path / "out", options=ExportOptions(int8="static"))


def test_a_source_without_pairs_has_no_thresholds(run, tmp_path):
    source = run_source(run)
    nothing = CalibrationData(pairs=(), clips=(), texts=("a step",), source="no pairs")
    alone = dataclasses.replace(source, data=nothing)
    with pytest.raises(OptionError, match="fp16, int8 and TensorRT engines need pairs of videos on which they are"):
        export_source(alone, tmp_path / "out", options=ExportOptions(fp16=True))
    bundle, report = export_source(alone, tmp_path / "out")
    assert (bundle.manifest.thresholds, bundle.manifest.default_method) == ((), "alignment")
    assert "of noise" in report.precisions[0].networks[0].where


class Stop(BaseException):
    """An interrupt, at a place of the test's choice."""


def test_an_interrupt_leaves_no_trace(run, tmp_path):
    def stop(what, _done, _total):
        if what == "exporting the temporal network":
            raise Stop

    with pytest.raises(Stop):
        export_run(run, tmp_path / "new" / "bundle", progress=stop)
    assert list(tmp_path.iterdir()) == []


def no_work(*stage):
    raise AssertionError(f"work has begun: {stage}")


def test_what_is_no_run(exported, tmp_path):
    for other in (tmp_path, tmp_path / "none", exported[0].path):
        with pytest.raises(CheckpointError, match=f"{other}: holds no checkpoint"):
            export_run(other, tmp_path / "out", progress=no_work)
    assert list(tmp_path.iterdir()) == []


def foreign_folder(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("dear")
    return tmp_path / "out"


def a_file(tmp_path):
    (tmp_path / "out").write_text("dear")
    return tmp_path / "out"


def below_a_file(tmp_path):
    return a_file(tmp_path) / "bundle"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (foreign_folder, "exists and is not a bundle; choose a new or empty folder"),
        (a_file, "cannot be written to as a folder"),
        (below_a_file, "cannot be made: .*out is not a folder"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_out_that_is_taken_is_refused_before_the_work(tmp_path, make, message):
    out = make(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(OutputError, match=f"{out}: {message}"):
        export_run(tmp_path / "not even a run", out, progress=no_work)
    assert snapshot(tmp_path) == before


def test_the_run_itself_is_no_place_for_the_bundle(run):
    before = snapshot(run)
    with pytest.raises(OutputError, match="exists and is not a bundle"):
        export_run(run, run, progress=no_work)
    assert snapshot(run) == before


def test_trouble_with_the_data_comes_before_the_work(run, tmp_path):
    with pytest.raises(DataError, match=r"pairs\.csv"):
        export_run(run, tmp_path / "out", pairs_file=tmp_path / "pairs.csv", progress=no_work)
    assert list(tmp_path.iterdir()) == []


def test_a_name_must_be_one_line(run, tmp_path):
    with pytest.raises(OptionError, match=r"'two\\nlines' must be one line of printable text; give one with --name"):
        export_run(run, tmp_path / "out", name="two\nlines", progress=no_work)


def test_a_video_that_cannot_be_used(run, data, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    pairs = tmp_path / "pairs.csv"
    good = [data / f"videos/val/000{number}.mp4" for number in (0, 1)]
    pairs.write_text(f"video_a,video_b,same\n{good[0]},bad.mp4,0\n{good[0]},{good[1]},1\n")
    with pytest.raises(VideoError, match=r"bad\.mp4"):
        export_run(run, tmp_path / "out", pairs_file=pairs, progress=no_work)
    assert not (tmp_path / "out").exists()


def test_paths_of_the_training_machine_stay_there(run, monkeypatch):
    trained = load_checkpoint(run)
    config = dataclasses.replace(
        trained.config,
        model=dataclasses.replace(trained.config.model, pretrained="/somewhere/weights.pt"),
        data=dataclasses.replace(trained.config.data, cache="/somewhere/cache"),
    )
    monkeypatch.setattr(run_subject, "load_checkpoint", lambda _: dataclasses.replace(trained, config=config))
    training = run_source(run).training
    text = json.dumps(training)
    assert "/somewhere" not in text
    assert trained.record["data"]["folder"] not in text
    assert training["config"]["model"]["pretrained"] == "weights.pt"
    assert training["data"]["folder"] == "workbench"


def test_a_run_that_was_selected_on_the_test_set_says_so(run, tested, monkeypatch):
    trained = load_checkpoint(run)
    assert run_source(run).training["selected_on"] == "val"
    config = override(trained.config, ["optim.select=test", "optim.select_method=vector"])
    found = load_training_data(tested, val_fraction=0.2, seed=0, select="test")
    record = {**trained.record, "data": found.record}
    selected = dataclasses.replace(trained, config=config, record=record)
    monkeypatch.setattr(run_subject, "load_checkpoint", lambda _: selected)
    source = run_source(run)
    assert (source.training["selected_on"], source.training["selected_by"]) == ("test", "vector")
    assert source.description.endswith(" Its epoch was selected on the test set: optimistic, as published.")
