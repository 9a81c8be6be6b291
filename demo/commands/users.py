"""Who may open the page: a file of names and passwords."""

from __future__ import annotations

from pathlib import Path

from ...runtime.errors import DataError

__all__ = ["read_users"]


def read_users(path: str) -> tuple[tuple[str, str], ...]:
    """Names and passwords: one `name:password` a line; blank lines and lines that begin with `#` do not count.

    Raises:
        DataError: if it cannot be read as such. Its text quotes no password.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "is not a text file in UTF-8"
        raise DataError(f"{path}: the users cannot be read: {why}; check the file") from error
    users: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, password = line.strip().partition(":")
        if not (name and colon and password):
            raise DataError(f"{path}, line {number}: is not of the form name:password")
        if name in users:
            raise DataError(f"{path}, line {number}: {name!r} is there twice; give each user one line")
        users[name] = password
    if not users:
        raise DataError(f"{path}: holds no user; write one name:password a line")
    return tuple(users.items())
