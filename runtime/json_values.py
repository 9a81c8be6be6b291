"""Values out of a JSON document that somebody else may have written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from .errors import BundleError

__all__ = ["get_typed", "malformed_as_bundle_error"]

T = TypeVar("T")


@contextlib.contextmanager
def malformed_as_bundle_error() -> Iterator[None]:
    """Turn what goes wrong while values are taken out of JSON into a `BundleError`."""
    try:
        yield
    except BundleError:
        raise
    except KeyError as error:
        raise BundleError(f"has no key {error}") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BundleError(f"holds a value that cannot be used: {error}") from error


def get_typed(data: Mapping[str, Any], key: str, kind: type[T]) -> T:
    """`data[key]`, which must be of type `kind`; an int does for a float, and a bool for nothing but a bool.

    Raises:
        BundleError: if it is of another type.
        KeyError: if it is not there.
    """
    value = data[key]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise BundleError(f"{key} is {value!r}, but must be of type {kind.__name__}")
    return value
