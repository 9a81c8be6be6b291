from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from weaksvr.train.datasets.workbench.catalogue import STEP_NAMES
from weaksvr.train.datasets.workbench.motions import pose_of
from weaksvr.train.datasets.workbench.render import render
from weaksvr.train.datasets.workbench.scene import WORLD, draw_scene
from weaksvr.train.datasets.workbench.schedule import Schedule, Segment
from weaksvr.train.datasets.workbench.stage import Stage


def scene_of(used, seed, *, size=96):
    return draw_scene(used, seconds=12.0, size=size, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(12))
def test_scene_holds_what_is_needed_inside_the_bench(seed):
    used = tuple(np.random.default_rng(seed).permutation(STEP_NAMES)[: 4 + seed % 4])
    scene = scene_of(used, seed)
    assert set(used) <= set(scene.pieces)
    assert len(scene.pieces) == 7
    assert set(scene.tools) == set(scene.pieces)
    for at in [*scene.tools.values(), *scene.pieces.values()]:
        assert 0 < at.x < WORLD
        assert 0 < at.y < WORLD
    assert min(scene.anchor) < 0 or max(scene.anchor) > WORLD
    places = np.array([(at.x, at.y) for at in scene.pieces.values()])
    gaps = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) + 1e3 * np.eye(len(places))
    assert gaps.min() > 18


def test_scenes_differ_and_repeat_with_the_seed():
    used = STEP_NAMES[:5]
    assert scene_of(used, 1) == scene_of(used, 1)
    assert scene_of(used, 1) != scene_of(used, 2)


@pytest.mark.parametrize("name", STEP_NAMES)
def test_every_motion_moves_and_finishes(name):
    poses = [pose_of(name, u, seconds=2 * u) for u in np.linspace(0, 1, 41)]
    assert poses[0].done < 0.05
    assert poses[-1].done >= 0.95
    assert all(a.done <= b.done for a, b in itertools.pairwise(poses))
    assert len(set(poses)) > 5
    for pose in poses:
        assert max(abs(pose.x), abs(pose.y), abs(pose.along)) <= 16
        assert max(abs(pose.turn), abs(pose.swing)) < math.pi / 2
        assert 0.8 < pose.lift < 1.4


@pytest.mark.parametrize("name", STEP_NAMES)
def test_every_step_is_visible_and_changes_the_bench(name):
    scene = scene_of((name,), 7)
    schedule = Schedule(num_frames=40, segments=(Segment(step=name, start=6, end=28),))
    frames = np.stack(list(render(schedule, scene, rng=np.random.default_rng(3))))
    assert frames.shape == (40, 96, 96, 3)
    assert frames.dtype == np.uint8
    stage = Stage(scene, rng=np.random.default_rng(3))
    work = {piece: float(count) for piece, count in scene.initial_work.items()}
    before, after = stage.still(work), stage.still({**work, name: work[name] + 1})
    changed = np.abs(before.astype(int) - after).max(axis=-1) > 20
    assert changed.sum() > 4
    moved = np.abs(frames[6:28].astype(float) - frames[0]).mean(axis=-1) > 40
    assert (moved.mean(axis=(1, 2)) > 0.01).mean() > 0.8, "a hand is at work during the step"


def test_the_same_random_numbers_give_the_same_pixels():
    schedule = Schedule(num_frames=25, segments=(Segment(step="saw", start=4, end=20),))
    first, again, other = (
        np.stack(list(render(schedule, scene_of(("saw",), 5), rng=np.random.default_rng(seed)))) for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_a_repeated_step_continues_where_the_first_ended():
    steps = (Segment(step="burner", start=3, end=18), Segment(step="burner", start=20, end=36))
    scene = scene_of(("burner",), 9)
    frames = list(render(Schedule(num_frames=45, segments=steps), scene, rng=np.random.default_rng(0)))
    assert len(frames) == 45
