"""Where every console script starts and ends: one command in, one exit code out, one clear line on trouble.

Exit code 2 stands for any trouble, as with cmp and diff; 0, 1 and 3 are the command's own, returned as an int. Where
a command was asked for JSON, trouble is a document on stdout too.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, NoReturn

import click

from ..errors import WeakSVRError

__all__ = ["ERROR_SCHEMA", "TRACEBACK_VARIABLE", "TROUBLE", "command_line", "one_line", "print_json", "run"]

ERROR_SCHEMA: Final = "weaksvr.error/1"
TROUBLE = 2
OUTPUT_ERRNOS = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TRACEBACK_VARIABLE = "WEAKSVR_TRACEBACK"


def run(command: click.Command) -> NoReturn:
    """Run `command` with the arguments of this process, then exit the process.

    The command's return value is the exit code (None is 0). Whatever goes wrong - bad usage, a `WeakSVRError`, an
    interrupt, a reader that went away, a full disk behind stdout, too little memory, a defect of ours - is one line on
    stderr and exit code 2, never 1. With `--json` stdout has the error document besides, unless it is stdout that
    cannot be written. The environment variable WEAKSVR_TRACEBACK=1 adds the traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # file names need not be text in the terminal's encoding
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_exit_code(command))


def _exit_code(command: click.Command) -> int:
    """The exit code of `command`; trouble is reported and becomes 2."""
    try:
        code = _invoke(command)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - whatever it is, the exit code must not be 1
        _report(error)
        if _wants_json(command, sys.argv[1:]) and not _is_output_error(error):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                print_json(_error_document(error))
    else:
        return code
    with contextlib.suppress(OSError, ValueError, AttributeError):
        _discard(sys.__stdout__)  # else the interpreter tries to write the rest on its way out, and says so
    return TROUBLE


def _invoke(command: click.Command) -> int:
    """Run `command` and return its exit code; not `command.main`, which exits with 1 when a pipe breaks."""
    name = Path(sys.argv[0]).name.removesuffix(".exe")
    try:
        with command.make_context(name, sys.argv[1:]) as context:
            result = command.invoke(context)
    except click.exceptions.Exit as done:  # --help and --version
        return done.exit_code
    return result if isinstance(result, int) else 0


def _report(error: BaseException) -> None:
    """Say on stderr what went wrong, after the traceback if that is asked for."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if os.environ.get(TRACEBACK_VARIABLE, "") not in ("", "0"):
            traceback.print_exception(error)
        if isinstance(error, click.ClickException):
            error.show()
        else:
            click.echo(f"error: {_reason(error)}", err=True)


def _wants_json(command: click.Command, arguments: Sequence[str]) -> bool:
    """Whether `--json` is among the arguments of a command that knows it; they may be wrong in any other way."""
    options = list(arguments[: arguments.index("--")]) if "--" in arguments else list(arguments)
    if isinstance(command, click.Group):
        named = next((word for word in options if word in command.commands), None)
        return named is not None and _wants_json(command.commands[named], options)
    return "--json" in options and any("--json" in parameter.opts for parameter in command.params)


def _error_document(error: BaseException) -> dict[str, Any]:
    """The error as `weaksvr.error/1`: its kind, and the line that is said of it on stderr, without `error:`."""
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return {"schema": ERROR_SCHEMA, "error": {"type": "Interrupted", "message": _reason(error)}}
    if isinstance(error, click.ClickException):
        message = one_line(error.format_message())
        return {"schema": ERROR_SCHEMA, "error": {"type": "UsageError", "message": message}}
    return {"schema": ERROR_SCHEMA, "error": {"type": type(error).__name__, "message": _reason(error)}}


def _is_output_error(error: BaseException) -> bool:
    return isinstance(error, OSError) and not isinstance(error, WeakSVRError) and error.errno in OUTPUT_ERRNOS


def _reason(error: BaseException) -> str:
    text = one_line(str(error))
    if isinstance(error, WeakSVRError):
        return text
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return "interrupted"
    if isinstance(error, MemoryError):
        return "out of memory; close other programs, or use fewer or smaller videos at a time"
    if isinstance(error, OSError) and _is_output_error(error):
        return f"the result cannot be written: {error.strerror}"
    return f"unexpected {type(error).__name__}: {text}; rerun with {TRACEBACK_VARIABLE}=1 to see where"


def _discard(stream: IO[str] | None) -> None:
    """Point the file behind `stream` at the null device, so that what is still buffered goes nowhere."""
    if stream is None:
        return
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, stream.fileno())
    finally:
        os.close(null)


def command_line() -> str:
    """The running command with what was typed behind it, as a shell would take it."""
    return shlex.join([click.get_current_context().command.name or "", *sys.argv[1:]])


def one_line(text: str) -> str:
    """`text` on one line: control characters and bytes that are no text become backslash escapes."""
    joined = " ".join(text.splitlines())
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in joined)


def print_json(document: Mapping[str, Any]) -> None:
    """Print `document` to stdout as one JSON document; numpy values and paths are understood.

    Raises:
        ValueError: if a number is NaN or infinite, for which JSON has no notation. Nothing is printed then.
        TypeError: if a value has no JSON form.
    """
    click.echo(json.dumps(document, indent=2, allow_nan=False, default=_plain))


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
