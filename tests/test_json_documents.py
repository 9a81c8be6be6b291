"""The documents of docs/json/ have the keys and types of what the commands print."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from weaksvr.runtime.bundle import DEFAULT_BUNDLE

DOCS = Path(__file__).resolve().parents[1] / "docs"
NAMES = sorted(path.stem for path in (DOCS / "json").glob("*.json"))

pytestmark = pytest.mark.skipif(not DEFAULT_BUNDLE.is_dir(), reason="this checkout holds no default bundle")


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_json", DOCS / "make_json.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def printed(maker):
    pytest.importorskip("lancedb")
    pytest.importorskip("pyarrow")
    return {name: maker.shortened(document) for name, document in maker.all_documents().items()}


def shape(value):
    """Keys and types, at all depths; of a list, what kinds of values there are."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(shape(inner)) for inner in value})
    return type(value).__name__


def test_there_is_one_for_every_command(maker):
    assert sorted(maker.DOCUMENTS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_keys_and_types(printed, name):
    shown = json.loads((DOCS / "json" / f"{name}.json").read_text())
    found = printed[name]
    if name == "doctor":  # what it has to say of a machine depends on the machine
        shown["would_run"].pop("notes"), found["would_run"].pop("notes")
    assert shape(found) == shape(shown)
    assert found["schema"] == shown["schema"]


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_and_key_is_explained(name):
    document = json.loads((DOCS / "json" / f"{name}.json").read_text())
    text = (DOCS / "json.md").read_text()
    assert f"`{document['schema']}`" in text
    assert {key for key in document if f"`{key}`" not in text} == set()
