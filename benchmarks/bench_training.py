"""Training speed: this project's loop against the published loop's way of working, end to end over five epochs.

    python benchmarks/bench_training.py WORK --workbench runs/workbench --out benchmarks/results/training.json

Both train the same network on the same videos with the same batch size, number of steps, losses, optimiser and
arithmetic. The published way (see `published_loop.py`) decodes every frame of every video to a JPEG file first, reads
16 of them a clip with Pillow, and sends the padded sentences and the paragraphs through the text tower in every step.
Ours is `weaksvr.train.engine.train` as users call it: the frames that are drawn are decoded, with and without
`data.cache`, and a frozen text tower encodes each text once. Ours also writes its checkpoints and validates on three or
four videos after the last epoch; the other does neither.

Every run is a process of its own in an empty folder, the ways take turns, and time counts from the first look at the
videos to the end of the last epoch; the start of Python and its imports are left out for all. Threads that wait for
others give their core away (OMP_WAIT_POLICY), as the decoding processes share the cores. Clips are made in WORK and
kept there. The last line on stdout is the results file's JSON document.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training_videos import make_clips, make_part
from weaksvr.runtime.cpus import available_cpus
from weaksvr.runtime.storage import write_text

EPOCHS = 5
PUBLISHED, OURS, CACHED = "published way", "weaksvr", "weaksvr, data.cache"
WAYS = (PUBLISHED, OURS, CACHED)
TOWERS = "bench-vit"
TOWERS_CONFIG = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 112, "patch_size": 16, "layers": 4, "width": 96, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 4},
}
_COMMON = ("model.train_text=false", "loss.form=official", "loss.fine=sort", "loss.mask_repeated=false")
_PAPER = (
    *(f"model.clip={TOWERS}", "model.pretrained=", "model.width=128", "model.mlp_width=256", "model.heads=4"),
    *("model.head_dim=32", "optim.precision=fp32"),
)
_PLAIN = ("loss.script_negatives=0", *(f"augment.{name}=0" for name in ("color", "shift", "zoom", "rotate")))
_WORKBENCH = (*_PLAIN, "augment.noise=0", "augment.flip=0", "augment.erase=0", "optim.precision=fp32")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What is trained on what.

    Attributes:
        what: the videos and the network, in words.
        preset, changes: the settings of the run.
        videos: training videos.
        seconds: of each clip that is made; 0 for videos of the workbench dataset.
    """

    what: str
    preset: str
    changes: tuple[str, ...]
    videos: int
    seconds: int


SETTINGS = {
    "20 s": Setting(
        what="32 clips of 20 s, 320 x 180; ViT of 112 pixels",
        preset="paper",
        changes=_PAPER,
        videos=32,
        seconds=20,
    ),
    "60 s": Setting(
        what="16 clips of 60 s, 320 x 180; ViT of 112 pixels",
        preset="paper",
        changes=_PAPER,
        videos=16,
        seconds=60,
    ),
    "workbench": Setting(
        what="160 rendered clips of 5 s, 160 x 160; preset workbench",
        preset="workbench",
        changes=_WORKBENCH,
        videos=160,
        seconds=0,
    ),
}


def configuration(setting: Setting, *, epochs: int, cache: str) -> Any:
    """The settings of a run; the ways differ in the cache alone."""
    import open_clip
    from weaksvr.train.config import override
    from weaksvr.train.presets import preset

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{TOWERS}.json"
        path.write_text(json.dumps(TOWERS_CONFIG))
        open_clip.add_model_config(path)
    changes = [*_COMMON, *setting.changes, f"optim.epochs={epochs}", f"optim.eval_every={epochs}"]
    return override(preset(setting.preset), [*changes, f"data.cache={cache}"])


def measure_child(job: Mapping[str, Any]) -> dict[str, Any]:
    """One run in this process."""
    from published_loop import train_published
    from weaksvr.train.engine import train

    work = Path(job["work"])
    kept = work / ("frames" if job["way"] == PUBLISHED else "cache")
    cache = str(kept) if job["way"] == CACHED else ""
    config = configuration(Setting(**job["setting"]), epochs=job["epochs"], cache=cache)
    data = Path(job["data"])
    began, used = time.perf_counter(), _processor_seconds()
    if job["way"] == PUBLISHED:
        found = train_published(data, work, config)
    else:
        train(data, work / "run", config, device="cpu")
        found = _what_ours_did(work / "run", data, config.data.batch_size)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "cpu_seconds": _processor_seconds() - used,
        **found,
        "kept_mib": sum(file.stat().st_size for file in kept.rglob("*.*") if file.is_file()) / 2**20,
    }


def _processor_seconds() -> float:
    """Of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _what_ours_did(run: Path, data: Path, batch_size: int) -> dict[str, Any]:
    """Epochs, steps and the last loss, from what the run has written."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    ends = [0.0, *(line["seconds"] for line in lines)]
    videos = len((data / "train.jsonl").read_text().splitlines())
    return {
        "epoch_seconds": [round(end - start, 3) for start, end in itertools.pairwise(ends)],
        "steps": len(lines) * (videos // batch_size),
        "loss": lines[-1]["loss"],
    }


def run_child(way: str, setting: Setting, data: Path, epochs: int, work: Path) -> dict[str, Any]:
    """One run in a process and a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=work) as folder:
        job = {"way": way, "setting": dataclasses.asdict(setting), "data": str(data), "epochs": epochs, "work": folder}
        command = [sys.executable, __file__, "--child", json.dumps(job)]
        environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def summary(runs: Mapping[str, Sequence[Mapping[str, Any]]], *, videos: int, epochs: int) -> dict[str, Any]:
    """Each way's median run, all its times, and how many times the published way's videos a second.

    Raises:
        SystemExit: if the ways took different numbers of steps.
    """
    if len({run["steps"] for way in runs.values() for run in way}) != 1:
        raise SystemExit("the ways took different numbers of steps and cannot be compared")
    found = {}
    slow = statistics.median(run["seconds"] for run in runs[PUBLISHED])
    for way, way_runs in runs.items():
        middle = sorted(way_runs, key=lambda run: run["seconds"])[len(way_runs) // 2]
        seconds = statistics.median(run["seconds"] for run in way_runs)
        found[way] = {
            "median_seconds": round(seconds, 2),
            "videos_per_second": round(videos * epochs / seconds, 2),
            "gain": round(slow / seconds, 2),
            "all_seconds": [round(run["seconds"], 2) for run in way_runs],
            **{key: round(middle[key], 3) for key in sorted(middle) if isinstance(middle[key], float)},
            "epoch_seconds": middle["epoch_seconds"],
            "steps": middle["steps"],
        }
    return found


def section(document: Mapping[str, Any]) -> str:
    """What docs/training_speed.md shows of the results: a sentence, the table, where the time goes, and the machine."""
    parts = document["parts"].values()
    gains = [part["ways"][CACHED]["gain"] for part in parts]
    lines = [
        f"With a frame cache, weaksvr trains at least {min(gains):.1f} times as many videos a second as the published "
        f"way of working; {max(gains):.1f} times at most.",
        "",
        "| videos and network | way | time | from, to | processor time | videos a second | on disk | times as fast |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for part in parts:
        for way, row in part["ways"].items():
            spread = f"{min(row['all_seconds']):.1f} to {max(row['all_seconds']):.1f} s"
            cells = [part["what"], way, f"{row['median_seconds']:.1f} s", spread]
            cells += [f"{row['cpu_seconds']:.0f} s", f"{row['videos_per_second']:.1f}"]
            cells += [f"{row['kept_mib']:.0f} MiB", f"{row['gain']:.2f}"]
            lines.append(f"| {' | '.join(cells)} |")
    spent = [
        f"{part['what'].partition(';')[0]}: {row['preparation_seconds']:.1f} s for the JPEG files, "
        f"{row['text_seconds']:.1f} s in the text tower"
        for part in parts
        for row in [part["ways"][PUBLISHED]]
    ]
    machine, versions = document["machine"], ", ".join(f"{k} {v}" for k, v in sorted(document["versions"].items()))
    loads = [part["load_average"][0] for part in parts]
    repeats = sorted({part["repeats"] for part in parts})
    lines += [
        "",
        f"Of the published way's time: {'; '.join(spent)}.",
        "",
        f"Medians; runs of each way, which took turns: {' or '.join(map(str, repeats))}. {machine['processor']}, "
        f"{machine['cpus']} CPUs; {versions}. Load of the machine at the end of a part, by other programs too: "
        f"{min(loads):.1f} to {max(loads):.1f}.",
    ]
    return "\n".join(lines)


def measure(name: str, work: Path, workbench: Path | None, *, repeats: int, epochs: int) -> dict[str, Any]:
    """All ways of one of the `SETTINGS`, in turns."""
    setting = SETTINGS[name]
    folder = work / f"{name.replace(' ', '')}-{setting.videos}"
    if setting.seconds:
        data = make_clips(folder, videos=setting.videos, seconds=setting.seconds, takes=4, seed=0)
    elif workbench is None:
        raise SystemExit(f"the part {name!r} needs --workbench")
    else:
        data = make_part(folder, workbench, videos=setting.videos)
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for repeat in range(repeats):
        for way in WAYS:
            runs[way].append(run_child(way, setting, data, epochs, work))
            seconds = runs[way][-1]["seconds"]
            print(f"{name}, {repeat + 1}/{repeats}, {way}: {seconds:.2f} s", file=sys.stderr, flush=True)
    return {
        "what": setting.what,
        "videos": setting.videos,
        "epochs": epochs,
        "repeats": repeats,
        "load_average": os.getloadavg(),
        "settings": configuration(setting, epochs=epochs, cache="").to_json(),
        "ways": summary(runs, videos=setting.videos, epochs=epochs),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, nargs="?", help="Folder for the clips, which are kept, and for the runs.")
    parser.add_argument("--workbench", type=Path, help="Workbench dataset.")
    parser.add_argument("--parts", nargs="+", choices=SETTINGS, help="Measure these only, and keep the rest.")
    parser.add_argument("--out", type=Path, help="Where the JSON document goes.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure_child(json.loads(arguments.child))))
        return
    if arguments.work is None:
        parser.error("WORK is missing")
    arguments.work.mkdir(parents=True, exist_ok=True)
    known = json.loads(arguments.out.read_text())["parts"] if arguments.out and arguments.out.exists() else {}
    for name in arguments.parts or SETTINGS:
        options = {"repeats": arguments.repeats, "epochs": arguments.epochs}
        known[name] = measure(name, arguments.work.resolve(), arguments.workbench, **options)
        document = {
            "benchmark": "training",
            "machine": {"cpus": available_cpus(), "processor": platform.machine()},
            "versions": {
                "python": platform.python_version(),
                **{name: importlib.metadata.version(name) for name in ("av", "numpy", "open_clip_torch", "pillow")},
                **{name: importlib.metadata.version(name) for name in ("torch", "torchvision")},
            },
            "towers": {TOWERS: TOWERS_CONFIG},
            "parts": {key: known[key] for key in SETTINGS if key in known},
        }
        if arguments.out:
            write_text(arguments.out, json.dumps(document, indent=1) + "\n")
    print(section(document))
    print(json.dumps(document))


if __name__ == "__main__":
    main()
