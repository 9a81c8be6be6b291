"""Render the example videos that stand beside this file: one procedure twice, and once with two steps swapped.

    python examples/make_examples.py

They come from the generator of the workbench videos, with its settings, and show a task of the test split, which no
training or validation video can show. Of the seed's tasks with the fewest steps, the first is taken that has three
videos small enough to keep in a repository. Writes `assembly_1.mp4`, `assembly_2.mp4`, `assembly_swapped.mp4`, for each
a script with one step a line (`.txt`), and `boundaries.jsonl` with the true times of the steps.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
from weaksvr.runtime.storage import write_bytes, write_text
from weaksvr.train.datasets.workbench.plan import VIDEOS_PER_PROCEDURE, VideoPlan, plan_split
from weaksvr.train.datasets.workbench.schedule import FRAMES_PER_SECOND, Schedule
from weaksvr.train.datasets.workbench.tasks import KINDS, MIN_STEPS
from weaksvr.train.datasets.workbench.writer import write_video

EXAMPLES = Path(__file__).resolve().parent
WANTED = {"assembly_1": "base", "assembly_2": "base", "assembly_swapped": "swap"}
MAX_BYTES = 150_000
MAX_TASKS = 100
FRAME_SIZE = 160  # pixels, as the datasets are rendered


def tasks_of(seed: int) -> Iterator[tuple[VideoPlan, ...]]:
    """The videos of each task of the test split whose procedure is short, task by task."""
    per_task = VIDEOS_PER_PROCEDURE["test"] * (1 + len(KINDS))
    plans = plan_split("test", MAX_TASKS * per_task, seed=seed)
    for _, group in itertools.groupby(plans, key=lambda plan: plan.task.name):
        videos = tuple(group)
        if videos[0].task.num_steps == MIN_STEPS:
            yield videos


def render_task(plans: tuple[VideoPlan, ...], folder: Path, *, seed: int) -> dict[str, tuple[VideoPlan, Schedule]]:
    """Render what is wanted of one task into `folder`, leaving out the videos that become too large.

    Returns:
        Plan and true step times by name; a name that no video was small enough for is absent.
    """
    free = dict(WANTED)
    done: dict[str, tuple[VideoPlan, Schedule]] = {}
    for plan in plans:
        name = next((name for name, kind in free.items() if kind == plan.procedure.kind), None)
        if name is None:
            continue
        path = folder / f"{name}.mp4"
        schedule = write_video(plan, path, seed=seed, size=FRAME_SIZE)
        if path.stat().st_size < MAX_BYTES:
            done[name] = plan, schedule
            del free[name]
    return done


def boundary_line(name: str, plan: VideoPlan, schedule: Schedule) -> str:
    """One line of `boundaries.jsonl`: times in seconds, texts as in the script."""
    steps = [
        {
            "step": segment.step,
            "text": text,
            "start": segment.start / FRAMES_PER_SECOND,
            "end": segment.end / FRAMES_PER_SECOND,
        }
        for segment, text in zip(schedule.segments, plan.texts, strict=True)
    ]
    seconds = schedule.num_frames / FRAMES_PER_SECOND
    return json.dumps({"video": f"{name}.mp4", "seconds": seconds, "steps": steps}) + "\n"


@click.command()
@click.option("--seed", type=click.IntRange(min=0), default=2303, show_default=True, help="Which tasks there are.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=EXAMPLES, help="Folder.  [default: this one]"
)
def main(seed: int, out: Path) -> None:
    """Render the example videos."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for plans in tasks_of(seed):
            done = render_task(plans, folder, seed=seed)
            if set(done) == set(WANTED):
                break
        else:
            raise click.ClickException(f"no task of seed {seed} has three videos below {MAX_BYTES} bytes; try another")
        for name in WANTED:
            plan, _ = done[name]
            write_bytes(out / f"{name}.mp4", (folder / f"{name}.mp4").read_bytes())
            write_text(out / f"{name}.txt", "".join(f"{text}\n" for text in plan.texts))
            size = (out / f"{name}.mp4").stat().st_size
            click.echo(f"{out / name}.mp4: {size} bytes, {plan.procedure.name}: {', '.join(plan.procedure.steps)}")
    write_text(out / "boundaries.jsonl", "".join(boundary_line(name, *done[name]) for name in WANTED))


if __name__ == "__main__":
    main()
