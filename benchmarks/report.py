"""Writes the tables of the documents from the results of the benchmarks, so that no number is copied by hand.

python benchmarks/report.py
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench_training import section as training_section
from decode_clips import CLIPS, Clip
from decode_peers import OURS, PEERS, SEGMENT

__all__ = ["decode_document", "speed_table", "training_section", "verify_section", "with_table"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = ROOT / "docs" / "decode.md"
README = ROOT / "README.md"
TRAINING = ROOT / "docs" / "training_speed.md"
BEGINS, ENDS = "<!-- speed: written by benchmarks/report.py -->", "<!-- end of speed -->"
SAME_PICTURE = 8.0
"""Grey levels, on average over a frame: so far apart are the same pictures after different scalers at most."""

_SHOWN = ("x264_1080p.mp4",)
_PEERS_ONLY = frozenset(PEERS) - {OURS, SEGMENT}

_INTRODUCTION = """\
# Decoding: how fast, against whom

This file is written by `benchmarks/report.py` from `benchmarks/results/decode.json`, which `benchmarks/bench_decode.py`
measures. Each reader opens the file anew, takes 16 or 48 frames (the middles of equal segments) and scales them to 224
lines or columns on the shorter side: index, plan, decoding and conversion all count. Readers run one at a time, in
turns, bound to as many cores as they may use threads.

Clips are made by `ffmpeg` from one scene, 25 frames a second, in which every frame spells its number. A reader is
**exact** where all its frames spell the numbers that were asked for and look like those of a plain decode of the whole
file, up to the scaler; those of weaksvr are checked to be equal to it bit for bit. † marks readers that returned a
wrong frame, ✗ those that failed; neither counts as a peer. ¹ marks
a single run, which pays for what a library does at its first use. "gain" is the best exact peer's time divided by
weaksvr's.
`segment` lets the decoder take the frame of each segment that costs least (`Video.cheapest`); its gain is against the
same peer.

"decoder alone" is what FFmpeg's decoder needs for just the pictures that weaksvr gives to it: no exact reader that uses
this decoder can be faster without knowing more of the pictures than that others refer to them. What lies between is
opening, listing the packets and converting the frames. The scaler is part of the contract: bicubic with all digits, as
the networks were trained; decord scales in a coarser and cheaper way, which tells at 48 frames of 2160 lines.

How much `segment` can save is a matter of the groups of pictures. In the one-minute clip sixteen segments of 94 frames
lie across six groups of 250. To come to the first frame of each segment, 443 pictures must be decoded; for the middles,
738 (and 1217 without passing over pictures that nothing refers to). Where groups are shorter than segments, as those
of the phone, a key picture lies in each segment and little else is decoded.

All decoding is done by the CPU. The decoder of a GPU (NVDEC) is left out: its pixels differ from those of the CPU, so
that it would need thresholds of its own, and nothing of it could be tested here.
"""


def decode_document(document: dict[str, Any]) -> str:
    """The text of docs/decode.md."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(document["versions"].items()))
    loads = [result["load"] for result in document["results"]]
    parts = [
        _INTRODUCTION,
        f"Measured on {document['date']}: {document['cpu']}, {document['cores']} cores, Python {document['python']}, "
        f"clips by {document['encoder']}; {versions}. Load of the machine meanwhile, by other programs too: "
        f"{min(loads)} to {max(loads)}.\n",
    ]
    absent = _absent(document["results"])
    if absent:
        parts.append("Not measured: " + "; ".join(absent) + ".\n")
    for threads, frames in itertools.product((1, 2), (16, 48)):
        found = [r for r in document["results"] if (r["threads"], r["frames"]) == (threads, frames)]
        if found:
            parts.append(_section(found, threads, frames))
    return "\n".join(parts)


def verify_section(document: dict[str, Any]) -> str:
    """From file to verdict: the second part of docs/decode.md."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(document["versions"].items()))
    stacks = document["warm"]
    head = ["stack", "warm", "gain", *(["cold", "gain"] if "cold" in document else [])]
    lines = [_row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    for stack in stacks:
        kinds = [document[kind][stack] for kind in ("warm", "cold") if kind in document]
        found = [(f"{kind['median_seconds']:.2f} s", f"**{kind['gain']:.2f}**") for kind in kinds]
        lines.append(_row([stack, *itertools.chain.from_iterable(found)]))
    return "\n".join(
        [
            "## From file to verdict, ViT-B-32\n",
            f"`benchmarks/bench_verify.py`: {document['clips']}; {document['frames']} frames of each, "
            f"{document['threads']} threads, medians. The decoder of the other stacks is the fastest exact one of all "
            "above, the two clips one after the other or at the same time, whichever is faster. The gain is against "
            "the faster of the stacks with a peer's decoder. `cold` is a whole process, imports and loading with it. "
            f"{document['machine']}; {versions}; load of the machine meanwhile {document['load']}.\n",
            *lines,
            "",
        ]
    )


def speed_table(decode: dict[str, Any], verify: dict[str, Any]) -> str:
    """The table of the README."""
    lines = [_row(["on two cores", "weaksvr", "best peer", "gain"]), _row(["---", "---:", "---:", "---:"])]
    for file in _SHOWN:
        (clip,) = (clip for clip in CLIPS if clip.file == file)
        found = {r["reader"]: r for r in decode["results"] if (r["file"], r["threads"], r["frames"]) == (file, 1, 16)}
        peers = {name: min(r["cpu_seconds"]) for name, r in found.items() if name in _PEERS_ONLY and _exact(r)}
        peer = min(peers, key=lambda name: peers[name])
        for reader, what in ((OURS, "16 exact frames"), (SEGMENT, "16 frames, `segment`")):
            ours = min(found[reader]["cpu_seconds"])
            name = f"{what}: {clip.name}, {clip.height}p, {clip.seconds} s"
            lines.append(
                _row(
                    [name, f"{ours * 1e3:.0f} ms", f"{peers[peer] * 1e3:.0f} ms ({peer})", f"{peers[peer] / ours:.2f}"]
                )
            )
    for kind in ("warm", "cold"):
        peer = verify["gain_against"][kind]
        best = verify[kind][peer]["median_seconds"]
        for stack, result in verify[kind].items():
            if stack.startswith(OURS):
                name = f"verdict on two 60 s videos, ViT-B-32, {stack.removeprefix(OURS).strip()}, {kind}"
                engine, decoder = peer.split(" + ")[:2]
                theirs = f"{best:.1f} s ({decoder}, {engine})"
                lines.append(_row([name, f"{result['median_seconds']:.1f} s", theirs, f"{result['gain']:.2f}"]))
    return "\n".join(lines)


def with_table(text: str, table: str) -> str:
    """A document with the table between its two marks."""
    before, rest = text.split(BEGINS)
    return f"{before}{BEGINS}\n\n{table}\n\n{ENDS}{rest.split(ENDS)[1]}"


def _section(results: Sequence[dict[str, Any]], threads: int, frames: int) -> str:
    measure = "cpu_seconds" if threads == 1 else "seconds"
    kind = "processor time" if threads == 1 else "time"
    title = f"## {frames} frames, {threads} thread{'s' if threads > 1 else ''}: milliseconds of {kind}, best run\n"
    peers = [peer for peer in PEERS if peer in _PEERS_ONLY]
    alone = any("alone_cpu_seconds" in result for result in results)
    head = ["clip", OURS, *(["decoder alone"] if alone else []), "segment", *peers, "gain", "gain of segment"]
    lines = [_row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    for clip in CLIPS:
        of_clip = {result["reader"]: result for result in results if result["file"] == clip.file}
        if OURS in of_clip:
            lines.append(_row(_cells(clip, of_clip, peers, measure, alone=alone)))
    return "\n".join([title, *lines, ""])


def _cells(
    clip: Clip, results: dict[str, dict[str, Any]], peers: Sequence[str], measure: str, *, alone: bool
) -> list[str]:
    best = [min(results[peer][measure]) for peer in peers if peer in results and _exact(results[peer])]

    def gain(reader: str) -> str:
        result = results.get(reader, {"error": ""})
        return f"**{min(best) / min(result[measure]):.2f}**" if best and _exact(result) else "-"

    return [
        f"{clip.name}, {clip.height}p, {clip.seconds} s",
        _time(results[OURS], measure),
        *([_time(results[OURS], "alone_cpu_seconds")] if alone else []),
        *(_time(results.get(reader), measure) for reader in (SEGMENT, *peers)),
        gain(OURS),
        gain(SEGMENT),
    ]


def _exact(result: dict[str, Any]) -> bool:
    return "error" not in result and result["wrong"] == 0 and result.get("distance", 0) < SAME_PICTURE


def _time(result: dict[str, Any] | None, measure: str) -> str:
    if result is not None and "error" in result:
        return "✗"
    if result is None or measure not in result:
        return "-"
    once = " ¹" if len(result[measure]) == 1 else ""
    return f"{min(result[measure]) * 1000:.0f}{once}{'' if _exact(result) else ' †'}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _absent(results: Sequence[dict[str, Any]]) -> list[str]:
    """Readers that failed everywhere, with their first message."""
    lines = []
    for peer in PEERS:
        found = [result for result in results if result["reader"] == peer]
        if found and all("error" in result for result in found):
            lines.append(f"{peer} ({found[0]['error']})")
    return lines


if __name__ == "__main__":
    decoded, verified, trained = (
        json.loads((RESULTS / f"{name}.json").read_text()) for name in ("decode", "verify", "training")
    )
    DOCUMENT.write_text(f"{decode_document(decoded)}\n{verify_section(verified)}", encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8"), speed_table(decoded, verified)), encoding="utf-8")
    TRAINING.write_text(with_table(TRAINING.read_text(encoding="utf-8"), training_section(trained)), encoding="utf-8")
