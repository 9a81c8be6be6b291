"""Whether files can be written where the commands write them. Each folder is tried; permissions alone say little."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..bundle import DEFAULT_BUNDLE
from ..cache import FOLDER_VARIABLE, LIMIT_VARIABLE, find_cache, is_private
from ..errors import OptionError
from .findings import Finding, State, cause_of, problem

__all__ = ["check_bundle_folder", "check_embedding_cache", "check_temporary", "check_weights_cache", "weights_cache"]

TRIAL_BYTES: Final = 2**20
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
TEMPORARY_VARIABLES: Final = ("TMPDIR", "TEMP", "TMP")  # in the order in which Python looks at them


def check_temporary(*, needed: bool) -> Finding:
    """The folder of temporary files, and whether it is the one that was asked for.

    Args:
        needed: whether a command that is installed needs it: then trouble is a problem, else a warning.
    """
    state: State = "problem" if needed else "warning"
    remedy = "export TMPDIR=FOLDER"
    try:
        folder = Path(tempfile.gettempdir())
    except OSError as error:
        what = "there is no folder for temporary files"
        return _bad("temporary", state, what, why=error.strerror or str(error), remedy=remedy)
    asked = next((os.environ[name] for name in TEMPORARY_VARIABLES if os.environ.get(name)), folder)
    if Path(asked).resolve() != folder.resolve():
        why = f"Python cannot write to it and takes {folder} instead"
        return _bad("temporary", "warning", f"{asked} is not used", why=why, remedy=remedy)
    return _written("temporary", folder, folder, state=state, remedy=remedy)


def check_weights_cache() -> Finding:
    """The folder to which training and export download published weights; or the first one above it that is there."""
    folder = weights_cache(os.environ, _home())
    present = next(path for path in (folder, *folder.parents) if _is_there(path))
    return _written("cache", folder, present, state="problem", remedy="export HF_HOME=FOLDER")


def check_embedding_cache() -> Finding:
    """Where embeddings are kept, and how much is there; what cannot be used is done without, so that is a warning."""
    try:
        cache = find_cache(os.environ)
    except OptionError as error:
        return problem(
            "folders",
            "embeddings",
            "the size of the cache is no number",
            why=cause_of(str(error)),
            remedy=f"export {LIMIT_VARIABLE}=1073741824",
        )
    if cache is None:
        return Finding(topic="folders", name="embeddings", what="are not kept: the cache is off")
    remedy = f"export {FOLDER_VARIABLE}=FOLDER"
    what = f"{cache.folder}: {cache.size() / 2**20:.1f} of at most {cache.limit_bytes / 2**20:.1f} MiB"
    try:
        if cache.folder.is_dir() and not is_private(cache.folder):
            why = "the folder belongs to another user, or others may write to it, so it is not used"
            return _bad("embeddings", "warning", what, why=why, remedy=remedy)
    except OSError as error:
        return _bad("embeddings", "warning", what, why=error.strerror or str(error), remedy=remedy)
    present = next(path for path in (cache.folder, *cache.folder.parents) if _is_there(path))
    tried = _written("embeddings", cache.folder, present, state="warning", remedy=remedy)
    return tried if tried.state != "ok" else Finding(topic="folders", name="embeddings", what=what)


def weights_cache(environment: Mapping[str, str], home: Path) -> Path:
    """Where the Hugging Face hub, from which open_clip takes its weights, keeps them."""
    user_cache = Path(environment.get("XDG_CACHE_HOME") or home / ".cache")
    hub_home = Path(environment.get("HF_HOME") or user_cache / "huggingface")
    given = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE")
    return Path(given or hub_home / "hub").absolute()


def check_bundle_folder(folder: Path) -> Finding:
    """The bundle's folder, which only a new export or calibration writes to: verdicts do not need it."""
    remedy = "weaksvr-export RUN --out FOLDER"
    if folder == DEFAULT_BUNDLE:  # belongs to the installation, and is not meant to be written to
        return Finding(topic="folders", name="bundle", what=f"{folder} (not written to)")
    return _written("bundle", folder, folder, state="warning", remedy=remedy)


def _written(name: str, folder: Path, present: Path, *, state: State, remedy: str) -> Finding:
    """What comes of writing to `present`, which stands for `folder`."""
    error = _try_to_write(present)
    if error is None:
        return Finding(topic="folders", name=name, what=f"{folder} can be written to ({_free(present)} free)")
    reason = error.strerror or str(error)
    if error.errno in FULL:
        why = f"a file of {TRIAL_BYTES // 2**20} MB does not fit: {reason} ({_free(present)} free)"
        return _bad(name, state, f"{folder}: the disk is full", why=why, remedy=remedy)
    why = f"trying to write a file in {present}: {reason}"
    return _bad(name, state, f"{folder} cannot be written to", why=why, remedy=remedy)


def _try_to_write(folder: Path) -> OSError | None:
    """Write a nameless file and let it go. Random bytes, for file systems that compress.

    It is not synced: a full disk shows when the file is written or closed, and a busy one may take long to sync.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(os.urandom(TRIAL_BYTES))
    except OSError as error:
        return error
    return None


def _is_there(path: Path) -> bool:
    """`Path.exists` raises where a folder above may not be searched."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # in a container whose user has no entry
        return Path("~")  # what the hub takes then, literally


def _free(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 2**30:.1f} GB"
    except OSError:
        return "unknown space"


def _bad(name: str, state: State, what: str, *, why: str, remedy: str) -> Finding:
    return Finding(topic="folders", name=name, state=state, what=what, why=why, remedy=remedy)
