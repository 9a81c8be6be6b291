"""What is installed, read from the metadata of packages and the files on disk; nothing is imported.

Which packages belong to which part is read from this package's own metadata, so that it is written down once.
"""

from __future__ import annotations

import csv
import dataclasses
import importlib.metadata
import importlib.util
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path
from types import MappingProxyType
from typing import Final

from .findings import Finding, problem

__all__ = [
    "GPU_WHEEL",
    "ONNXRUNTIMES",
    "OWN_NAME",
    "Requirement",
    "check_extra",
    "check_onnxruntime",
    "check_runtime",
    "check_torchvision",
    "installed",
    "is_installed",
    "missing_files",
    "reinstall",
    "requirements",
]

OWN_NAME: Final = "weaksvr"
GPU_WHEEL: Final = "onnxruntime-gpu"
ONNXRUNTIMES: Final = ("onnxruntime", GPU_WHEEL, "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-training")
"""Packages that bring the module `onnxruntime`, and so exclude one another."""

NATIVE = re.compile(r"\.(so(\.\d+)*|pyd|dll|dylib)$")
REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(\[[^\]]*\])?\s*\(?([^;()]*)\)?\s*(?:;(.*))?")
OF_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")
TORCH_LIBRARY = re.compile(rb"\0(lib(?:torch|c10)\w*\.so)(?=\0)")
CLAUSE = re.compile(r"(>=|<=|==|!=|>|<)\s*([\d.]+)$")
OPERATORS: Final[Mapping[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]]] = MappingProxyType(
    {">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt}
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Requirement:
    """A package that another one needs.

    Attributes:
        name: of the package.
        bounds: on its version, e.g. `<19,>=18.1`; empty if any will do.
        extra: the part that needs it; empty if all do.
    """

    name: str
    bounds: str
    extra: str

    @property
    def for_pip(self) -> str:
        """As an argument on a command line."""
        return f"'{self.name}{self.bounds}'" if self.bounds else self.name

    def admits(self, version: str) -> bool:
        """Whether `version` is within the bounds; suffixes (rc1, +cpu) and bounds of other forms do not count."""
        clauses = (CLAUSE.match(clause.strip()) for clause in self.bounds.split(","))
        return all(OPERATORS[clause[1]](_release(version), _release(clause[2])) for clause in clauses if clause)


def requirements(package: str = OWN_NAME) -> tuple[Requirement, ...]:
    """What the installed `package` says it needs, in its order; those on parts of its own are left out."""
    distribution = installed(package)
    found = []
    for line in (distribution.requires or []) if distribution else []:
        match = REQUIREMENT.match(line)
        if match and match[1] != package:
            extra = OF_EXTRA.search(match[4] or "")
            bounds = match[3].replace(" ", "")
            found.append(Requirement(name=match[1], bounds=bounds, extra=extra[1] if extra else ""))
    return tuple(found)


def installed(package: str) -> Distribution | None:
    """The installed distribution of that name; None if there is none, or only what an interrupted removal left."""
    try:
        found = importlib.metadata.distribution(package)
    except PackageNotFoundError:
        return None
    return found if {"Name", "Version"} <= {*found.metadata} else None


def is_installed(extra: str) -> bool:
    """Whether all packages of a part are there."""
    needed = _of(extra)
    return bool(needed) and all(installed(item.name) for item in needed)


def missing_files(distribution: Distribution) -> tuple[str, ...]:
    """Native libraries that belong to a wheel and are not on disk, by file name.

    The wheel's own list is read: `Distribution.files` leaves out, in some versions of Python, what is not there.
    """
    listed = csv.reader((distribution.read_text("RECORD") or "").splitlines())
    names = [row[0] for row in listed if row and NATIVE.search(row[0])]
    return tuple(Path(name).name for name in names if not Path(str(distribution.locate_file(name))).is_file())


def reinstall(distribution: Distribution) -> str:
    """The command that brings the published wheel's files back."""
    return f"pip install --force-reinstall --no-deps --only-binary :all: {_named(distribution, '==')}"


def check_runtime() -> tuple[Finding, ...]:
    """The packages that every command needs: one finding for each that is wrong, or one if none is."""
    needed = _of("")
    found = tuple(finding for item in needed if (finding := _check(item)) is not None)
    return found or (Finding(topic="installed", name="runtime", what=_listed(needed)),)


def check_extra(extra: str) -> tuple[Finding, ...]:
    """The packages of an optional part: one finding for each that is wrong, or one that says what is there."""
    needed = _of(extra)
    missing = [item.name for item in needed if installed(item.name) is None]
    if len(missing) == len(needed):
        return (Finding(topic="installed", name=extra, what="not installed"),)
    if missing:
        return (Finding(topic="installed", name=extra, what=f"not installed (without {', '.join(missing)})"),)
    found = tuple(finding for item in needed if (finding := _check(item)) is not None)
    return found or (Finding(topic="installed", name=extra, what=_listed(needed)),)


def check_onnxruntime(*, wants_gpu: bool) -> Finding:
    """The one wheel of ONNX Runtime that must be there.

    Args:
        wants_gpu: whether to recommend the wheel for GPUs where the choice is open.
    """
    name, choice = "onnxruntime", f"pip install '{OWN_NAME}[{'gpu' if wants_gpu else 'cpu'}]'"
    wheels = [wheel for wheel in map(installed, ONNXRUNTIMES) if wheel is not None]
    listed = " and ".join(_named(wheel) for wheel in wheels)
    if len(wheels) > 1:
        return problem(
            "installed",
            name,
            f"{listed} are installed together",
            why="they bring the same module and overwrite each other's files, which breaks both",
            remedy=f"pip uninstall -y {' '.join(wheel.name for wheel in wheels)} && {choice}",
        )
    if not wheels and importlib.util.find_spec("onnxruntime") is not None:
        return Finding(topic="installed", name=name, what="a module that no installed package owns")
    if not wheels:
        why = "the wheels for CPU and GPU exclude each other, so neither comes by itself"
        return problem("installed", name, "ONNX Runtime is not installed", why=why, remedy=choice)
    wrong = _check(next(item for item in (*requirements(), _any(wheels[0])) if item.name == wheels[0].name))
    kind = "for GPU and CPU" if wheels[0].name == GPU_WHEEL else "for the CPU"
    return wrong or Finding(topic="installed", name=name, what=f"{listed}, {kind}")


def check_torchvision() -> Finding | None:
    """Whether torchvision's library finds the libraries of the installed torch; None if they are not both there.

    torchvision from PyPI is made for torch with CUDA. Beside a torch for the CPU it cannot be loaded, and what is said
    then (`operator torchvision::nms does not exist`) names neither.
    """
    torch, torchvision = installed("torch"), installed("torchvision")
    if torch is None or torchvision is None:
        return None
    libraries = Path(str(torch.locate_file("torch/lib")))
    wanted = {
        match[1].decode()
        for path in sorted(Path(str(torchvision.locate_file("torchvision"))).glob("_C*.so"))
        for match in TORCH_LIBRARY.finditer(path.read_bytes())
    }
    missing = sorted(library for library in wanted if not (libraries / library).exists())
    if not missing:
        return Finding(topic="installed", name="torchvision", what="finds the libraries of torch")
    public = torchvision.version.partition("+")[0]
    return problem(
        "installed",
        "torchvision",
        f"{_named(torchvision)} cannot be loaded beside {_named(torch)}",
        why=f"it is made for another build of torch: {', '.join(missing)} {_is_are(missing)} not there; "
        "training and export would fail",
        remedy=f"pip install --force-reinstall --no-deps torchvision=={public} "
        "--index-url https://download.pytorch.org/whl/cpu",
    )


def _check(needed: Requirement) -> Finding | None:
    """What is wrong with a package that must be there."""
    wheel = installed(needed.name)
    if wheel is None:
        what, remedy = f"{needed.name} is not installed", f"pip install {needed.for_pip}"
        return problem("installed", needed.name, what, why=f"{OWN_NAME} cannot do without it", remedy=remedy)
    missing = missing_files(wheel)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        why = f"of its files, these are not on disk: {missing[0]}{more}"
        return problem("installed", needed.name, f"{_named(wheel)} is damaged", why=why, remedy=reinstall(wheel))
    if not needed.admits(wheel.version):
        why = f"this version of {OWN_NAME} needs {needed.name}{needed.bounds}"
        remedy = f"pip install {needed.for_pip}"
        return problem("installed", needed.name, f"{_named(wheel)} is installed", why=why, remedy=remedy)
    return None


def _of(extra: str) -> tuple[Requirement, ...]:
    return tuple(item for item in requirements() if item.extra == extra)


def _any(wheel: Distribution) -> Requirement:
    return Requirement(name=wheel.name, bounds="", extra="")


def _listed(needed: Iterable[Requirement]) -> str:
    return ", ".join(_names(needed))


def _names(needed: Iterable[Requirement]) -> Iterator[str]:
    for item in needed:
        wheel = installed(item.name)
        if wheel is not None:
            yield _named(wheel)


def _named(wheel: Distribution, between: str = " ") -> str:
    return f"{wheel.name}{between}{wheel.version}"


def _release(version: str) -> tuple[int, ...]:
    """The numbers that a version starts with, without the zeros at their end: 18.1.0+cpu is (18, 1)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in re.sub(r"(\.0)+$", "", match[0]).split(".")) if match else ()


def _is_are(items: list[str]) -> str:
    return "is" if len(items) == 1 else "are"
