"""A stand-in for TensorRT that has the names and the signatures of the real one, and does what a test says.

A name that the recorded version does not have is an AttributeError, a call that does not fit its signatures a
TypeError, a property that cannot be set an AttributeError: as with the real bindings.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

RECORD: Mapping[str, Any] = json.loads((Path(__file__).parent / "tensorrt_api.json").read_text())
VERSIONS = tuple(RECORD)


class Constant:
    """A member of an enumeration."""

    def __init__(self, owner: str, name: str, value: int) -> None:
        self.text, self.value = f"{owner}.{name}", value

    def __int__(self) -> int:
        return self.value

    def __str__(self) -> str:
        return self.text


def replica(version: str, does: Mapping[str, Callable[..., Any]]) -> ModuleType:
    """The module `tensorrt` of a version.

    Args:
        version: one of `VERSIONS`.
        does: what a method does, by `Class.method`; it gets what the method gets. Others do nothing.
    """
    module = ModuleType("tensorrt")
    module.__version__ = version  # type: ignore[attr-defined]
    for name, members in RECORD[version].items():
        setattr(module, name, _class(name, members, does))
    return module


def _class(name: str, members: Mapping[str, Any], does: Mapping[str, Callable[..., Any]]) -> type:
    body: dict[str, Any] = {}
    constants = [member for member, kind in members.items() if kind == "constant"]
    for member, kind in members.items():
        if isinstance(kind, list):
            body[member] = _method(f"{name}.{member}", kind, does.get(f"{name}.{member}"))
        elif kind == "constant":
            body[member] = Constant(name, member, constants.index(member))
        elif kind == "property":
            body[member] = property(functools.partial(_value, name=member), functools.partial(_set, name=member))
        elif kind == "read-only property":
            body[member] = property(functools.partial(_value, name=member))
    body.setdefault("__init__", _refuse_making)
    return type(name, (), body)


def _value(self: Any, name: str) -> Any:
    return vars(self)[name]


def _set(self: Any, value: Any, name: str) -> None:
    vars(self)[name] = value


def _refuse_making(self: Any) -> None:
    raise TypeError(f"{type(self).__name__}: No constructor defined!")


def made(module: ModuleType, name: str, **values: Any) -> Any:
    """An object of a class that cannot be made by calling it, with values of its properties."""
    found = object.__new__(getattr(module, name))
    vars(found).update(values)
    return found


def _method(label: str, signatures: Sequence[str], action: Callable[..., Any] | None) -> Callable[..., Any]:
    known = [_signature(text) for text in signatures]

    def call(*arguments: Any, **named: Any) -> Any:
        fitting = [signature for signature in known if _fits(signature, arguments, named)]
        if not fitting:
            raise TypeError(f"{label}: incompatible function arguments; it has {'; '.join(signatures)}")
        return None if action is None else action(*arguments, **named)

    return call


def _fits(signature: inspect.Signature, arguments: Sequence[Any], named: Mapping[str, Any]) -> bool:
    try:
        signature.bind(*arguments, **named)
    except TypeError:
        return False
    return True


def _signature(text: str) -> inspect.Signature:
    """Of `name(self: Class, a: Type, b: Type = 0) -> Type`."""
    inner = text[text.index("(") + 1 : text.rindex(")")]
    parts = re.split(r",\s*(?![^\[(<]*[\])>])", inner)  # not at commas within brackets
    required = max(row for row, part in enumerate(parts) if "=" not in part)  # what comes before it must be given, too
    kind, none = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    return inspect.Signature(
        [
            inspect.Parameter(part.partition(":")[0].strip(), kind, default=None if row > required else none)
            for row, part in enumerate(parts)
            if part != "/"
        ]
    )
