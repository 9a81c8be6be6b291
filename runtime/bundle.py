"""A bundle on disk: a model that is ready to run, as a folder with `manifest.json` and the files that it lists.

    manifest.json                           what is in the bundle, see `Manifest`; replaced last
    <role>.<precision>.<sha8>.onnx          one network, without external data
    engines/<role>.<precision>.<sha8>.plan  one TensorRT engine, for one version of TensorRT and some GPUs
    tokenizer.<sha8>.json                   for `tokenizers`, if there is a text network
    gate.<sha8>.md, gate.<sha8>.svg         what the export's gate found, for people
    calibration.<sha8>.svg                  what thresholds are founded on, for people

A file's name carries the start of its SHA-256, so a rewritten bundle never overwrites what the old manifest lists:
whenever writing stops, the folder is the old bundle or the new one. What is loaded is what was hashed: `Bundle.read`
returns the very bytes that it checked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, Literal, Self

from .bundle_format import (
    REQUIRED_ROLES,
    ROLES,
    SCHEMA,
    Calibration,
    Entry,
    Manifest,
    NetworkFile,
    ReportFile,
    Threshold,
    TokenizerFile,
)
from .engine_file import ENGINE_FOLDER, EngineFile, NewEngine
from .errors import BundleError, BundleIntegrityError, BundleNotFoundError, OutputError
from .onnx_scan import refuse_external_data
from .seal import sealed
from .spec import Cleaning, TensorSpec
from .storage import sha256_of, write_bytes

__all__ = [
    "DEFAULT_BUNDLE",
    "MANIFEST_NAME",
    "ROLES",
    "Bundle",
    "Calibration",
    "EngineFile",
    "Manifest",
    "NetworkFile",
    "NewEngine",
    "NewNetwork",
    "NewReport",
    "NewTokenizer",
    "ReportFile",
    "Threshold",
    "TokenizerFile",
    "refuse_foreign",
    "sweep",
    "write_bundle",
    "write_manifest",
    "write_once",
    "write_report",
]

MANIFEST_NAME: Final = "manifest.json"
MAX_MANIFEST_BYTES: Final = 16 * 2**20
DEFAULT_BUNDLE: Final = Path(__file__).parent / "assets" / "default"

OWN_FILE = re.compile(
    r"[a-z]+\.[a-z0-9]+\.[0-9a-f]{8}\.onnx|" + ENGINE_FOLDER + r"/[a-z]+\.[a-z0-9]+\.[0-9a-f]{8}\.plan|"
    r"tokenizer\.[0-9a-f]{8}\.json|gate\.[0-9a-f]{8}\.(?:md|svg)|"
    r"calibration\.[0-9a-f]{8}\.svg"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk: its folder and its manifest. `Bundle.open` is the way to one."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, verify: bool = True) -> Self:
        """Read and check the bundle in the folder `path`.

        Always checked: the manifest, and that every file it lists is a plain file inside the folder, of the right size.

        Args:
            path: the bundle's folder.
            verify: also compare every file's SHA-256 now. `read` compares it in any case.

        Raises:
            BundleNotFoundError: if there is no such folder, or no manifest.json in it.
            BundleVersionError: if a newer version of this package wrote it.
            BundleIntegrityError: if a file is missing, changed, or not safe to load.
            BundleError: if the manifest cannot be used.
        """
        folder = Path(path)
        bundle = cls(folder, _read_manifest(folder, os.fspath(path)))
        for entry in bundle.manifest.entries:
            if verify:
                bundle.read(entry)
            else:
                _locate(folder, entry)
        return bundle

    def read(self, entry: Entry) -> bytes:
        """The content of a listed file, after its size, its hash and (for a network) its self-containment are checked.

        Raises:
            BundleIntegrityError: if the file is missing, changed, or not safe to load.
        """
        path = _locate(self.path, entry)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BundleIntegrityError(f"{path}: cannot be read: {error.strerror or error}") from error
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise BundleIntegrityError(f"{path}: was changed since the bundle was made (SHA-256 differs); get it anew")
        if isinstance(entry, NetworkFile):
            refuse_external_data(data, name=str(path))
        return data


def _read_manifest(folder: Path, given: str) -> Manifest:
    """Raises `BundleNotFoundError` or `BundleError`."""
    path = folder / MANIFEST_NAME
    try:
        status = path.lstat() if given else None
    except (OSError, ValueError):
        status = None
    if status is None:
        raise BundleNotFoundError(f"{given or repr(given)}: no bundle there (looked for {path})")
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path}: must be a plain file of at most {MAX_MANIFEST_BYTES // 2**20} MiB")
    try:
        return Manifest.from_json(json.loads(path.read_bytes()))
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror or error}") from error
    except BundleError as error:
        raise type(error)(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: is not valid JSON ({error})") from error


def _locate(folder: Path, entry: Entry) -> Path:
    """The path of a listed file, if it is a plain file of the right size inside `folder`."""
    relative = PurePosixPath(entry.path)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts or re.search(r"[\\:\0]", entry.path):
        raise BundleIntegrityError(f"{folder / MANIFEST_NAME}: {entry.path!r} does not name a file inside the bundle")
    path = folder.joinpath(*relative.parts)
    steps = [folder.joinpath(*relative.parts[: end + 1]) for end in range(len(relative.parts))]
    try:
        if any(step.is_symlink() for step in steps) or not stat.S_ISREG(path.lstat().st_mode):
            raise BundleIntegrityError(f"{path}: must be a plain file, not a link or anything else")
        size = path.lstat().st_size
    except FileNotFoundError as error:
        raise BundleIntegrityError(f"{path}: is missing from the bundle; get it anew") from error
    except (OSError, ValueError) as error:
        raise BundleIntegrityError(f"{path}: cannot be read: {error}") from error
    if size != entry.bytes:
        raise BundleIntegrityError(f"{path}: has {size} bytes, but the manifest says {entry.bytes}; get it anew")
    return path


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NewNetwork:
    """A network that is to be written into a bundle; `data` is the content of its ONNX file."""

    role: str
    precision: str
    opset: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    data: bytes = dataclasses.field(repr=False)

    @classmethod
    def of(cls, file: NetworkFile, data: bytes) -> Self:
        """A network that is in a bundle already, to be written anew."""
        kept = ("role", "precision", "opset", "inputs", "outputs")
        return cls(**{name: getattr(file, name) for name in kept}, data=data)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NewTokenizer:
    """A tokenizer that is to be written into a bundle; `data` is the content of its `tokenizers` JSON file.

    The other attributes are those of `TokenizerFile`.
    """

    context_length: int
    cleaning: Cleaning = "lower"
    zeroed_id: int | None = None
    data: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NewReport:
    """Something for people that is to be written into a bundle: Markdown (`md`), or a picture (`svg`).

    Attributes:
        kind: what the export's gate found, or what a threshold is founded on.
    """

    suffix: Literal["md", "svg"]
    kind: Literal["gate", "calibration"] = "gate"
    data: bytes = dataclasses.field(repr=False)

    @property
    def path(self) -> str:
        """The file's name in the bundle, by which reports may refer to each other."""
        return f"{self.kind}.{hashlib.sha256(self.data).hexdigest()[:8]}.{self.suffix}"


def write_bundle(
    out: str | os.PathLike[str],
    manifest: Manifest,
    networks: Iterable[NewNetwork],
    *,
    engines: Iterable[NewEngine] = (),
    tokenizer: NewTokenizer | None = None,
    reports: Iterable[NewReport] = (),
) -> Bundle:
    """Write a bundle into the folder `out`, which is afterwards the new bundle, or after any failure what it was.

    Args:
        out: a new or empty folder (made with its parents), or a bundle, which is replaced.
        manifest: everything but `files`, `engines`, `tokenizer` and `reports`, which are filled in here.
        networks: consumed one at a time, so a generator keeps only one network in memory. A role that is the same in
            two precisions is one file.
        engines: TensorRT plans of some of the networks; consumed one at a time, after them.
        tokenizer: needed iff there is a text network.
        reports: for people.

    Raises:
        OutputError: if `out` holds something else, or cannot be written.
        BundleIntegrityError: if a network keeps weights in another file.
        BundleError: if what is given makes no bundle.
    """
    folder = Path(out)
    refuse_foreign(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made: {error.strerror or error}") from error
        files: list[NetworkFile] = []
        for network in networks:
            files.append(_write_network(folder, network, files))
        plans = tuple(_write_engine(folder, engine) for engine in engines)
        vocabulary = None if tokenizer is None else _write_tokenizer(folder, tokenizer)
        written = tuple(write_report(folder, report) for report in reports)
        complete = dataclasses.replace(
            manifest, files=tuple(files), engines=plans, tokenizer=vocabulary, reports=written
        )
        return write_manifest(folder, sealed(complete))
    finally:
        sweep(folder)
        for path in made:
            with contextlib.suppress(OSError):  # fails, as it should, where something was written
                path.rmdir()


def write_manifest(out: str | os.PathLike[str], manifest: Manifest) -> Bundle:
    """Replace the manifest of the bundle in `out` in one step, e.g. to add a threshold. Its files stay as they are.

    Raises:
        BundleError: if the manifest makes no bundle with the files that are there. The old one is kept then.
        OutputError: if it cannot be written.
    """
    folder = Path(out)
    if not manifest.precisions:
        raise BundleError(f"{folder}: a bundle needs the networks {' and '.join(REQUIRED_ROLES)} in one precision")
    if any(file.role == "text" for file in manifest.files) != (manifest.tokenizer is not None):
        raise BundleError(f"{folder}: a text network and a tokenizer need each other")
    try:
        data = json.dumps(manifest.to_json(), indent=2, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise BundleError(f"{folder}: the manifest holds a value that JSON cannot: {error}") from error
    read_back = Manifest.from_json(json.loads(data))
    for entry in read_back.entries:
        _locate(folder, entry)
    write_bytes(folder / MANIFEST_NAME, data + b"\n")
    return Bundle(folder, read_back)


def refuse_foreign(folder: Path) -> None:
    """Check that nothing but a bundle, or leftovers of writing one, is in `folder`. Raises `OutputError`."""
    try:
        names = list(_names_in(folder)) if folder.exists() else []
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written to as a folder: {error.strerror or error}") from error
    if all(_is_ours(name) for name in names):
        return
    try:
        document = json.loads((folder / MANIFEST_NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        document = None
    if not (isinstance(document, dict) and str(document.get("schema", "")).startswith(f"{SCHEMA}/")):
        raise OutputError(f"{folder}: exists and is not a bundle; choose a new or empty folder")


def _names_in(folder: Path) -> Iterator[str]:
    """What is in `folder`, and in its folder of engines, by path relative to it."""
    for path in folder.iterdir():
        if path.name == ENGINE_FOLDER and path.is_dir() and not path.is_symlink():
            yield from (f"{ENGINE_FOLDER}/{inner.name}" for inner in path.iterdir())
        else:
            yield path.name


def _is_ours(name: str) -> bool:
    """Whether `write_bundle` makes files of this name, apart from the manifest."""
    above, slash, last = name.rpartition("/")
    target = re.fullmatch(r"\.(.+)\.[^.]+\.tmp", last)
    final = above + slash + (target[1] if target else last)
    return bool(OWN_FILE.fullmatch(final) or (target and final == MANIFEST_NAME))


def _write_network(folder: Path, network: NewNetwork, written: Sequence[NetworkFile]) -> NetworkFile:
    digest = hashlib.sha256(network.data).hexdigest()
    own_name = f"{network.role}.{network.precision}.{digest[:8]}.onnx"
    name = next((file.path for file in written if (file.role, file.sha256) == (network.role, digest)), own_name)
    entry = NetworkFile(
        role=network.role,
        precision=network.precision,
        path=name,
        bytes=len(network.data),
        sha256=digest,
        opset=network.opset,
        inputs=network.inputs,
        outputs=network.outputs,
    )
    refuse_external_data(network.data, name=name)
    write_once(folder / name, network.data, digest)
    return entry


def _write_engine(folder: Path, engine: NewEngine) -> EngineFile:
    entry = engine.as_file()
    above = folder / ENGINE_FOLDER
    if above.is_symlink():
        raise OutputError(f"{above}: is a link; remove it")
    try:
        above.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{above}: cannot be made: {error.strerror or error}") from error
    write_once(folder / entry.path, engine.data, entry.sha256)
    return entry


def _write_tokenizer(folder: Path, tokenizer: NewTokenizer) -> TokenizerFile:
    digest = hashlib.sha256(tokenizer.data).hexdigest()
    name = f"tokenizer.{digest[:8]}.json"
    write_once(folder / name, tokenizer.data, digest)
    return TokenizerFile(
        path=name,
        bytes=len(tokenizer.data),
        sha256=digest,
        context_length=tokenizer.context_length,
        cleaning=tokenizer.cleaning,
        zeroed_id=tokenizer.zeroed_id,
    )


def write_report(folder: Path, report: NewReport) -> ReportFile:
    """Write a report into a bundle's folder, whose manifest does not list it yet. Raises `OutputError`."""
    digest = hashlib.sha256(report.data).hexdigest()
    write_once(folder / report.path, report.data, digest)
    return ReportFile(path=report.path, bytes=len(report.data), sha256=digest)


def write_once(path: Path, data: bytes, digest: str) -> None:
    """Write `data` unless a file with this SHA-256 is there already, as after an export that changed some networks.

    Raises:
        OutputError: if it cannot be written.
    """
    if path.is_file() and not path.is_symlink() and sha256_of(path) == digest:
        return
    write_bytes(path, data)


def sweep(folder: Path) -> None:
    """Remove what is ours in `folder` and not in its manifest: of earlier bundles, or of one that was not finished."""
    with contextlib.suppress(OSError):  # leftovers do no harm, and the next export tries again
        manifest = folder / MANIFEST_NAME
        listed = manifest.read_text(encoding="utf-8") if manifest.exists() else ""
        for name in list(_names_in(folder)):
            if _is_ours(name) and name not in listed and (folder / name).is_file():
                (folder / name).unlink()
        (folder / ENGINE_FOLDER).rmdir()  # fails, as it should, where there is none, or one that holds something
