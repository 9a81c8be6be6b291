"""From a model to a bundle: export, convert, compare every variant with its source, calibrate, write.

Nothing touches the disk before all checks have passed, so whatever interrupts an export leaves no trace.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .. import __version__
from ..runtime.backends.precision import has_int8_instructions
from ..runtime.bundle import Bundle, NewNetwork, write_bundle
from ..runtime.bundle_format import Manifest, Threshold
from ..runtime.calibrate import calibrated_threshold
from ..runtime.errors import ExportError, OptionError
from ..runtime.spec import METHODS
from .claim import claimed
from .difference import Difference
from .engine_options import EngineOptions
from .engines import find_machine, with_engines
from .gate import Gate, Measured, PrecisionReport, Progress, Running, Variant
from .graphs import role_graphs
from .limits import DEFAULT_LIMITS, Limits
from .out_folder import refuse_unwritable
from .probes import BATCH_SIZES
from .report import GateReport, gate_documents
from .reuse import Earlier
from .source import ExportSource, run_source
from .to_fp16 import to_fp16
from .to_int8 import Int8Mode, calibration_batches, fewer_networks, int8_variant
from .to_onnx import export_onnx

__all__ = ["ExportOptions", "export_run", "export_source"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """Which variants a bundle holds beside fp32, and what is asked of them.

    Attributes:
        fp16: half precision, for GPUs.
        int8: for CPUs; None for none.
        engines: TensorRT engines of fp32 and fp16 for the GPU of this machine; None for none.
        gate_pairs: pairs of videos whose verdicts are compared.
        limits: by precision.
    """

    fp16: bool = False
    int8: Int8Mode | None = None
    engines: EngineOptions | None = None
    gate_pairs: int = 10_000
    limits: Mapping[str, Limits] = dataclasses.field(default_factory=lambda: DEFAULT_LIMITS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Judged:
    """A variant that was compared, with the thresholds that the bundle will hold for it."""

    variant: Variant
    report: PrecisionReport
    thresholds: tuple[Threshold, ...]


def export_run(
    run: Path,
    out: Path,
    *,
    pairs_file: Path | None = None,
    name: str | None = None,
    description: str | None = None,
    tokenizer_file: Path | None = None,
    options: ExportOptions | None = None,
    progress: Progress = lambda _what, _done, _total: None,
) -> tuple[Bundle, GateReport]:
    """Export a RUN's best weights as a bundle: `run_source`, then `export_source`. Raises as they do."""
    refuse_unwritable(out)
    source = run_source(run, pairs_file=pairs_file, name=name, description=description, tokenizer_file=tokenizer_file)
    return export_source(source, out, options=options, progress=progress)


def export_source(
    source: ExportSource,
    out: Path,
    *,
    options: ExportOptions | None = None,
    earlier: Earlier | None = None,
    progress: Progress = lambda _what, _done, _total: None,
) -> tuple[Bundle, GateReport]:
    """Export a model as a bundle.

    Args:
        source: the model, and what to compare and calibrate on. Without pairs there are no thresholds, and fp32 alone.
        out: bundle folder, new, empty or a bundle, which is replaced.
        options: the variants; None is fp32 alone.
        earlier: what `look` found in `out`, which the caller has claimed since; what has not changed is taken from
            there. None makes everything anew, and the bundle does not say what it was made from.
        progress: called with (what is being done or was decided, parts done, parts in all).

    Returns:
        The bundle as written, and what the comparison with PyTorch gave.

    Raises:
        ExportError: if a network cannot be exported, or a variant is beyond its limits.
        MissingExtraError: if engines are asked for, and TensorRT is not installed.
        OptionError: if a variant is asked for that cannot be compared.
        OutputError: if `out` holds something else, cannot be written, or another process is exporting into it.
        VideoError: if a video of the pairs cannot be used.
    """
    with claimed(out) if earlier is None else contextlib.nullcontext():
        return _export(source, out, options or ExportOptions(), earlier, progress)


def _export(
    source: ExportSource, out: Path, options: ExportOptions, earlier: Earlier | None, progress: Progress
) -> tuple[Bundle, GateReport]:
    if not source.data.pairs and (options.fp16 or options.int8 or options.engines):
        raise OptionError(
            "fp16, int8 and TensorRT engines need pairs of videos on which they are compared; "
            "give some with --pairs FILE"
        )
    if options.engines:
        find_machine()
    manifest = _manifest(source)
    gate = Gate(source.embedder(), manifest, source.data, num_pairs=options.gate_pairs, progress=progress)
    networks = earlier.networks if earlier else {}
    if networks:
        progress("the fp32 networks are taken from the bundle that is there: what they depend on has not changed", 1, 1)
    networks = networks or _networks(source, manifest, progress)
    judged = _judge_all(source, gate, networks, options, progress)
    report = GateReport(
        name=source.name,
        pairs_from=source.data.source,
        asked=options.gate_pairs,
        labelled=len(source.data.pairs),
        same=sum(pair.same for pair in source.data.pairs),
        videos=gate.num_videos,
        pairs=gate.pairs,
        precisions=tuple(entry.report for entry in judged),
    )
    final = dataclasses.replace(
        manifest,
        default_method=source.default_method or report.default_method,
        thresholds=tuple(threshold for entry in judged for threshold in entry.thresholds),
        checks={
            **report.to_json(),
            "batch_sizes": list(BATCH_SIZES),
            "pairs_from": source.data.source,
            "pairs_sha256": source.data.sha256,
        },
        speed=_speed(report),
        made_from=earlier.made_from() if earlier else {},
    )
    files = (
        dataclasses.replace(network, precision=entry.variant.precision)
        for entry in judged
        if not entry.variant.engines
        for network in entry.variant.networks.values()
    )
    engines = itertools.chain.from_iterable(entry.variant.engines.values() for entry in judged)
    reports = gate_documents(report)
    return write_bundle(out, final, files, engines=engines, tokenizer=source.tokenizer, reports=reports), report


def _judge_all(
    source: ExportSource,
    gate: Gate,
    networks: Mapping[str, NewNetwork],
    options: ExportOptions,
    progress: Progress,
) -> list[_Judged]:
    """All variants that were asked for, every one of them within its limits. Raises `ExportError`."""
    fp32 = Variant(precision="fp32", networks=networks)
    variants = [fp32]
    if options.fp16:
        progress("converting the networks to fp16", 0, 1)
        variants.append(
            Variant(precision="fp16", networks={role: to_fp16(network) for role, network in networks.items()})
        )
    with contextlib.ExitStack() as children:
        running = [children.enter_context(gate.running(variant)) for variant in variants]
        alone = [_checked(gate, entry, options.limits) for entry in running]
        if options.int8 is not None:
            batches = {} if options.int8 == "dynamic" else calibration_batches(source.embedder(), source.data)
            limits = options.limits["int8"]
            int8 = int8_variant(gate, fp32, batches, mode=options.int8, limits=limits, progress=progress)
            running.append(children.enter_context(gate.running(int8)))
            alone.append(_checked(gate, running[-1], options.limits))
        if options.engines is not None:
            model = source.model
            for variant in variants:
                built = with_engines(
                    variant, options.engines, sampling=model.sampling, preprocess=model.preprocess, progress=progress
                )
                running.append(children.enter_context(gate.running(built)))
                alone.append(_checked(gate, running[-1], options.limits))
        measured: Sequence[Measured | None] = gate.measure(running) if source.data.pairs else [None]
        judged: list[_Judged] = []
        for entry, differences, found in zip(running, alone, measured, strict=True):
            verdict = _judge(gate, entry, differences, found, options.limits, judged)
            if verdict.report.refusals and entry.variant.precision == "int8":
                verdict = _with_fewer_networks(gate, fp32, verdict, options.limits, progress)
            _refuse(verdict.report.refusals)
            judged.append(verdict)
    return judged


def _checked(gate: Gate, running: Running, limits: Mapping[str, Limits]) -> dict[str, tuple[Difference, ...]]:
    """The networks' differences. Raises `ExportError` before any video is decoded if they are too large."""
    precision = running.variant.precision
    found = gate.check_networks(running)
    texts = (text for differences in found.values() for d in differences for text in d.refusals(limits[precision]))
    _refuse([f"{running.variant.name}: {text}" for text in texts])
    return found


def _judge(
    gate: Gate,
    running: Running,
    differences: Mapping[str, Sequence[Difference]],
    measured: Measured | None,
    limits: Mapping[str, Limits],
    judged: Sequence[_Judged] = (),
) -> _Judged:
    """Judge a variant at thresholds that are calibrated for it; engines at those of their precision in `judged`."""
    variant = running.variant
    own: tuple[Threshold, ...] = ()
    if measured is not None and not variant.engines:
        own = tuple(_thresholds(gate, measured, variant.precision, running.embedder.sampling.key))
    shared = [entry.thresholds for entry in judged if entry.variant.precision == variant.precision]
    used = itertools.chain(own, *shared) if variant.engines else own
    report = gate.report(
        running,
        differences,
        measured,
        thresholds={entry.method: entry.threshold for entry in used},
        limits=limits[variant.precision],
    )
    return _Judged(variant=variant, report=report, thresholds=own)


def _with_fewer_networks(
    gate: Gate, fp32: Variant, refused: _Judged, limits: Mapping[str, Limits], progress: Progress
) -> _Judged:
    """The first variant with one quantized network less that passes, else what was refused."""
    for variant in fewer_networks(fp32, refused.variant, reason=refused.report.refusals[0]):
        progress(f"int8: {variant.notes[-1]}", 1, 1)
        with gate.running(variant) as running:
            differences = _checked(gate, running, limits)
            verdict = _judge(gate, running, differences, gate.measure([running])[0], limits)
        if not verdict.report.refusals:
            return verdict
        progress(f"int8: refused as well: {verdict.report.refusals[0]}", 1, 1)
    return refused


def _refuse(refusals: Sequence[str]) -> None:
    """Raises `ExportError` if there are any."""
    if refusals:
        more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
        raise ExportError(f"{refusals[0]}{more}; nothing was written")


def _thresholds(gate: Gate, measured: Measured, precision: str, sampling: str) -> Iterator[Threshold]:
    pairs = gate.data.pairs
    for method in METHODS:
        yield calibrated_threshold(
            measured.distances[method].variant[: len(pairs)],
            pairs,
            method=method,
            precision=precision,
            sampling=sampling,
            source=gate.data.source,
            sha256=gate.data.sha256,
        )


def _speed(report: GateReport) -> dict[str, float]:
    """See `Manifest.speed`: of what ran on the CPU as it will run there."""
    if not has_int8_instructions():
        return {}
    return {
        entry.precision: round(entry.milliseconds, 3)
        for entry in report.precisions
        if entry.device == "cpu" and entry.milliseconds
    }


def _manifest(source: ExportSource) -> Manifest:
    """What is known before the networks are; the default method is a placeholder."""
    return Manifest(
        name=source.name,
        description=source.description,
        sampling=source.model.sampling,
        preprocess=source.model.preprocess,
        default_method="alignment",
        tools=_tools(),
        training=source.training,
    )


def _tools() -> dict[str, str]:
    packages = ("torch", "open_clip_torch", "onnx", "onnxscript", "onnxruntime")
    return {"weaksvr": __version__, **{name: _installed(name) for name in packages}}


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "from another wheel"


def _networks(source: ExportSource, manifest: Manifest, progress: Progress) -> dict[str, NewNetwork]:
    """The fp32 networks, by role."""
    metadata = {
        "weaksvr.name": manifest.name,
        "weaksvr.version": __version__,
        "weaksvr.sampling": json.dumps(manifest.sampling.to_json()),
        "weaksvr.preprocess": json.dumps(manifest.preprocess.to_json()),
    }
    graphs = role_graphs(source.model)
    networks = {}
    for done, (role, graph) in enumerate(graphs.items()):
        progress(f"exporting the {role} network", done, len(graphs))
        networks[role] = export_onnx(graph, metadata={"weaksvr.role": role, **metadata})
    return networks
