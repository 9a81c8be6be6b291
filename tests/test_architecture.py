"""The rules of the layout: which part may import which, what really gets loaded, what is public, how large code is.

    runtime  <-  train  <-  export          runtime  <-  demo

Benchmarks, examples, docs and tests may import all of them, by the name `weaksvr`.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PARTS = {
    "runtime": {"runtime"},
    "train": {"train", "runtime"},
    "export": {"export", "train", "runtime"},
    "demo": {"demo", "runtime"},
}
RUNTIME_LIBRARIES = {
    "av",
    "click",
    "ftfy",
    "lancedb",
    "numpy",
    "onnxruntime",
    "pyarrow",
    "rich",
    "tensorrt_libs",
    "tokenizers",
}
BANNED_LIBRARIES = {
    "train": {"gradio", "onnx", "onnxscript", "tensorrt"},
    "export": {"gradio"},
    "demo": {"onnx", "open_clip", "torch"},
}
OUTSIDE = ("benchmarks", "docs", "examples", "tests")  # folders that are not installed
NOT_SOURCE = {"build", "dist", "runs", "__pycache__"}
DYNAMIC_IMPORTS = ("import_module", "__import__")
MAX_MODULE_LINES, MAX_FUNCTION_LINES = 450, 70
COMMANDS = PROJECT["project"]["scripts"]


def files_of(*suffixes: str, below: Path = ROOT) -> Iterator[Path]:
    """The repository's own files with one of the suffixes."""
    for path in sorted(below.iterdir()):
        if path.is_symlink() or path.name in NOT_SOURCE or path.suffix == ".egg-info":
            continue
        if path.is_dir() and (not path.name.startswith(".") or path.name == ".ci"):
            yield from files_of(*suffixes, below=path)
        elif path.is_file() and path.suffix in suffixes:
            yield path


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


MODULES = {name_of(path): ast.parse(path.read_text(), str(path)) for path in files_of(".py")}
PACKAGED = {name: tree for name, tree in MODULES.items() if name.partition("/")[0] in PARTS or name == "__init__.py"}
Import = tuple[int, str, bool]


def imports_of(module: str, tree: ast.Module) -> Iterator[Import]:
    """Line, dotted name and whether relative, of all imports, those in functions and by constant name among them.

    Relative ones are given by their path below the package: `runtime.errors`; what is the package's own, by its name.
    """
    package = module.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, node.module or "", False
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] + (node.module.split(".") if node.module else [])
            yield from ((node.lineno, ".".join([*base, alias.name]), True) for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in DYNAMIC_IMPORTS:
            target = node.args[0]
            if isinstance(target, ast.Constant) and not str(target.value).startswith("."):
                yield node.lineno, str(target.value), False


def top_of(name: str) -> str:
    return name.partition(".")[0]


def part_of(module: str) -> str:
    return module.partition("/")[0]


def breaches(modules: dict[str, ast.Module], is_wrong: Callable[[str, str, bool], bool]) -> list[str]:
    """The imports for which `is_wrong(module, name, relative)` holds."""
    found = ((module, item) for module, tree in modules.items() for item in imports_of(module, tree))
    return [f"{module}:{line}: {name}" for module, (line, name, rel) in found if is_wrong(module, name, rel)]


def reaches_up(module: str, name: str, relative: bool) -> bool:
    return relative and top_of(name) in PARTS and top_of(name) not in PARTS.get(part_of(module), set())


def names_itself(module: str, name: str, relative: bool) -> bool:
    return not relative and top_of(name) in {"weaksvr", *OUTSIDE}


def is_bare(module: str, name: str, relative: bool) -> bool:
    return not relative and top_of(name) in PARTS


def is_foreign(module: str, name: str, relative: bool) -> bool:
    library, part = top_of(name), part_of(module)
    if relative or library in sys.stdlib_module_names:
        return False
    return (part == "runtime" and library not in RUNTIME_LIBRARIES) or library in BANNED_LIBRARIES.get(part, set())


def test_parts_import_only_what_is_below_them():
    assert breaches(PACKAGED, reaches_up) == []


def test_imports_inside_the_package_are_relative():
    assert breaches(PACKAGED, names_itself) == []


def test_no_bare_import_of_a_part():
    assert breaches(MODULES, is_bare) == []


def test_parts_use_only_libraries_that_are_theirs():
    assert breaches(PACKAGED, is_foreign) == []


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("from ..train import model", reaches_up),
        ("from .. import train", reaches_up),
        ("def f():\n    from ..export.gate import check", reaches_up),
        ("import weaksvr.runtime", names_itself),
        ("from tests import conftest", names_itself),
        ("import runtime.spec", is_bare),
        ("from train import config", is_bare),
        ("import torch", is_foreign),
        ("import_module('torch')", is_foreign),
        ("from onnx.helper import make_node", is_foreign),
    ],
)
def test_the_rules_see_a_breach(line, rule):
    assert breaches({"runtime/breach.py": ast.parse(line)}, rule)


def loaded_by(code: str) -> set[str]:
    """Top-level modules outside the standard library that `code` loads in a fresh interpreter."""
    script = (
        "import contextlib, io, json, sys\n"
        "before = set(sys.modules)\n"
        f"with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n    {code}\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True, cwd=ROOT.parent
    )
    return {top_of(name) for name in json.loads(done.stdout)} - sys.stdlib_module_names


def test_importing_the_runtime_loads_no_library():
    assert loaded_by("import weaksvr.runtime") == {"weaksvr"}


def test_loading_a_model_class_loads_neither_torch_nor_decoder_nor_inference():
    loaded = loaded_by("from weaksvr.runtime import load")
    assert loaded <= {"weaksvr", "numpy"}


@pytest.mark.parametrize("command", sorted(COMMANDS))
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_no_heavy_library(command, option):
    module = COMMANDS[command].partition(":")[0]
    code = f"sys.argv = [{command!r}, {option!r}]; import runpy; runpy.run_module({module!r}, run_name='__main__')"
    assert loaded_by(code) <= {"click", "weaksvr"}


def test_packages_are_the_folders_with_an_init_file():
    folders = {Path(name).parent for name in MODULES if Path(name).name == "__init__.py"}
    dotted = {".".join(("weaksvr", *folder.parts)) for folder in folders if not set(folder.parts[:1]) & set(OUTSIDE)}
    assert dotted == set(PROJECT["tool"]["setuptools"]["packages"])


def test_every_part_is_marked_as_typed():
    parts = {top_of(name.removeprefix("weaksvr.")) for name in PROJECT["tool"]["setuptools"]["packages"]} - {"weaksvr"}
    assert {part for part in parts if not (ROOT / part / "py.typed").is_file()} == set()
    assert {
        part for part in parts if "py.typed" not in PROJECT["tool"]["setuptools"]["package-data"][f"weaksvr.{part}"]
    } == set()


def top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run at import, those under an `if` or `try` among them."""
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try)):
            yield from top_level([*node.body, *node.orelse])


def names_in(tree: ast.Module) -> tuple[list[str] | None, set[str], set[str]]:
    """`__all__` (None without one), all names bound at the top level, and the functions and classes among them."""
    listed: list[str] | None = None
    bound: set[str] = set()
    defined: set[str] = set()
    for node in top_level(tree.body):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            bound |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
            if "__all__" in {getattr(target, "id", "") for target in targets} and node.value is not None:
                listed = ast.literal_eval(node.value)
    return listed, bound | defined, defined


def order_of(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, each by name: the order that ruff keeps imports and `__all__` in."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def unlisted(module: str) -> Iterator[str]:
    """What is wrong with the module's `__all__`."""
    listed, bound, defined = names_in(MODULES[module])
    public = {name for name in defined if not name.startswith("_")}
    if listed is None and public:
        yield f"{module}: has no __all__"
    listed = listed or []
    if listed != sorted(listed, key=order_of):
        yield f"{module}: __all__ is not sorted"
    yield from (f"{module}: {name} is in __all__, but not there" for name in sorted(set(listed) - bound))
    yield from (f"{module}: {name} is public, but not in __all__" for name in sorted(public - set(listed)))


def test_public_names_are_those_that_are_listed():
    problems = [problem for module in PACKAGED for problem in unlisted(module)]
    assert not problems, "\n".join(problems)


def test_modules_are_short():
    lengths = {name: len((ROOT / name).read_text().splitlines()) for name in MODULES if part_of(name) != "tests"}
    assert {name: length for name, length in lengths.items() if length > MAX_MODULE_LINES} == {}


def length_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from its name to its end, the docstring left out."""
    end = function.end_lineno or function.lineno
    first = function.body[0]
    has_docstring = ast.get_docstring(function, clean=False) is not None
    return end - function.lineno + 1 - ((first.end_lineno or 0) - first.lineno + 1 if has_docstring else 0)


def test_functions_are_short():
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [(name, node) for name, tree in MODULES.items() for node in ast.walk(tree) if isinstance(node, kinds)]
    lengths = {f"{name}:{node.lineno}: {node.name}": length_of(node) for name, node in functions}
    assert {place: length for place, length in lengths.items() if length > MAX_FUNCTION_LINES} == {}


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param(r"(?<![\w.])/(?:work|root|home|Users)/\w", id="path of a machine"),
        pytest.param(r"(?i)\bissue\s+#?\d", id="number of an issue"),
        pytest.param(r"\b(?:TODO|FIXME|XXX)\b", id="work left over"),
    ],
)
def test_no_file_speaks_of(pattern):
    text_files = itertools.chain(files_of(".py", ".md", ".toml", ".json", ".jsonl", ".txt", ".csv", ".sh", ".yml"))
    others = [ROOT / name for name in ("Makefile", ".ci/run", ".gitignore")]
    wrong = [
        f"{name_of(path)}:{number}: {line.strip()[:120]}"
        for path in (*text_files, *others)
        if path != Path(__file__).resolve()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert not wrong, "\n".join(wrong)
