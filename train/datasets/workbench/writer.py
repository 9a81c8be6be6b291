"""Writes a dataset of rendered videos: the folder is complete or absent."""

from __future__ import annotations

import csv
import io
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....runtime.errors import OptionError, OutputError
from ....runtime.storage import write_text
from ..staging import check_new_folder, staged_folder
from .catalogue import STEP_NAMES, SplitName
from .plan import Pair, VideoPlan, draw_matching, draw_pairs, plan_split, video_rng
from .render import render
from .scene import draw_scene
from .schedule import FRAMES_PER_SECOND, Schedule, draw_schedule
from .tasks import SPLITS

__all__ = ["GENERATOR_VERSION", "make_dataset", "write_video"]

GENERATOR_VERSION = 2
"""Grows when the same seed gives other pixels, tasks or texts."""

_MIN_SIZE, _MAX_SIZE = 64, 1024
_CRF = "20"


def _encode(pictures: Iterator[NDArray[np.uint8]], path: Path, *, size: int) -> None:
    """Write RGB frames (size, size, 3) as H.264 with the encoder's own choice of B-frames and key frames."""
    import av

    # The same frames must give the same bytes: one thread whatever the machine, and no macroblock tree, whose assembly
    # reads memory that was never written where a row has no multiple of eight blocks (160 pixels are ten).
    options = {"crf": _CRF, "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=options)
        stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def write_video(plan: VideoPlan, path: Path, *, seed: int, size: int) -> Schedule:
    """Render and encode one video (H.264, yuv420p, MP4).

    Args:
        plan: what it shows.
        path: where it goes.
        seed: seed of the dataset.
        size: frame side in pixels, even.

    Returns:
        The true step boundaries.

    Raises:
        OutputError: if the file cannot be written.
    """
    import av

    rng = video_rng(seed, plan.split, plan.index, 2)
    schedule = draw_schedule(plan.procedure.steps, num_base_steps=plan.task.num_steps, rng=rng)
    scene = draw_scene(plan.task.scene, seconds=schedule.num_frames / FRAMES_PER_SECOND, size=size, rng=rng)
    try:
        _encode(render(schedule, scene, rng=rng), path, size=size)
    except av.error.FFmpegError as error:
        raise OutputError(f"{path.name}: the video cannot be written: {error.strerror or error}") from error
    return schedule


def _render_one(job: tuple[VideoPlan, str, int, int]) -> tuple[int, Schedule]:
    plan, path, seed, size = job
    return plan.index, write_video(plan, Path(path), seed=seed, size=size)


def _ignore_interrupts() -> None:
    """The parent alone answers Ctrl-C; workers end when it shuts them down."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _render_all(jobs: Sequence[tuple[VideoPlan, str, int, int]], workers: int) -> Iterator[tuple[int, Schedule]]:
    if workers == 1 or len(jobs) < 2:
        yield from map(_render_one, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_ignore_interrupts) as pool:
        try:
            yield from pool.map(_render_one, jobs)
        except BrokenProcessPool as error:
            raise OutputError("a rendering process died, perhaps for lack of memory; use fewer --workers") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _lines(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _pairs_text(pairs: Sequence[Pair]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["video_a", "video_b", "same", "kind"])
    writer.writerows([pair.a.path, pair.b.path, int(pair.same), pair.kind] for pair in pairs)
    return buffer.getvalue()


def _boundary_row(plan: VideoPlan, schedule: Schedule) -> dict[str, Any]:
    steps = [
        {"step": s.step, "start": s.start / FRAMES_PER_SECOND, "end": s.end / FRAMES_PER_SECOND}
        for s in schedule.segments
    ]
    return {"video": plan.path, "seconds": schedule.num_frames / FRAMES_PER_SECOND, "steps": steps}


def _write_tables(
    folder: Path, splits: dict[SplitName, tuple[VideoPlan, ...]], schedules: dict[str, Schedule], *, seed: int
) -> dict[str, int]:
    """Everything but the videos. Returns the number of lines by file."""
    counts: dict[str, int] = {}

    def put(name: str, text: str, lines: int) -> None:
        write_text(folder / name, text)
        counts[name] = lines

    for split, plans in splits.items():
        rows = [
            {"video": p.path, "steps": list(p.texts), "task": p.task.name, "procedure": p.procedure.name} for p in plans
        ]
        if rows:
            put(f"{split}.jsonl", _lines(rows), len(rows))
        if rows and split != "train":
            pairs = draw_pairs(plans, seed=seed)
            put(f"{split}_pairs.csv", _pairs_text(pairs), len(pairs))
    questions = [
        {"steps": list(q.texts), "videos": [video.path for video in q.candidates], "answer": q.answer}
        for q in draw_matching(splits["test"], seed=seed)
    ]
    if questions:
        put("matching.jsonl", _lines(questions), len(questions))
    every = [plan for plans in splits.values() for plan in plans]
    put("boundaries.jsonl", _lines([_boundary_row(plan, schedules[plan.path]) for plan in every]), len(every))
    return counts


def _check(out: Path, counts: dict[SplitName, int], *, takes: int, seed: int, size: int, workers: int) -> None:
    for split, count in counts.items():
        if count < 0:
            raise OptionError(f"--{split} {count}: the number of videos cannot be negative")
    if not any(counts.values()):
        raise OptionError("no videos asked for: give at least one of --train, --val, --test a number above 0")
    if takes < 1:
        raise OptionError(f"--takes {takes}: every procedure is shown at least once")
    if seed < 0:
        raise OptionError(f"--seed {seed}: a seed cannot be negative")
    if size % 2 or not _MIN_SIZE <= size <= _MAX_SIZE:
        raise OptionError(
            f"--size {size}: must be even and in {_MIN_SIZE}..{_MAX_SIZE}, as H.264 and the drawings need"
        )
    if workers < 1:
        raise OptionError(f"--workers {workers}: at least one process is needed")
    check_new_folder(out)


def make_dataset(  # noqa: PLR0913 - one argument for each property of the dataset
    out: Path,
    *,
    train: int,
    val: int,
    test: int,
    takes: int = 1,
    seed: int = 0,
    size: int = 160,
    workers: int = 1,
    on_video: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Render a dataset into the new folder `out`.

    Args:
        out: folder that is absent or empty.
        train, val, test: numbers of videos.
        takes: training videos of each procedure; more than one where pairs of them are to be trained on.
        seed: the same seed gives the same files, whatever `workers` is; a split does not depend on the others' sizes.
        size: frame side in pixels, even.
        workers: processes that render.
        on_video: called after every video.

    Returns:
        What `dataset.json` says: generator and its version, seed, takes, size, frames a second, lines by file.

    Raises:
        OptionError: if a number cannot be meant.
        OutputError: if `out` is not empty or cannot be written.
    """
    numbers: dict[SplitName, int] = {"train": train, "val": val, "test": test}
    _check(out, numbers, takes=takes, seed=seed, size=size, workers=workers)
    splits = {
        split: plan_split(split, numbers[split], seed=seed, takes=takes if split == "train" else None)
        for split in SPLITS
    }
    every = [plan for plans in splits.values() for plan in plans]
    schedules: dict[str, Schedule] = {}
    with staged_folder(out) as folder:
        for split in {plan.split for plan in every}:
            (folder / "videos" / split).mkdir(parents=True)
        jobs = [(plan, str(folder / plan.path), seed, size) for plan in every]
        for plan, (_, schedule) in zip(every, _render_all(jobs, min(workers, len(jobs))), strict=True):
            schedules[plan.path] = schedule
            if on_video:
                on_video()
        facts = {
            "generator": "workbench",
            "generator_version": GENERATOR_VERSION,
            "seed": seed,
            "takes": takes,
            "size": size,
            "frames_per_second": FRAMES_PER_SECOND,
            "step_types": list(STEP_NAMES),
            "lines": _write_tables(folder, splits, schedules, seed=seed),
        }
        write_text(folder / "dataset.json", json.dumps(facts, indent=2) + "\n")
    return facts
