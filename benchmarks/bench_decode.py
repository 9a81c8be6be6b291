"""How long it takes to get exact frames out of a video file: this project's decoder against others.

Every reader gets a file and frame numbers and returns RGB frames whose shorter side is 224, with the file opened anew
each time: index, plan, decoding and conversion all count. Readers run in processes of their own, one at a time, in
turns. Two times are kept: the wall clock's, and processor time, which other programs on the machine disturb less.

What is checked: every frame spells the number that was asked for (`wrong` counts those that do not), how far the worst
frame is, on average, from that of a plain decode of the whole file (`distance`, grey levels; scalers differ by a few),
and whether all are equal to it bit for bit (`identical`). The reader "weaksvr segment" chooses the cheapest frame of
each segment itself; `wrong` counts frames that are not of their segment.

    python benchmarks/bench_decode.py [--clips FOLDER] [--out FILE] [--quick | --only FILE ...]
                                      [--threads N ...] [--frames N ...] [--readers NAME ...] [--enough SECONDS]

Results are added to the file, clip by clip; the last line of stdout is its JSON document. Needs the `ffmpeg` binary
and, for the other readers, `pip install --group bench`.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from decode_clips import CLIPS, Clip, make_clip, read_number
from decode_peers import OURS, PEERS, SEGMENT, load_reader, segments_of, version_of
from numpy.typing import NDArray
from weaksvr.runtime.sampling import uniform_indices
from weaksvr.runtime.storage import write_text
from weaksvr.runtime.video import open_video, shorter_side_size
from weaksvr.runtime.video_decode import packets_to_decode
from weaksvr.runtime.video_index import SKIP_CODECS, plan_runs

SIZE = 224
FRAME_COUNTS = (16, 48)
THREAD_COUNTS = (1, 2)
MAX_REPEATS = 5
_STRIP = 8


class Worker:
    """One reader in a process of its own, bound to as many cores as it may use."""

    def __init__(self, peer: str, threads: int) -> None:
        command = [sys.executable, __file__, "--worker", peer, "--threads", str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.trouble = self._answer().get("error")

    def run(self, **job: Any) -> dict[str, Any]:
        """The result of one job, or {"error": line}."""
        if self.trouble:
            return {"error": self.trouble}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return dict(json.loads(line)) if line else {"error": f"ended with status {self._process.wait()}"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


def serve(peer: str, threads: int) -> None:
    """Be a worker: answer every line of stdin with one line."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])  # before any library starts threads
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print do not disturb the answers
    try:
        read = load_reader(peer)
    except Exception as error:  # noqa: BLE001 (whatever an import raises means that the reader is not there)
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=answers, flush=True)
        return
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = _timed(read, job, threads)
        except Exception as error:  # noqa: BLE001 (a reader that fails is a result)
            answer = {"error": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps(answer), file=answers, flush=True)


def _timed(read: Any, job: dict[str, Any], threads: int) -> dict[str, Any]:
    reference: NDArray[np.uint8] = np.load(job["reference"])
    height, width = reference.shape[1:3]
    cpu, start = _processor_seconds(), time.perf_counter()
    frames = read(job["path"], job["indices"], height, width, threads)
    seconds, cpu = time.perf_counter() - start, _processor_seconds() - cpu
    if frames.shape != reference.shape:
        raise ValueError(f"returned {frames.shape} instead of {reference.shape}")
    times = {"seconds": seconds, "cpu_seconds": cpu}
    if job["alone"]:
        times["alone_cpu_seconds"] = _decoding_alone(job["path"], job["indices"])
    numbers = [read_number(frame) for frame in frames]
    if job["free"]:  # any frame of its segment is right
        segments = segments_of(job["num_frames"], len(numbers))
        wrong = sum(not low <= number < high for number, (low, high) in zip(numbers, segments, strict=True))
        return {**times, "wrong": wrong}
    below = height // _STRIP
    distances = np.abs(frames[:, below:].astype(np.int16) - reference[:, below:]).mean((1, 2, 3))
    return {
        **times,
        "wrong": sum(number != index for number, index in zip(numbers, job["indices"], strict=True)),
        "distance": float(distances.max()),
        "identical": bool(np.array_equal(frames, reference)),
    }


def _decoding_alone(path: str, indices: list[int]) -> float:
    """Processor seconds that FFmpeg's decoder itself needs for the pictures that weaksvr decodes, one thread."""
    with open_video(path, num_threads=1) as video:
        wanted = video._index.packet[sorted(set(indices))]
        cpu = 0.0
        for run in plan_runs(video._reader.table, wanted, earlier_keys=0, gap=video._gap):
            video._source.decoder.flush_buffers()
            packets = packets_to_decode(
                video._source, video._reader, run, set(indices), skip=video._source.codec in SKIP_CODECS
            )
            for packet in itertools.chain((packet for _, packet in packets), [None]):
                start = _processor_seconds()
                video._source.decoder.decode(packet)
                cpu += _processor_seconds() - start
    return cpu


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def reference_frames(clip: Clip, path: Path) -> dict[int, tuple[list[int], Path]]:
    """Number of frames -> (indices, file with these frames of a plain decode of the whole clip), made once."""
    wanted = {count: uniform_indices(clip.num_frames, count).tolist() for count in FRAME_COUNTS}
    files = {count: (indices, path.with_name(f"{path.stem}_{count}.npy")) for count, indices in wanted.items()}
    if all(file.exists() for _, file in files.values()):
        return files
    height, width = shorter_side_size(clip.height, clip.width, SIZE)
    flags = Interpolation.BICUBIC | Interpolation.ACCURATE_RND
    flags |= Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
    scaler, frames, total = VideoReformatter(), {}, 0
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            total = number + 1
            if any(number in indices for indices in wanted.values()):
                small = scaler.reformat(
                    frame, width, height, "rgb24", interpolation=flags, dst_color_range=ColorRange.JPEG
                )
                frames[number] = small.to_ndarray()
                if read_number(frames[number]) != number:
                    raise RuntimeError(f"{path}: frame {number} spells {read_number(frames[number])}")
    if total != clip.num_frames:
        raise RuntimeError(f"{path}: {total} frames instead of {clip.num_frames}")
    for indices, file in files.values():
        np.save(file, np.stack([frames[index] for index in indices]))
    return files


def measure(
    workers: dict[str, Worker], clip: Clip, path: Path, indices: list[int], reference: Path, enough: float, threads: int
) -> Iterator[dict[str, Any]]:
    """One result a reader for one clip and one set of frames; the readers take turns.

    A reader that has used `enough` seconds of processor time is not asked again.
    """
    job = {"path": str(path), "indices": indices, "reference": str(reference), "num_frames": clip.num_frames}
    runs: dict[str, list[dict[str, Any]]] = {peer: [] for peer in workers}
    for repeat in range(MAX_REPEATS):
        for peer, worker in workers.items():
            if repeat == 0 or sum(run.get("cpu_seconds", np.inf) for run in runs[peer]) < enough:
                runs[peer].append(worker.run(**job, free=peer == SEGMENT, alone=peer == OURS and threads == 1))
    for peer, done in runs.items():
        sound = [run for run in done if "error" not in run]
        result: dict[str, Any] = {"file": clip.file, "frames": len(indices), "reader": peer}
        if len(sound) < len(done):
            result["error"] = next(run["error"] for run in done if "error" in run)
        else:
            result["seconds"] = [round(run["seconds"], 4) for run in sound]
            result["cpu_seconds"] = [round(run["cpu_seconds"], 4) for run in sound]
            if all("alone_cpu_seconds" in run for run in sound):
                result["alone_cpu_seconds"] = [round(run["alone_cpu_seconds"], 4) for run in sound]
            result["wrong"] = max(run["wrong"] for run in sound)
            if peer != SEGMENT:
                result["distance"] = round(max(run["distance"] for run in sound), 2)
                result["identical"] = all(run["identical"] for run in sound)
        yield result


def surroundings() -> dict[str, Any]:
    """Hardware and versions."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    ffmpeg = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout.split()[2]
    versions: dict[str, str] = {}
    for peer in PEERS:
        with contextlib.suppress(ModuleNotFoundError):
            versions[PEERS[peer][0]] = version_of(peer)
    return {
        "cpu": model[1] if model else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "encoder": f"ffmpeg {ffmpeg}",
        "versions": versions,
        "date": time.strftime("%Y-%m-%d"),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for and add it to the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=Path, default=Path("build/decode_clips"), help="where clips are made and kept")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "decode.json")
    parser.add_argument("--quick", action="store_true", help="two small clips, 16 frames")
    parser.add_argument("--only", nargs="+", choices=[clip.file for clip in CLIPS], help="these clips")
    parser.add_argument("--threads", type=int, nargs="+", choices=THREAD_COUNTS, default=THREAD_COUNTS)
    parser.add_argument("--frames", type=int, nargs="+", choices=FRAME_COUNTS, default=FRAME_COUNTS)
    parser.add_argument("--enough", type=float, default=5.0, help="processor seconds of a reader, then no more repeats")
    parser.add_argument(
        "--readers", nargs="+", choices=PEERS, default=list(PEERS), metavar="NAME", help="these readers"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        serve(options.worker, options.threads[0])
        return
    clips = [clip for clip in CLIPS if (clip.file in options.only if options.only else clip.quick or not options.quick)]
    counts = FRAME_COUNTS[:1] if options.quick else options.frames
    kept = json.loads(options.out.read_text())["results"] if options.out.exists() else []
    document: dict[str, Any] = {"schema": 1, **surroundings(), "results": kept}
    for threads in options.threads:
        with contextlib.ExitStack() as stack:
            workers = {peer: stack.enter_context(Worker(peer, threads)) for peer in options.readers}
            for clip, count in itertools.product(clips, counts):
                path = make_clip(clip, options.clips)
                indices, reference = reference_frames(clip, path)[count]
                load = round(os.getloadavg()[0], 1)
                new = [
                    {"threads": threads, "load": load, **result}
                    for result in measure(workers, clip, path, indices, reference, options.enough, threads)
                ]
                renewed = {cell(result) for result in new}
                document["results"] = [old for old in document["results"] if cell(old) not in renewed] + new
                write_text(options.out, json.dumps(document, indent=1) + "\n")
                print(*(json.dumps(result) for result in new), sep="\n", file=sys.stderr, flush=True)
    print(json.dumps(document))


def cell(result: dict[str, Any]) -> tuple[Any, ...]:
    """What results are replaced by a newer measurement."""
    return result["threads"], result["file"], result["frames"], result["reader"]


if __name__ == "__main__":
    main()
