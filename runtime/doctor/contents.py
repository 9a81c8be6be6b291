"""What a bundle offers, and whether its files are those that were written."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from ..bundle import DEFAULT_BUNDLE, Bundle
from ..errors import BundleError, BundleIntegrityError, BundleVersionError
from .findings import Finding, cause_of, problem

__all__ = ["check_bundle", "remade"]


def check_bundle(given: str | os.PathLike[str]) -> tuple[Bundle | None, tuple[Finding, ...]]:
    """Read the bundle in the folder `given` and compare every file with its hash.

    Returns:
        The bundle, None if it cannot be used; and what was found.
    """
    folder = Path(given)
    try:
        bundle = Bundle.open(given, verify=False)
    except BundleError as error:
        remedy = "pip install --upgrade weaksvr" if isinstance(error, BundleVersionError) else remade(folder)
        return None, (problem("bundle", "files", "the bundle cannot be used", why=cause_of(str(error)), remedy=remedy),)
    entries = bundle.manifest.entries
    changed = []
    for entry in entries:
        try:
            bundle.read(entry)
        except BundleIntegrityError as error:
            changed.append(cause_of(str(error)))
    if changed:
        what = f"{len(changed)} of {len(entries)} files cannot be used"
        return None, (problem("bundle", "files", what, why="; ".join(changed), remedy=remade(folder)),)
    size = sum({entry.path: entry.bytes for entry in entries}.values()) / 1e6
    files = Finding(topic="bundle", name="files", what=f"{len(entries)}, {size:.1f} MB, all as they were written")
    return bundle, (_offer(bundle), files)


def remade(folder: Path) -> str:
    """The command that makes the bundle in `folder` anew."""
    if folder == DEFAULT_BUNDLE:
        return "pip install --force-reinstall --no-deps weaksvr"
    return f"weaksvr-export RUN --out {shlex.quote(str(folder))}"


def _offer(bundle: Bundle) -> Finding:
    manifest = bundle.manifest
    precisions = []
    for precision in manifest.precisions:
        roles = [file.role for file in manifest.files if file.precision == precision]
        by_sampling: dict[str, list[str]] = {}
        for entry in manifest.thresholds:
            if entry.precision == precision:
                by_sampling.setdefault(entry.sampling, []).append(entry.method)
        calibrated = ", ".join(f"{' and '.join(methods)} at {sampling}" for sampling, methods in by_sampling.items())
        known = f"calibrated for {calibrated}" if calibrated else "not calibrated"
        precisions.append(f"{precision} ({', '.join(roles)}; {known})")
    what = f"{manifest.name}: {' and '.join(precisions)}; {manifest.sampling.key}"
    return Finding(topic="bundle", name="model", what=what)
