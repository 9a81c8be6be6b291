"""The seal of a bundle's manifest: by it an export knows the bundle that it wrote from one that was edited since."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from .bundle_format import Manifest

__all__ = ["digest_of", "seal_holds", "sealed"]

_RECORD: Final = "made_from"
_SEAL: Final = "manifest"


def digest_of(value: Any) -> str:
    """Hex SHA-256 of a value as JSON; the order of keys does not count, and what JSON cannot hold counts as text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()


def sealed(manifest: Manifest) -> Manifest:
    """The same with a digest of all that it says; as it is if it does not say what the bundle was made from."""
    if not manifest.made_from:
        return manifest
    seal = _digest(manifest.to_json())
    return dataclasses.replace(manifest, made_from={**manifest.made_from, _SEAL: seal})


def seal_holds(document: Mapping[str, Any]) -> bool:
    """Whether `manifest.json`, as read, is sealed and says what it said then."""
    record = document.get(_RECORD)
    return isinstance(record, dict) and record.get(_SEAL) == _digest(document)


def _digest(document: Mapping[str, Any]) -> str:
    record = {key: value for key, value in document[_RECORD].items() if key != _SEAL}
    return digest_of({**document, _RECORD: record})
