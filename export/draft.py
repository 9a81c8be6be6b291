"""A bundle that is only tried yet: its files are in memory."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..runtime.bundle import Bundle, NewEngine, NewNetwork
from ..runtime.bundle_format import Entry, Manifest, NetworkFile

__all__ = ["Draft", "make_draft"]


@dataclasses.dataclass(frozen=True, slots=True)
class Draft(Bundle):
    """A bundle of which the manifest and the files' bytes exist, and no folder yet."""

    contents: Mapping[str, bytes] = dataclasses.field(repr=False)

    def read(self, entry: Entry) -> bytes:
        """The content of a listed file."""
        return self.contents[entry.path]


def make_draft(
    manifest: Manifest, networks: Iterable[NewNetwork], *, precision: str, engines: Iterable[NewEngine] = ()
) -> Draft:
    """A draft with these networks, all of them under the name of one precision.

    Args:
        manifest: everything but the files.
        networks: one a role.
        precision: a role may be left in another one, and is run as this one's all the same.
        engines: built from these networks.
    """
    files, contents = [], {}
    for network in networks:
        path = f"{network.role}.onnx"
        files.append(
            NetworkFile(
                role=network.role,
                precision=precision,
                path=path,
                bytes=len(network.data),
                sha256=hashlib.sha256(network.data).hexdigest(),
                opset=network.opset,
                inputs=network.inputs,
                outputs=network.outputs,
            )
        )
        contents[path] = network.data
    plans = {engine.as_file(): engine.data for engine in engines}
    contents |= {entry.path: data for entry, data in plans.items()}
    complete = dataclasses.replace(manifest, files=tuple(files), engines=tuple(plans))
    return Draft(Path(manifest.name), complete, contents)
