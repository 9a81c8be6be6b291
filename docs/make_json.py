"""Write the example JSON documents of docs/json/: what the commands print with `--json`, on the videos of examples/.

    python docs/make_json.py [OUT]      # docs/json, if no folder is given

Numbers differ in their last digits from machine to machine, as does what says where it ran. Every list is
cut to its first three values.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "runtime" / "assets" / "default"
KEPT = 3
"""How many values of a list are shown."""
DEVICE = ("--device", "cpu")
SWAPPED = ("assembly_1.mp4", "assembly_swapped.mp4")
ADDED = ("gallery", "add", "gallery", "assembly_1.mp4", "assembly_2.mp4", "--set", "site=A", *DEVICE)
DOCUMENTS: dict[str, tuple[str, ...]] = {
    "verify": ("verify", *SWAPPED, *DEVICE),
    "verify-explained": ("verify", *SWAPPED, "--script", "assembly_1.txt", *DEVICE),
    "verify-list": (
        "verify",
        "--reference",
        "assembly_1.mp4",
        "assembly_2.mp4",
        "assembly_swapped.mp4",
        "missing.mp4",
        *DEVICE,
    ),
    "timeline": ("timeline", "assembly_1.txt", "assembly_swapped.mp4", *DEVICE),
    "match": ("match", "assembly_1.txt", "assembly_1.mp4", "assembly_swapped.mp4", *DEVICE),
    "gallery-add": ADDED,
    "gallery-search": ("gallery", "search", "gallery", "--video", "assembly_1.mp4", *DEVICE),
    "embed": ("embed", "assembly_1.mp4", "missing.mp4", "--out", "embeddings.parquet", *DEVICE),
    "calibrate": ("calibrate", "bundle", "--pairs", "pairs.csv", "--out", "calibrated", *DEVICE),
    "doctor": ("doctor", "bundle", *DEVICE),
    "evaluate": ("evaluate", "bundle", "--data", ".", *DEVICE),
    "error": ("verify", "assembly_1.mp4", "missing.mp4", *DEVICE),
}
MODULES = {"evaluate": "weaksvr.train.commands.evaluate"}
"""Where the commands are that are not in `weaksvr.runtime.commands`."""
PAIRS = """video_a,video_b,same
assembly_1.mp4,assembly_2.mp4,1
assembly_1.mp4,assembly_swapped.mp4,0
assembly_2.mp4,assembly_swapped.mp4,0
"""


def write_test_set(folder: Path) -> None:
    """The examples as a test set: their scripts, their pairs, and which of two videos follows a script."""
    videos = ["assembly_1.mp4", "assembly_2.mp4", "assembly_swapped.mp4"]
    steps = {video: (folder / video).with_suffix(".txt").read_text().splitlines() for video in videos}
    first, _, swapped = videos
    manifest = [{"video": video, "steps": steps[video]} for video in videos]
    matching = [
        {"steps": steps[video], "videos": [first, swapped], "answer": answer}
        for answer, video in enumerate((first, swapped))
    ]
    for name, rows in (("test.jsonl", manifest), ("matching.jsonl", matching)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "test_pairs.csv").write_text(PAIRS)


def printed(folder: Path, arguments: tuple[str, ...]) -> dict[str, Any]:
    """The document that a command prints in `folder`, whatever its exit code."""
    name, *rest = arguments
    module = MODULES.get(name, f"weaksvr.runtime.commands.{name}")
    command = [sys.executable, "-m", module, *rest, "--json"]
    environment = {**os.environ, "WEAKSVR_CACHE": "off"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    return dict(json.loads(done.stdout))


def all_documents() -> dict[str, dict[str, Any]]:
    """What every command prints, in full, by name of the document."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "examples"
        shutil.copytree(ROOT / "examples", folder)
        shutil.copytree(BUNDLE, folder / "bundle")
        (folder / "pairs.csv").write_text(PAIRS)
        write_test_set(folder)
        return {document: printed(folder, arguments) for document, arguments in DOCUMENTS.items()}


def shortened(value: Any) -> Any:
    """`value` with every list cut to its first `KEPT` values."""
    if isinstance(value, dict):
        return {key: shortened(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shortened(inner) for inner in value[:KEPT]]
    return value


def main() -> None:
    """Write all documents."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "json"
    out.mkdir(exist_ok=True)
    for name, document in all_documents().items():
        (out / f"{name}.json").write_text(json.dumps(shortened(document), indent=2) + "\n")


if __name__ == "__main__":
    main()
