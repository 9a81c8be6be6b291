"""Options that mean the same in every command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ... import __version__

__all__ = [
    "backend_option",
    "bundle_option",
    "cache_option",
    "device_option",
    "json_option",
    "method_option",
    "model_options",
    "precision_option",
    "report_option",
    "running_options",
    "sampling_option",
    "threads_option",
    "version_option",
]

Function = TypeVar("Function", bound=Callable[..., Any])


def version_option(function: Function) -> Function:
    """`--version`: print the command's name and the package's version."""
    return click.version_option(__version__, "--version", message="%(prog)s %(version)s")(function)


def bundle_option(function: Function) -> Function:
    """`--bundle DIR` as `bundle: str | None`; None is the bundle that comes with the package."""
    return click.option("--bundle", metavar="DIR", help="Model bundle to use.  [default: the one that comes along]")(
        function
    )


def backend_option(function: Function) -> Function:
    """`--backend` as `backend: str`; the names are those of `backends.choose`."""
    return click.option(
        "--backend",
        type=click.Choice(["onnxruntime", "tensorrt", "onnxruntime-tensorrt"]),
        default="onnxruntime",
        show_default=True,
        help="What runs the networks; for GPUs alone: tensorrt runs the bundle's engines, onnxruntime-tensorrt makes "
        "its own when it first loads a bundle.",
    )(function)


def device_option(function: Function) -> Function:
    """`--device` as `device: str`."""
    return click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="Where the networks run; auto takes the GPU if it works, cuda fails if it does not.",
    )(function)


def precision_option(function: Function) -> Function:
    """`--precision` as `precision: str`; which there are depends on the bundle."""
    return click.option(
        "--precision",
        metavar="auto|fp32|fp16|...",
        default="auto",
        show_default=True,
        help="Precision of the networks, one that the bundle holds; auto takes the fastest that the device runs.",
    )(function)


def sampling_option(function: Function) -> Function:
    """`--sampling` as `sampling: str | None`; None is the bundle's own."""
    return click.option(
        "--sampling",
        type=click.Choice(["uniform", "three-view", "segment"]),
        help="Which frames are looked at: the middle of every segment, three a segment, or of every segment the one "
        "that is decoded fastest.  [default: the bundle's choice]",
    )(function)


def running_options(function: Function) -> Function:
    """`--backend`, `--device`, `--precision`."""
    return backend_option(device_option(precision_option(function)))


def model_options(function: Function) -> Function:
    """`--bundle`, `--sampling` and the `running_options`: with these a command loads a model."""
    return bundle_option(sampling_option(running_options(function)))


def threads_option(function: Function) -> Function:
    """`--threads N` as `num_threads: int | None`; None takes all cores."""
    return click.option(
        "--threads",
        "num_threads",
        type=int,
        metavar="N",
        help="For decoding and networks together.  [default: all cores]",
    )(function)


def method_option(function: Function) -> Function:
    """`--method` as `method: str | None`; None is the bundle's default."""
    return click.option(
        "--method",
        type=click.Choice(["vector", "alignment"]),
        help="How two videos are compared.  [default: the bundle's choice]",
    )(function)


def cache_option(function: Function) -> Function:
    """`--no-cache` as `cache: bool`."""
    return click.option(
        "--no-cache", "cache", flag_value=False, default=True, help="Embed anew; neither use nor fill the cache."
    )(function)


def report_option(function: Function) -> Function:
    """`--report FILE` as `report: str | None`."""
    return click.option("--report", metavar="FILE.html", help="Also write the result as one page for people.")(function)


def json_option(function: Function) -> Function:
    """`--json` as `as_json: bool`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(function)
