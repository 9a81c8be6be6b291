"""Whether an export would only make again what is there, decided before anything heavy is loaded.

A bundle keeps a digest of each thing that it was made from (see `inputs`) and a seal of its manifest. It is kept as it
is if all of them are the same now and every file is whole; its networks in fp32, if those that they depend on are.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..runtime.bundle import MANIFEST_NAME, Bundle, NewNetwork, sweep
from ..runtime.errors import BundleError, BundleNotFoundError
from ..runtime.seal import seal_holds
from .inputs import Inputs, Request, inputs_of

__all__ = ["Earlier", "look"]

_INPUTS: Final = "inputs"
_NETWORKS: Final = "networks"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Earlier:
    """What an export finds where its bundle is to go.

    Attributes:
        request: what it is asked for.
        inputs: what it depends on.
        bundle: what is there, if the export would only make it again.
        networks: in fp32, by role, of what is there, if the export would only make them again; else none.
        reason: why the bundle that is there is not kept, for people; empty if it is, or there is none.
    """

    request: Request
    inputs: Inputs
    bundle: Bundle | None = None
    networks: Mapping[str, NewNetwork] = dataclasses.field(default_factory=dict)
    reason: str = ""

    def made_from(self) -> dict[str, Any]:
        """What the new bundle says of what it was made from: nothing if that is not known or has changed meanwhile."""
        if not self.inputs.digests or inputs_of(self.request) != self.inputs:
            return {}
        return {_INPUTS: dict(self.inputs.digests), _NETWORKS: self.inputs.networks}


def look(out: Path, request: Request, *, force: bool = False) -> Earlier:
    """See what of the bundle in `out` can be kept. If it is, leftovers of exports that were killed are removed.

    Args:
        out: where the bundle is to go.
        request: what the export is asked for.
        force: keep nothing.
    """
    earlier = Earlier(request=request, inputs=inputs_of(request))
    try:
        bundle = Bundle.open(out)
        document = json.loads((out / MANIFEST_NAME).read_bytes())
    except BundleNotFoundError:
        return earlier
    except (BundleError, OSError, ValueError) as error:
        return dataclasses.replace(earlier, reason=f"what is there cannot be used: {error}")
    was = bundle.manifest.made_from
    reason = _reason(was, earlier.inputs, edited=not seal_holds(document), force=force)
    if reason:
        return dataclasses.replace(earlier, reason=reason)
    changed = _changed(was, earlier.inputs)
    if not changed:
        sweep(out)
        return dataclasses.replace(earlier, bundle=bundle)
    networks = _fp32(bundle) if was.get(_NETWORKS) == earlier.inputs.networks else {}
    return dataclasses.replace(earlier, networks=networks, reason=f"changed: {', '.join(changed)}")


def _reason(was: Mapping[str, Any], inputs: Inputs, *, edited: bool, force: bool) -> str:
    """Why nothing of a bundle can be kept; empty if that is for the digests to say."""
    if force:
        return "as it was asked for"
    if not was:
        return "what is there does not say what it was made from"
    if edited:
        return f"its {MANIFEST_NAME} was edited"
    return f"whether anything has changed cannot be known: {inputs.unknown}" if inputs.unknown else ""


def _changed(was: Mapping[str, Any], inputs: Inputs) -> list[str]:
    before = was.get(_INPUTS)
    digests = before if isinstance(before, dict) else {}
    return [what for what, digest in inputs.digests.items() if digests.get(what) != digest]


def _fp32(bundle: Bundle) -> dict[str, NewNetwork]:
    return {
        file.role: NewNetwork.of(file, bundle.read(file)) for file in bundle.manifest.files if file.precision == "fp32"
    }
