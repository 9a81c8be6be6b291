"""New TensorRT engines for a bundle, built on this machine from the networks beside them. Needs no PyTorch.

The source that they are compared with is the bundle itself: its fp32 networks on the CPU, which passed the gate when
it was exported.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from ..runtime.bundle import Bundle, NewNetwork, NewReport, NewTokenizer, write_bundle
from ..runtime.bundle_format import Manifest, ReportFile
from ..runtime.errors import ExportError, OptionError
from ..runtime.spec import Method
from ..runtime.verify import load
from .calibration import CalibrationData, given_data, without_pairs
from .claim import claimed
from .engine_options import EngineOptions
from .engines import find_machine, with_engines
from .gate import Gate, PrecisionReport, Progress, Variant, variant_name
from .limits import DEFAULT_LIMITS, Limits
from .report import GateReport, gate_documents

__all__ = ["rebuild_engines"]

_PRECISIONS: Final = ("fp32", "fp16")
_SOURCE: Final = "ONNX Runtime"
_REPLACED: Final = tuple(variant_name(precision, is_tensorrt=True) for precision in _PRECISIONS)


def rebuild_engines(
    bundle: Bundle,
    out: Path,
    *,
    options: EngineOptions,
    pairs_file: Path | None = None,
    gate_pairs: int = 10_000,
    limits: Mapping[str, Limits] = DEFAULT_LIMITS,
    progress: Progress = lambda _what, _done, _total: None,
) -> tuple[Bundle, GateReport]:
    """Build engines of a bundle's fp32 and fp16 networks, compare them, and write the bundle with them.

    Args:
        bundle: with fp32 networks. Engines that it has already are replaced.
        out: bundle folder, new, empty or a bundle, which is replaced; may be the bundle's own.
        options: how engines are built.
        pairs_file: pairs of videos to compare verdicts on; None compares network by network, on noise.
        gate_pairs: pairs whose verdicts are compared.
        limits: by precision.
        progress: called with (what is being done, parts done, parts in all).

    Returns:
        The bundle as written, and what the comparison gave.

    Raises:
        BundleError: if a file of the bundle cannot be used.
        DataError: if the pairs file is wrong.
        ExportError: if an engine cannot be built, or is beyond its limits; nothing is written then.
        MissingExtraError: if TensorRT is not installed.
        OptionError: if the bundle has no fp32 networks.
        OutputError: if `out` holds something else, cannot be written, or another process is exporting into it.
        VideoError: if a video of the pairs cannot be used.
    """
    manifest = bundle.manifest
    if "fp32" not in manifest.precisions:
        listed = ", ".join(manifest.precisions)
        raise OptionError(f"{bundle.path}: has no fp32 networks to compare engines with, only {listed}; export it anew")
    with claimed(out):
        data = without_pairs() if pairs_file is None else given_data(pairs_file)
        machine = find_machine()
        gate = _gate(bundle, data, gate_pairs, progress)
        variants = [_variant(bundle, name) for name in _PRECISIONS if name in manifest.precisions]
        built = [
            with_engines(
                variant, options, sampling=manifest.sampling, preprocess=manifest.preprocess, progress=progress
            )
            for variant in variants
        ]
        report = GateReport(
            name=f"{manifest.name}, TensorRT engines for {machine.device_name}",
            pairs_from=data.source,
            asked=gate_pairs,
            labelled=len(data.pairs),
            same=sum(pair.same for pair in data.pairs),
            videos=gate.num_videos,
            pairs=gate.pairs,
            precisions=_judge(gate, built, manifest, limits, with_pairs=bool(data.pairs)),
            source=_SOURCE,
        )
        return _write(bundle, out, built, report, data), report


def _write(bundle: Bundle, out: Path, built: Sequence[Variant], report: GateReport, data: CalibrationData) -> Bundle:
    """The bundle with these engines. What its checks say about engines that it had goes with them."""
    manifest = bundle.manifest
    earlier = manifest.checks.get("engines", {}).get("reports", [])
    kept = [entry for entry in manifest.reports if entry.path not in earlier]
    documents = gate_documents(report)
    gate = {**manifest.checks.get("gate", {})}
    if "precisions" in gate:
        there = gate["precisions"].items()
        gate["precisions"] = {name: found for name, found in there if name not in _REPLACED}
    checks = {
        **manifest.checks,
        "gate": gate,
        "engines": {
            **report.to_json(),
            "source": "the fp32 networks of this bundle, ONNX Runtime on the CPU",
            "inputs": "videos" if data.pairs else "noise, network by network: verdicts were not compared",
            "pairs_from": data.source,
            "pairs_sha256": data.sha256,
            "reports": [document.path for document in documents],
        },
    }
    return write_bundle(
        out,
        dataclasses.replace(manifest, checks=checks, made_from={}),  # an export would not make these engines
        _networks(bundle),
        engines=[engine for variant in built for engine in variant.engines.values()],
        tokenizer=_new_tokenizer(bundle),
        reports=[*(_new_report(bundle, entry) for entry in kept), *documents],
    )


def _new_report(bundle: Bundle, entry: ReportFile) -> NewReport:
    suffix: Literal["md", "svg"] = "svg" if entry.path.endswith(".svg") else "md"
    return NewReport(suffix=suffix, data=bundle.read(entry))


def _gate(bundle: Bundle, data: CalibrationData, gate_pairs: int, progress: Progress) -> Gate:
    manifest = bundle.manifest
    return Gate(
        load(bundle.path, device="cpu", precision="fp32").embedder,
        manifest,
        data,
        num_pairs=gate_pairs,
        progress=progress,
        source_name=_SOURCE,
        source_thresholds=_thresholds(manifest, "fp32"),
    )


def _judge(
    gate: Gate, built: Sequence[Variant], manifest: Manifest, limits: Mapping[str, Limits], *, with_pairs: bool
) -> tuple[PrecisionReport, ...]:
    """Raises `ExportError` if an engine is beyond its limits."""
    with contextlib.ExitStack() as children:
        running = [children.enter_context(gate.running(variant)) for variant in built]
        alone = [gate.check_networks(entry) for entry in running]
        measured = gate.measure(running) if with_pairs else [None] * len(running)
        reports = tuple(
            gate.report(
                entry,
                differences,
                found,
                thresholds=_thresholds(manifest, entry.variant.precision),
                limits=limits[entry.variant.precision],
            )
            for entry, differences, found in zip(running, alone, measured, strict=True)
        )
    refusals = [text for entry in reports for text in entry.refusals]
    if refusals:
        more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
        raise ExportError(f"{refusals[0]}{more}; nothing was written")
    return reports


def _thresholds(manifest: Manifest, precision: str) -> dict[Method, float]:
    """Of a precision, by way to compare."""
    there = [entry for entry in manifest.thresholds if entry.sampling == manifest.sampling.key]
    return {entry.method: entry.threshold for entry in there if entry.precision == precision}


def _variant(bundle: Bundle, precision: str) -> Variant:
    networks = [network for network in _networks(bundle) if network.precision == precision]
    return Variant(precision=precision, networks={network.role: network for network in networks})


def _networks(bundle: Bundle) -> list[NewNetwork]:
    return [NewNetwork.of(file, bundle.read(file)) for file in bundle.manifest.files]


def _new_tokenizer(bundle: Bundle) -> NewTokenizer | None:
    entry = bundle.manifest.tokenizer
    if entry is None:
        return None
    return NewTokenizer(
        context_length=entry.context_length,
        cleaning=entry.cleaning,
        zeroed_id=entry.zeroed_id,
        data=bundle.read(entry),
    )
