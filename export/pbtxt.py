"""Protobuf's text format, as far as Triton's configurations need it: written, never read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, Union

__all__ = ["Enum", "Message", "Value", "text_format"]

_INDENT = "  "


class Enum(str):
    """The name of an enum's value, which stands without quotes."""

    __slots__ = ()


Scalar: TypeAlias = str | int | bool
Message: TypeAlias = Mapping[str, "Value"]
Value: TypeAlias = Union[Scalar, Message, Sequence[int], Sequence[Message]]  # noqa: UP007 - `|` cannot name Message yet


def text_format(message: Message) -> str:
    """A message as text, its fields in the order of the mapping; the same message gives the same bytes.

    Args:
        message: fields by name: a string, an int, a bool, an `Enum`, a message, or a list of ints or of messages.

    Returns:
        ASCII, with a newline at the end of every line.
    """
    return "".join(f"{line}\n" for line in _lines(message))


def _lines(message: Message) -> Iterator[str]:
    for name, value in message.items():
        if isinstance(value, Mapping):
            yield from _block(name, value)
        elif isinstance(value, (str, int)):
            yield f"{name}: {_scalar(value)}"
        else:
            yield from (line for entry in value if isinstance(entry, Mapping) for line in _block(name, entry))
            if numbers := [str(entry) for entry in value if isinstance(entry, int)]:
                yield f"{name}: [ {', '.join(numbers)} ]"


def _block(name: str, message: Message) -> Iterator[str]:
    inner = [f"{_INDENT}{line}" for line in _lines(message)]
    yield from (f"{name} {{", *inner, "}") if inner else (f"{name} {{ }}",)


def _scalar(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Enum)):
        return str(value)
    return f'"{"".join(map(_escaped, value.encode()))}"'


def _escaped(byte: int) -> str:
    """Octal for what is not printable ASCII: the one escape that every reader of the format knows."""
    char = chr(byte)
    if char in '"\\':
        return f"\\{char}"
    return char if " " <= char <= "~" else f"\\{byte:03o}"
