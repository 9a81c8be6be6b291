"""Change what a bundle's manifest says, in its own folder or in a copy; the networks stay the very same bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from .bundle import DEFAULT_BUNDLE, Bundle, NewReport, refuse_foreign, sweep, write_manifest, write_once, write_report
from .bundle_format import Manifest
from .errors import OutputError
from .spec import Method
from .thresholds import Threshold

__all__ = ["refuse_read_only", "write_thresholds"]

_PICTURES = "calibration."


def refuse_read_only(out: Path) -> None:
    """Refuse a folder that cannot be written to before any work is done.

    Raises:
        OutputError: if it is the bundle that comes with the package, holds something else, or may not be written to.
    """
    if out.exists() and DEFAULT_BUNDLE.exists() and out.samefile(DEFAULT_BUNDLE):
        raise OutputError(f"{out}: comes with the package and is read-only; write a copy with --out DIR")
    refuse_foreign(out)
    there = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise OutputError(f"{out}: cannot be made: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{out}: no permission to write in {there}; write a copy with --out DIR")


def write_thresholds(
    bundle: Bundle, thresholds: Iterable[Threshold], *, out: Path | None = None, reports: Iterable[NewReport] = ()
) -> Bundle:
    """Put thresholds into a bundle, each in place of the one of its combination, or into a copy of the bundle.

    What the manifest says by now counts, so that calibrations of several combinations may run at the same time.
    Pictures of calibrations that no threshold names any more are removed.

    Args:
        bundle: whose networks were calibrated.
        thresholds: new ones.
        out: a new or empty folder, or a bundle, which is replaced; None is the bundle's own folder.
        reports: pictures that the thresholds name.

    Raises:
        OutputError: if the folder is not to be written to, or the bundle was replaced by another one meanwhile.
        BundleIntegrityError: if a file of the bundle is missing or was changed.
    """
    folder = bundle.path if out is None else out
    refuse_read_only(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    current = Bundle.open(bundle.path, verify=False)
    if current.manifest.files != bundle.manifest.files:
        raise OutputError(f"{bundle.path}: was replaced while it was calibrated; calibrate it again")
    try:
        if not (folder.exists() and folder.samefile(bundle.path)):
            _copy_files(current, folder)
        written = {report.path: report for report in (write_report(folder, new) for new in reports)}
        kept = {report.path: report for report in current.manifest.reports}
        changed = _with_thresholds(current.manifest, {threshold.key: threshold for threshold in thresholds})
        named = {entry.calibrated.evidence.picture for entry in changed.thresholds if entry.calibrated.evidence}
        listed = tuple(
            report
            for report in {**kept, **written}.values()
            if report.path in named or not report.path.startswith(_PICTURES)
        )
        return write_manifest(folder, dataclasses.replace(changed, reports=listed))
    finally:
        sweep(folder)
        for path in made:
            with contextlib.suppress(OSError):  # fails, as it should, where something was written
                path.rmdir()


def _with_thresholds(manifest: Manifest, new: Mapping[tuple[Method, str, str], Threshold]) -> Manifest:
    kept = {threshold.key: threshold for threshold in manifest.thresholds}
    return dataclasses.replace(manifest, thresholds=tuple({**kept, **new}.values()))


def _copy_files(bundle: Bundle, folder: Path) -> None:
    for entry in bundle.manifest.entries:
        path = folder / entry.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path.parent}: cannot be made: {error.strerror or error}") from error
        write_once(path, bundle.read(entry), entry.sha256)
