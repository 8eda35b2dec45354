"""What a tile takes with each model and scale before the first request: from measurements made on this processor and,
where a GPU computes, on such a GPU; else from the warm-up.
"""

from collections.abc import Iterator
from pathlib import Path

from inference_core.cpu import cpu_name
from inference_core.detection import DetectionPipeline
from inference_core.errors import SettingsError
from inference_core.manifest import Accuracy, ImageInput, Manifest
from inference_core.registry import Pipeline, Registry, SlowPipeline
from inference_core.settings import Settings
from tier_planner.measurements import Measurement, Point, is_measurement, read_measurement
from tier_planner.records import Machine
from tier_planner.tables import TableError

from inference_http.forecast import Kind


def known_tile_s(
    registry: Registry, settings: Settings, *, device: str, threads: int, gpu: str = ""
) -> dict[Kind, float]:
    """Seconds a tile of every picture model in `registry`, at every scale whose accuracy its manifest knows. `gpu` is
    the name of the GPU where `device` is cuda. Raises SettingsError when `settings.records` cannot be read.
    """
    pictures = {p.manifest.name: p for p in registry if isinstance(p.manifest.input, ImageInput)}
    measured: dict[Kind, float] = {}
    for measurement in sorted(_measurements(settings.records), key=lambda one: one.written_at):
        if not _is_here(measurement.machine, device, gpu):
            continue
        for point in measurement.points:
            if point.model in pictures and _is_ours(point, device, threads):
                measured |= _tile_s(point, pictures[point.model].manifest)
    return {
        (name, scale): measured.get((name, scale), _warm_tile_s(pipeline))
        for name, pipeline in pictures.items()
        for scale in scales(pipeline.manifest)
    }


def scales(manifest: Manifest) -> tuple[float, ...]:
    """The scales at which it is known how accurate the model is; 1 in any case."""
    accuracy: Accuracy | None = manifest.accuracy
    return tuple(accuracy.by_scale) if accuracy else (1.0,)


def _warm_tile_s(pipeline: Pipeline) -> float:
    """What the warm-up saw; 0 where there was none, and the first answer tells."""
    inner = pipeline.inner if isinstance(pipeline, SlowPipeline) else pipeline
    return inner.tile_s if isinstance(inner, DetectionPipeline) else 0.0


def _is_here(machine: Machine, device: str, gpu: str) -> bool:
    """Records name the GPU before its driver's version."""
    is_gpu = device != "cuda" or (machine.gpu or "").partition(",")[0] == gpu
    return machine.cpu == cpu_name() and is_gpu


def _is_ours(point: Point, device: str, threads: int) -> bool:
    """On a GPU the threads of a run do not matter."""
    return point.device == device and (device == "cuda" or point.threads == threads)


def _tile_s(point: Point, manifest: Manifest) -> dict[Kind, float]:
    if point.sha256 not in (None, manifest.sha256):  # another file, perhaps of another shape: the warm-up saw this one
        return {}
    if point.scale is None or point.pixels is None or not isinstance(manifest.input, ImageInput):
        return {}
    tiles = max(1, round(point.pixels / manifest.input.tile_px**2))
    return {(point.model, point.scale): point.p50_ms / 1e3 / tiles}


def _measurements(records: Path) -> Iterator[Measurement]:
    """A folder may hold records of another kind too; a file that is named must be a measurement."""
    if not records.exists():
        if records != Settings.records:  # a fresh copy, or an image of one's own, need not have any
            raise SettingsError(f"INFERENCE_RECORDS={str(records)!r} does not exist.")
        return
    for path in filter(is_measurement, sorted(records.glob("*.json"))) if records.is_dir() else [records]:
        try:
            yield read_measurement(path)
        except TableError as error:
            raise SettingsError(f"INFERENCE_RECORDS={str(records)!r}: {error}.") from None
