"""The whole road as a user takes it, every step a process of its own: videos, training, export, verdict, numbers.

How good the model becomes in so few steps is not the question; that every step hands on what it should is.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

NUMBERS = {"train": 20, "val": 6, "test": 9}
EPOCHS = 4
METHODS = ("vector", "alignment")


def call(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a console script."""
    script = Path(sysconfig.get_path("scripts")) / name
    return subprocess.run([script, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=900)


def document(name: str, *arguments: object, code: int = 0) -> dict[str, Any]:
    """The JSON document that a console script prints."""
    done = call(name, *arguments, "--json")
    assert done.returncode == code, done.stderr
    found = json.loads(done.stdout)
    assert found["schema"].startswith("weaksvr.")
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Road:
    """The folders along the road, and what the commands said."""

    data: Path
    run: Path
    bundle: Path
    said: Mapping[str, Mapping[str, Any]]

    def pairs(self, split: str) -> Sequence[tuple[Path, Path, bool]]:
        with (self.data / f"{split}_pairs.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        return [(self.data / row["video_a"], self.data / row["video_b"], row["same"] == "1") for row in rows]


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Road:
    folder = tmp_path_factory.mktemp("road")
    data, run, bundle = folder / "data", folder / "run", folder / "bundle"
    numbers = [part for name, number in NUMBERS.items() for part in (f"--{name}", number)]
    said = {
        "videos": document("weaksvr-make-videos", data, *numbers, "--seed", 7),
        "train": document(
            "weaksvr-train", "--data", data, "--out", run, "--preset", "workbench", "--epochs", EPOCHS, "--seed", 1,
            "--set", "data.batch_size=5",
        ),
        "export": document("weaksvr-export", run, "--out", bundle),
        "run": document("weaksvr-evaluate", run, "--data", data),
        "bundle": document("weaksvr-evaluate", bundle, "--data", data),
    }  # fmt: skip
    return Road(data=data, run=run, bundle=bundle, said=said)


def test_the_videos(road):
    assert road.said["videos"]["lines"]["train.jsonl"] == NUMBERS["train"]
    for split, number in NUMBERS.items():
        clips = [json.loads(line) for line in (road.data / f"{split}.jsonl").read_text().splitlines()]
        assert len(clips) == number
        assert all((road.data / clip["video"]).stat().st_size > 10_000 and clip["steps"] for clip in clips)


def test_the_training(road):
    lines = [json.loads(line) for line in (road.run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, EPOCHS + 1))
    assert lines[-1]["loss"] < lines[0]["loss"]
    best = road.said["train"]["best"]
    assert best["val"]["auc_alignment"] == max(line["val"]["auc_alignment"] for line in lines)
    assert json.loads((road.run / "checkpoint" / "config.json").read_text())["metrics"] == best


def test_the_export(road):
    said = road.said["export"]
    checks, best = said["checks"], road.said["train"]["best"]["val"]
    fp32 = checks["gate"]["precisions"]["fp32"]
    assert max(difference["absolute"] for difference in fp32["videos"]) < 1e-4
    for method in METHODS:
        found = fp32["methods"][method]
        assert f"{found['auc']:.4f}" == f"{found['source_auc']:.4f}" == f"{best[f'auc_{method}']:.4f}"
    assert said["default_method"] == max(("alignment", "vector"), key=lambda name: fp32["methods"][name]["auc"])
    manifest = json.loads((road.bundle / "manifest.json").read_text())
    assert {name: said[name] for name in ("name", "default_method", "thresholds", "checks")} == {
        name: manifest[name] for name in ("name", "default_method", "thresholds", "checks")
    }
    assert (said["name"], said["bundle"]) == ("run", str(road.bundle))
    listed = (*manifest["files"], manifest["tokenizer"], *manifest["reports"])
    assert said["bytes"] == sum(file["bytes"] for file in listed)
    assert {path.name for path in road.bundle.iterdir()} == {
        "manifest.json",
        *(file["path"] for file in listed),
    }
    assert {path.name for path in road.bundle.parent.iterdir()} == {"data", "run", "bundle"}


def test_run_and_bundle_are_worth_the_same(road):
    run, bundle = road.said["run"], road.said["bundle"]
    assert "PyTorch" in run["ran_on"]
    assert "CPUExecutionProvider" in bundle["ran_on"]
    thresholds = {entry["method"]: entry["threshold"] for entry in road.said["export"]["thresholds"]}
    for key in ("num_videos", "num_pairs", "num_same", "num_matching", "matching_accuracy", "notes"):
        assert run[key] == bundle[key], key
    assert (run["num_pairs"], run["num_videos"]) == (len(road.pairs("test")), NUMBERS["test"])
    assert run["wdr"] == pytest.approx(bundle["wdr"], rel=1e-3)
    for method in METHODS:
        wanted, found = run["methods"][method], bundle["methods"][method]
        assert f"{wanted['auc']:.4f}" == f"{found['auc']:.4f}"
        assert wanted["auc_by_kind"] == pytest.approx(found["auc_by_kind"], abs=5e-5)
        assert set(found["auc_by_kind"]) <= {"swap", "drop", "replace", "repeat"}
        assert (wanted["threshold"], found["threshold"]) == (None, thresholds[method])


def test_a_video_shows_what_it_shows(road):
    video = road.pairs("test")[0][0]
    for method in METHODS:
        result = document("weaksvr-verify", video, video, "--bundle", road.bundle, "--method", method)
        assert result["same"]
        assert result["distance"] == pytest.approx(0, abs=1e-5)
        assert result["margin"] == result["threshold"] - result["distance"] > 0


@pytest.mark.parametrize("method", METHODS)
def test_the_threshold_decides(road, method):
    a, b, _ = next(pair for pair in road.pairs("test") if not pair[2])
    options = ["--bundle", road.bundle, "--method", method]
    distance = document("weaksvr-verify", a, b, *options, "--threshold", 2)["distance"]
    assert 0 < distance < 2
    limits = {entry["method"]: entry["threshold"] for entry in road.said["export"]["thresholds"]}
    for threshold, same in ((None, distance <= limits[method]), (distance * 1.01, True), (distance * 0.99, False)):
        given = [] if threshold is None else ["--threshold", threshold]
        result = document("weaksvr-verify", a, b, *options, *given, code=0 if same else 1)
        assert result["same"] is same
        assert result["distance"] == pytest.approx(distance, rel=1e-6)
        assert result["threshold"] == (limits[method] if threshold is None else threshold)
        assert result["method"] == method


def test_the_verdict_for_people(road):
    a, b, _ = next(pair for pair in road.pairs("test") if not pair[2])
    said = {limit: call("weaksvr-verify", a, b, "--bundle", road.bundle, "--threshold", limit) for limit in (0, 2)}
    assert [done.returncode for done in said.values()] == [1, 0]
    assert [done.stdout.splitlines()[0] for done in said.values()] == ["DIFFERENT", "SAME"]
    default = road.said["export"]["default_method"]
    assert all(default in done.stdout and done.stderr == "" for done in said.values())


def test_trouble_is_neither_verdict(road):
    video = road.pairs("test")[0][0]
    done = call("weaksvr-verify", video, road.data / "none.mp4", "--bundle", road.bundle)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "none.mp4: no such file" in done.stderr
