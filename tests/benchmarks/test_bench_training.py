"""The published loop's way of working is what its description says, and both ways train the same network."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = json.loads((ROOT / "benchmarks" / "results" / "training.json").read_text())
TEXT = (ROOT / "docs" / "training_speed.md").read_text()


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Four training clips of one second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        videos = importlib.import_module("training_videos")
    folder = tmp_path_factory.mktemp("clips")
    (folder / "videos").mkdir()
    paths = [videos.encode_clip(folder / "videos" / f"{number}.mp4", 1, number) for number in range(7)]
    scripts = videos.make_scripts(4, seed=0)
    own = [*(scripts[number // 2] for number in range(4)), scripts[2], scripts[2], scripts[3]]
    lines = [
        json.dumps({"video": f"videos/{path.name}", "steps": steps}) for path, steps in zip(paths, own, strict=True)
    ]
    (folder / "train.jsonl").write_text("\n".join(lines[:4]) + "\n")
    (folder / "val.jsonl").write_text("\n".join(lines[4:]) + "\n")
    pairs = ["video_a,video_b,same", "videos/4.mp4,videos/5.mp4,1", "videos/4.mp4,videos/6.mp4,0"]
    (folder / "val_pairs.csv").write_text("\n".join(pairs) + "\n")
    return folder


def test_frames_are_drawn_from_equal_segments_and_never_the_last_two(module):
    draw = module("published_loop").draw_frames
    rng = np.random.default_rng(0)
    for count in (18, 50, 501):
        borders = [int(segment * (count - 2) / 16) for segment in range(17)]
        drawn = np.array([draw(count, 16, rng) for _ in range(400)])
        for segment in range(16):
            assert drawn[:, segment].min() >= borders[segment] + 1  # files count from 1
            assert drawn[:, segment].max() <= borders[segment + 1]
        assert drawn.max() == count - 2


def test_scripts(module):
    videos = module("training_videos")
    scripts = videos.make_scripts(9, seed=1)
    assert len(scripts[0]) == videos.K_MAX
    assert all(6 <= len(steps) <= 13 for steps in scripts[1:])
    assert all(len(set(steps)) == len(steps) for steps in scripts)
    assert scripts == videos.make_scripts(9, seed=1)


def test_a_run_of_other_steps_is_not_compared(module):
    bench = module("bench_training")
    run = {"seconds": 1.0, "steps": 3, "epoch_seconds": [1.0], "kept_mib": 0.0}
    with pytest.raises(SystemExit, match="different numbers of steps"):
        bench.summary({bench.PUBLISHED: [run], bench.OURS: [{**run, "steps": 4}]}, videos=4, epochs=1)


def test_medians_and_gains(module):
    bench = module("bench_training")

    def runs(*seconds):
        return [{"seconds": s, "steps": 3, "epoch_seconds": [s], "kept_mib": s} for s in seconds]

    found = bench.summary({bench.PUBLISHED: runs(9, 30, 12), bench.OURS: runs(3, 5, 4)}, videos=6, epochs=2)
    assert found[bench.PUBLISHED]["median_seconds"] == 12
    assert found[bench.OURS]["gain"] == 3
    assert found[bench.OURS]["videos_per_second"] == 3
    assert found[bench.OURS]["epoch_seconds"] == [4]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_both_ways_train_the_same_network_on_the_same_videos(module, clips, tmp_path):
    bench = module("bench_training")
    small = ("data.size=32", "data.num_frames=4", "data.batch_size=2", "data.workers=0", "model.depth=1")
    setting = bench.Setting(what="", preset="paper", changes=(*bench._PAPER, *small), videos=4, seconds=1)
    runs = {}
    for way in (bench.PUBLISHED, bench.CACHED):
        work = tmp_path / way.replace(" ", "")
        work.mkdir()
        job = {"way": way, "setting": bench.dataclasses.asdict(setting), "data": str(clips), "epochs": 2}
        runs[way] = [bench.measure_child({**job, "work": str(work)})]
        assert np.isfinite(runs[way][0]["loss"])
        assert runs[way][0]["steps"] == 4
        assert len(runs[way][0]["epoch_seconds"]) == 2
    frames = tmp_path / bench.PUBLISHED.replace(" ", "") / "frames"
    for folder in frames.iterdir():
        assert sorted(int(file.stem) for file in folder.iterdir()) == list(range(1, 26))
    assert bench.summary(runs, videos=4, epochs=2)[bench.PUBLISHED]["gain"] == 1


def test_sentences_are_padded_with_rows_of_zeros(module, clips):
    loop = module("published_loop")
    from weaksvr.runtime.manifest import read_manifest

    scripts = read_manifest(clips / "train.jsonl")
    table = loop.TextTable(scripts, lambda texts: np.array([[len(text), 7] for text in texts]), seed=0)
    tokens, counts = loop.padded_tokens(table, [0, 3], 20)
    assert counts.tolist() == [20, len(scripts[3].steps)]
    assert tokens.shape == (2, 20, 2)
    for row, index in enumerate((0, 3)):
        expected = [[len(step), 7] for step in scripts[index].steps]
        assert tokens[row, : counts[row]].tolist() == expected
        assert not tokens[row, counts[row] :].any()


def test_the_document_shows_the_results(module):
    section = module("bench_training").section(RESULTS)
    assert section in TEXT
    for part in RESULTS["parts"].values():
        assert part["epochs"] == 5
        assert f"| {part['ways']['weaksvr, data.cache']['gain']:.2f} |" in section
