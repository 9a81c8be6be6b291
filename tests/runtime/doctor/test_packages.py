from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import pytest
import weaksvr
from packaging.requirements import Requirement as Reference
from packaging.version import Version
from weaksvr.runtime.doctor import packages
from weaksvr.runtime.doctor.packages import (
    Requirement,
    check_extra,
    check_onnxruntime,
    check_runtime,
    installed,
    missing_files,
    requirements,
)

PROJECT = tomllib.loads((Path(weaksvr.__file__).parent / "pyproject.toml").read_text())["project"]


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Writes metadata of packages into a folder that is looked at first."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(name: str, version: str = "1.0", *, metadata: str = "", record: str | None = None) -> Path:
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{metadata}")
        if record is not None:
            (folder / "RECORD").write_text(record)
        return tmp_path

    return add


@pytest.mark.parametrize(
    "line",
    [
        "numpy>=2.0",
        "av<19,>=18.1",
        "av (>=18.1,<19)",
        'onnxruntime-gpu[cuda,cudnn]>=1.24; extra == "gpu"',
        "nvidia-cudnn-cu13~=9.0; extra == 'cudnn'",
        "packaging",
        'tool!=1.5 ; python_version < "4" and extra == "x"',
    ],
)
def test_requirements_are_read_as_the_standard_says(site, line):
    site("thing", metadata=f"Requires-Dist: {line}\nRequires-Dist: thing[part]; extra == 'all'\n")
    (found,) = requirements("thing")
    reference = Reference(line)
    assert found.name == reference.name
    assert {*found.bounds.split(",")} - {""} == {str(clause) for clause in reference.specifier}
    assert f'extra == "{found.extra}"' in str(reference.marker) if found.extra else "extra" not in line


@pytest.mark.parametrize(
    "version", ["18.0.1", "18.1", "18.1.0", "18.1.0rc1", "18.10", "19", "19.0.0", "17", "18.2+cpu"]
)
@pytest.mark.parametrize("bounds", ["<19,>=18.1", ">18.1", "==18.1", "!=18.1", "<=18.1", ""])
def test_bounds_admit_what_the_standard_admits(version, bounds):
    release = Version(".".join(map(str, Version(version).release)))  # suffixes do not count here
    expected = release in Reference(f"x{bounds}").specifier
    assert Requirement(name="x", bounds=bounds, extra="").admits(version) is expected


def test_all_of_our_own_bounds_are_understood():
    lines = [*PROJECT["dependencies"], *(line for part in PROJECT["optional-dependencies"].values() for line in part)]
    clauses = [str(clause) for line in lines for clause in Reference(line).specifier]
    assert clauses
    assert [clause for clause in clauses if not packages.CLAUSE.match(clause)] == []


def test_our_own_requirements_are_those_of_the_project():
    found = {(item.name, item.extra) for item in requirements()}
    expected = {(Reference(line).name, "") for line in PROJECT["dependencies"]}
    for extra, lines in PROJECT["optional-dependencies"].items():
        expected |= {(Reference(line).name, extra) for line in lines if Reference(line).name != "weaksvr"}
    assert found == expected


def test_requirements_of_what_is_not_installed():
    assert requirements("no-such-package") == ()


def test_what_an_interrupted_removal_leaves_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "halfgone-1.0.dist-info").mkdir()
    (tmp_path / "halfgone-1.0.dist-info" / "METADATA").touch()
    assert installed("halfgone") is None


def test_missing_files_are_native_libraries_that_are_listed_and_not_there(site):
    record = 'thing/__init__.py,,\nthing/a.so,sha256=x,1\nthing/lib.so.1.2,,\n"thing/b,c.pyd",,\nthing/there.so,,\n'
    folder = site("thing", record=record)
    (folder / "thing").mkdir()
    (folder / "thing" / "there.so").touch()
    wheel = installed("thing")
    assert wheel is not None
    assert missing_files(wheel) == ("a.so", "lib.so.1.2", "b,c.pyd")


def test_a_package_without_a_list_of_files_misses_none(site):
    site("thing")
    wheel = installed("thing")
    assert wheel is not None
    assert missing_files(wheel) == ()


def test_what_is_installed_here_is_whole():
    (finding,) = check_runtime()
    assert finding.state == "ok"
    assert f"numpy {importlib.metadata.version('numpy')}" in finding.what


@pytest.mark.parametrize(("wants_gpu", "extra"), [(True, "gpu"), (False, "cpu")])
def test_the_remedy_for_two_wheels_follows_the_gpu(site, wants_gpu, extra):
    site("onnxruntime", "1.31.1")
    site("onnxruntime-gpu", "1.30")
    finding = check_onnxruntime(wants_gpu=wants_gpu)
    assert finding.state == "problem"
    assert finding.what == "onnxruntime 1.31.1 and onnxruntime-gpu 1.30 are installed together"
    assert finding.remedy == f"pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'weaksvr[{extra}]'"


def test_a_module_without_metadata_is_taken_as_it_is(monkeypatch):
    monkeypatch.setattr(packages, "installed", lambda _: None)
    finding = check_onnxruntime(wants_gpu=False)
    assert (finding.state, finding.what) == ("ok", "a module that no installed package owns")


def test_a_wheel_that_is_too_old(site):
    site("onnxruntime", "1.20.1")
    finding = check_onnxruntime(wants_gpu=False)
    assert (finding.what, finding.remedy) == ("onnxruntime 1.20.1 is installed", "pip install 'onnxruntime>=1.24'")


def test_an_optional_part_that_is_too_old_or_not_whole(site, monkeypatch):
    part = [Requirement(name="halfpart", bounds=">=2", extra="half"), Requirement(name="gone", bounds="", extra="half")]
    monkeypatch.setattr(packages, "requirements", lambda: tuple(part))
    assert [finding.what for finding in check_extra("half")] == ["not installed"]
    site("halfpart", "1.0")
    assert [finding.what for finding in check_extra("half")] == ["not installed (without gone)"]
    part.pop()
    (finding,) = check_extra("half")
    assert (finding.state, finding.remedy) == ("problem", "pip install 'halfpart>=2'")
