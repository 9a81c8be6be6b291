"""A look into an ONNX file, without the onnx package, for weights that live outside of it.

A network in a bundle is one file, and its hash vouches for all of it. ONNX lets a tensor point to another file, and
inference engines follow such pointers (through hard links, or relative to the working directory when the network is
given as bytes), so a network that holds one is refused before any engine sees it. ONNX Runtime also knows a node that
stands for what a provider compiled, kept in any file that the node names; networks with such a node are refused, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from .errors import BundleIntegrityError

__all__ = ["refuse_external_data"]

Field = tuple[int, int, memoryview]  # number, value if it is a number, content if it has a length

# Where tensors can hide: message type -> field number -> type of the message in that field (onnx.proto).
NESTED: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "model": {7: "graph", 20: "training", 25: "function"},
        "training": {1: "graph", 2: "graph"},
        "function": {7: "node", 11: "attribute"},
        "graph": {1: "node", 5: "tensor", 15: "sparse"},
        "node": {5: "attribute"},
        "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
        "sparse": {1: "tensor", 2: "tensor"},
        "tensor": {},
    }
)
GRAPH_OF_MODEL = 7
EXTERNAL_DATA = 13
DATA_LOCATION = 14
OP_TYPE = 4
COMPILED = b"EPContext"
MAX_DEPTH = 64


def refuse_external_data(data: bytes, *, name: str) -> None:
    """Check that `data` is an ONNX file that holds all of its weights.

    Args:
        data: content of the file.
        name: what to call it in the error.

    Raises:
        BundleIntegrityError: if a tensor points outside the file, or if it cannot be read as an ONNX file.
    """
    try:
        _check(memoryview(data), "model", 0)
        if not any(number == GRAPH_OF_MODEL for number, _, _ in _fields(memoryview(data))):
            raise ValueError("it holds no graph")
    except _ExternalDataError as error:
        raise BundleIntegrityError(
            f"{name}: keeps weights in another file, which is not safe to load; export it as a single file"
        ) from error
    except (ValueError, IndexError) as error:
        raise BundleIntegrityError(f"{name}: is not a readable ONNX file ({error})") from error


class _ExternalDataError(Exception):
    """A tensor points to another file."""


def _check(message: memoryview, kind: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError("graphs are nested too deep")
    nested = NESTED[kind]
    for number, value, content in _fields(message):
        if kind == "tensor" and (number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0)):
            raise _ExternalDataError
        if kind == "node" and number == OP_TYPE and content == COMPILED:
            raise _ExternalDataError
        inner = nested.get(number)
        if inner is not None:
            _check(content, inner, depth + 1)


def _fields(message: memoryview) -> Iterator[Field]:
    """The fields of one protobuf message, as (number, integer value, bytes)."""
    position, empty = 0, memoryview(b"")
    while position < len(message):
        tag, position = _varint(message, position)
        wire = tag & 7
        value, size = 0, 0
        if wire == 0:
            value, position = _varint(message, position)
        elif wire == 2:
            size, position = _varint(message, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {position}")
        if size > len(message) - position:
            raise ValueError(f"cut off at byte {len(message)}")
        yield tag >> 3, value, message[position : position + size] if wire == 2 else empty
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError(f"overlong number at byte {position}")
