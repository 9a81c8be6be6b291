"""The documents name nothing that is not there: files, commands, options, targets of make."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from weaksvr.train.presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
COMMANDS = set(PROJECT["project"]["scripts"])
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/consumers.md",
    "docs/demo.md",
    "docs/calibration.md",
    "docs/cache.md",
    "docs/data.md",
    "docs/doctor.md",
    "docs/sampling.md",
    "docs/embed.md",
    "docs/evaluation.md",
    "docs/examples.md",
    "docs/explain.md",
    "docs/gallery.md",
    "docs/gpu.md",
    "docs/json.md",
    "docs/match.md",
    "docs/reports.md",
    "docs/timeline.md",
    "docs/training_speed.md",
    "docs/published_checkpoints.md",
    "docs/triton.md",
    "docs/verify.md",
)
MAX_README_LINES = 200


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / document).read_text())
    local = [link for link in links if not link.startswith("http")]
    folder = (ROOT / document).parent
    assert [link for link in local if not (folder / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist(document):
    named = set(re.findall(r"\bweaksvr-[a-z]+(?:-[a-z]+)*", (ROOT / document).read_text()))
    assert named <= COMMANDS


def test_readme_names_every_command_and_extra_that_is_needed():
    text = (ROOT / "README.md").read_text()
    assert {command for command in COMMANDS if f"`{command}" not in text} == set()
    extras = set(PROJECT["project"]["optional-dependencies"])
    installed = {
        extra for group in re.findall(r"pip install '[^'\[]*\[([a-z,]+)\]'", text) for extra in group.split(",")
    }
    assert installed <= extras
    assert {name for name in PRESETS if "/" not in name and f"`{name}`" not in text} == set()
    assert len(text.splitlines()) <= MAX_README_LINES


def test_options_of_the_readme_are_those_of_the_commands():
    options: dict[str, set[str]] = {}
    for line in (ROOT / "README.md").read_text().splitlines():
        words = line.removeprefix("$ ").split()
        if words and words[0] in COMMANDS:
            options.setdefault(words[0], set()).update(word for word in words if word.startswith("--"))
    assert set(options) >= {"weaksvr-train", "weaksvr-export", "weaksvr-evaluate", "weaksvr-verify"}
    for command, used in options.items():
        source = ROOT / PROJECT["project"]["scripts"][command].partition(":")[0].replace(".", "/").removeprefix(
            "weaksvr/"
        )
        shared = (ROOT / "runtime" / "commands" / "options.py").read_text()
        declared = set(re.findall(r'"(--[a-z-]+)"', source.with_suffix(".py").read_text() + shared))
        assert used <= declared, command


@pytest.mark.needs_tool("make")
def test_targets_of_make_do_something():
    named = {name for document in DOCUMENTS for name in re.findall(r"`?make ([a-z-]+)`", (ROOT / document).read_text())}
    named |= set(re.findall(r'"make ([a-z-]+)', (ROOT / "Makefile").read_text()))
    for target in sorted(named - {"help"}):
        done = subprocess.run(
            ["make", "--dry-run", "--always-make", target],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{target}: {done.stderr}"
        assert "Nothing to be done" not in done.stdout, f"make {target} has no recipe"
