"""The run as a measurement: the same record that `tiers measure` writes, for the planner and the chart."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from inference_core.manifest import Manifest
from tier_planner.measurements import Accuracy, Measurement, Point

from gpu_bench.record import Bench
from gpu_bench.rows import AccuracyRow, PipelineRow, PowerRow


def measurement_of(bench: Bench, manifests: Iterable[Manifest]) -> Measurement | None:
    """Every model at every scale that one caller was measured at, on the device and on the CPU; None where there is
    none. `manifests` say which files were measured, and the accuracies that the run did not measure itself.
    """
    known = {manifest.name: manifest for manifest in manifests}
    measured: dict[str, AccuracyRow] = {row.model: row for row in bench.rows("accuracy")}
    points = [
        _device_point(row, bench, known.get(row.model), measured.get(row.model))
        for row in _alone(bench.rows("pipeline"))
    ]
    on_cpu: list[PowerRow] = [row for row in bench.rows("cpu") if row.work == "jpeg"]
    points += [_point(row, known.get(row.model), "cpu", row.threads) for row in on_cpu]
    if not points:
        return None
    return Measurement(
        bench.written_at, bench.commit, bench.command, bench.picture, bench.machine, bench.calibration, tuple(points)
    )


def _alone(rows: Sequence[PipelineRow]) -> list[PipelineRow]:
    return [row for row in rows if row.way == "jpeg" and row.callers == 1]


def _same(rows: Sequence[PipelineRow], row: PipelineRow) -> list[PipelineRow]:
    """The rows that differ from `row` in how many ask."""
    return [other for other in rows if (other.model, other.way, other.scale) == (row.model, row.way, row.scale)]


def _device_point(row: PipelineRow, bench: Bench, manifest: Manifest | None, measured: AccuracyRow | None) -> Point:
    """With the throughput of as many callers as gave the most, and the accuracy that the run measured, if it did."""
    most = max(_same(bench.rows("pipeline"), row), key=lambda other: other.pictures_per_s)
    point = _point(row, manifest, bench.device, 1)
    accuracy = _measured(measured) if measured and row.scale == 1.0 else point.accuracy
    return replace(point, throughput_per_s=most.pictures_per_s, callers=most.callers, accuracy=accuracy)


def _point(row: PipelineRow | PowerRow, manifest: Manifest | None, device: str, threads: int) -> Point:
    """What one caller met; accuracy and file as the manifest states them."""
    return Point(
        model=row.model,
        family=row.family,
        variant=row.variant,
        scale=row.scale,
        device=device,
        precision=row.precision,
        threads=threads,
        batch=row.batch,
        pixels=row.tiles * row.tile_px**2,
        latencies_ms=row.latencies_ms,
        stages_ms=row.stages_ms,
        throughput_per_s=len(row.latencies_ms) / sum(row.latencies_ms) * 1e3,
        callers=1,
        memory_peak_mib=None,
        accuracy=_stated(manifest, row.scale),
        sha256=manifest.sha256 if manifest else None,
    )


def _measured(row: AccuracyRow) -> Accuracy:
    more = {"map_50_95": row.map_50_95}
    return Accuracy("mAP@0.5", row.map_50, "generated boards, evaluation seeds", row.boards, more)


def _stated(manifest: Manifest | None, scale: float) -> Accuracy | None:
    """What `model.toml` says at `scale`; it keeps scale 1 as the value and the others among `more`."""
    if manifest is None or manifest.accuracy is None:
        return None
    stated = manifest.accuracy
    key = f"map_50_scale_{scale:g}".replace(".", "_")
    value = stated.value if scale == 1.0 else dict(stated.more).get(key)
    return None if value is None else Accuracy(stated.metric, value, stated.data, stated.count)
