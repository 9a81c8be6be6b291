"""The example videos are what the README says: one procedure twice, and once with two steps swapped."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from weaksvr.runtime import open_video
from weaksvr.train.datasets.workbench.tasks import split_of

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NAMES = ("assembly_1", "assembly_2", "assembly_swapped")
ROWS = {
    row["video"].removesuffix(".mp4"): row
    for row in map(json.loads, (EXAMPLES / "boundaries.jsonl").read_text().splitlines())
}


def steps_of(name: str) -> tuple[str, ...]:
    return tuple(step["step"] for step in ROWS[name]["steps"])


def test_two_do_the_same_and_one_swaps_two_steps():
    assert tuple(ROWS) == NAMES
    base, again, swapped = (steps_of(name) for name in NAMES)
    assert base == again
    places = [place for place, (a, b) in enumerate(zip(base, swapped, strict=True)) if a != b]
    assert len(places) == 2
    assert sorted(base) == sorted(swapped)


@pytest.mark.parametrize("name", NAMES)
def test_no_training_run_can_contain_it(name):
    assert split_of(steps_of(name)) == "test"


@pytest.mark.parametrize("name", NAMES)
def test_files_agree_and_are_small(name):
    path = EXAMPLES / f"{name}.mp4"
    assert path.stat().st_size < 150_000
    steps = ROWS[name]["steps"]
    assert (EXAMPLES / f"{name}.txt").read_text().splitlines() == [step["text"] for step in steps]
    times = [time for step in steps for time in (step["start"], step["end"])]
    assert all(before <= after for before, after in itertools.pairwise([0.0, *times, ROWS[name]["seconds"]]))
    with open_video(path) as video:
        assert video.duration_seconds == pytest.approx(ROWS[name]["seconds"])
        assert video.frames([0, video.num_frames - 1]).shape == (2, 160, 160, 3)
