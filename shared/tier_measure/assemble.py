"""From findings to the record: what the rounds found at each setting becomes one point."""

import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inference_core.manifest import TABULAR_TASKS, ImageInput, Manifest
from inference_core.session import Provider
from tier_planner.measurements import Accuracy, Measurement, Point, quantile
from tier_planner.records import Machine

from loadtest.machine import git_commit
from tier_measure.accuracy import stated_accuracy
from tier_measure.calibration import calibration_of
from tier_measure.journal import Finding, Journal
from tier_measure.settings import Setting

_QUANTIZED = (b"DequantizeLinear", b"QLinearConv", b"QLinearMatMul", b"ConvInteger", b"MatMulInteger")
"""Operators of a graph that computes in int8."""


def assemble(
    journal: Journal, settings: Sequence[Setting], provider: Provider, *, machine: Machine, command: str, workload: str
) -> Measurement:
    """The record of everything in `journal`."""
    gflops = [value for finding in journal.findings if "gflops" in finding for value in finding["gflops"]]
    return Measurement(
        written_at=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=git_commit(Path(__file__).parent),
        command=command,
        workload=workload,
        machine=machine,
        calibration=calibration_of(gflops),
        points=tuple(_point(setting, journal, provider) for setting in settings),
    )


def _point(setting: Setting, journal: Journal, provider: Provider) -> Point:
    manifest, blocks = setting.manifest, journal.find(block=setting.key)
    batch, pixels = setting.rows or 1, None
    if manifest.task not in TABULAR_TASKS:
        assert isinstance(manifest.input, ImageInput)
        tiles = blocks[0]["steps"]
        batch, pixels = min(manifest.input.tile_batch, tiles), tiles * manifest.input.tile_px**2
    latencies_ms = tuple(value for block in blocks for value in block["latencies_ms"])
    throughputs = [block["throughput_per_s"] for block in blocks if block["throughput_per_s"] is not None]
    memory = [block["memory_peak_mib"] for block in blocks if block["memory_peak_mib"] is not None]
    return Point(
        model=manifest.name,
        family=manifest.family,
        variant=manifest.variant,
        scale=setting.scale,
        device=provider,
        precision=precision_of(manifest),
        threads=setting.threads,
        batch=batch,
        pixels=pixels,
        latencies_ms=latencies_ms,
        stages_ms=_medians(stages for block in blocks for stages in block["stages_ms"]),
        throughput_per_s=round(statistics.median(throughputs), 4),
        callers=blocks[0]["callers"],
        memory_peak_mib=round(max(memory), 1) if memory else None,
        accuracy=_accuracy(setting, journal),
        sha256=manifest.sha256,
    )


def accuracy_key(setting: Setting) -> str:
    """Accuracy does not depend on threads or on rows in a request: one finding a variant and scale."""
    return setting.manifest.name if setting.scale is None else f"{setting.manifest.name}, scale {setting.scale:g}"


def precision_of(manifest: Manifest) -> str:
    """What the graph computes in, by its operators and by the variant's name."""
    if any(name in manifest.model_bytes for name in _QUANTIZED):
        return "int8"
    return "float16" if manifest.variant.endswith(("fp16", "float16")) else "float32"


def _accuracy(setting: Setting, journal: Journal) -> Accuracy | None:
    if found := journal.find(accuracy=accuracy_key(setting)):
        return Accuracy(**found[0]["figures"])
    return stated_accuracy(setting.manifest, setting.scale)


def _medians(answers: Iterable[dict[str, Any]]) -> dict[str, float]:
    rows: list[Finding] = list(answers)
    stages = dict.fromkeys(stage for row in rows for stage in row)
    return {stage: quantile([row.get(stage, 0.0) for row in rows], 0.5) for stage in stages}
