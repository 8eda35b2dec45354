"""What `tiers measure` wrote: on one machine, how long each variant, scale and power takes, what it needs, how good
it is. One JSON file a measurement; every time in it was measured in one run of the command. The accuracy was where the
command was given labelled data, else it is what the model's model.toml states.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tier_planner.files import read_json, write_json
from tier_planner.records import DEVICES, Machine, machine_from
from tier_planner.tables import Table

SCHEMA = 1
KIND = "measurement"
"""Tells the file from a load test's record (records.py), which may lie in the same folder."""
SMALLER_IS_BETTER = ("RMSE", "MAE")
"""Metrics of errors: the accuracy of a regression."""


@dataclass(frozen=True)
class Calibration:
    """How fast one core is: a small kernel that every measurement runs, so that machines can be compared."""

    kernel: str
    """What was computed, in words; figures of different kernels are not compared."""
    gflops_per_core: float
    """Median over the repetitions, one thread."""
    spread: float
    """(third quartile - first quartile) / median of the repetitions: how quiet the machine was."""


@dataclass(frozen=True)
class Accuracy:
    """How good a variant is at a scale."""

    metric: str
    value: float
    data: str
    count: int
    more: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Point:
    """One variant at one scale with one power."""

    model: str
    family: str
    variant: str
    scale: float | None
    """Input side relative to the picture; None for rows."""
    device: str
    """cpu, cuda, or a CPU standing in for a GPU."""
    precision: str
    """What the graph computes in: float32, float16 or int8."""
    threads: int
    """ONNX Runtime threads of one run."""
    batch: int
    """Tiles, or rows, in one run."""
    pixels: int | None
    """Pixels that the graph sees for one picture at this scale, all tiles together; None for rows."""
    latencies_ms: tuple[float, ...]
    """One entry a repetition: body in to prediction out, one caller, no queue."""
    stages_ms: Mapping[str, float]
    """Median of each stage."""
    throughput_per_s: float
    """Answers a second with as many callers as keep the machine busy (`callers`)."""
    callers: int
    memory_peak_mib: float | None
    """Largest resident memory of a process that did nothing else; None where it was not measured."""
    accuracy: Accuracy | None
    sha256: str | None = None
    """Of the model's file; None in records that are older than this field."""

    @property
    def p50_ms(self) -> float:
        """Median latency."""
        return quantile(self.latencies_ms, 0.5)

    @property
    def p95_ms(self) -> float:
        """95th percentile of the latency; with few repetitions the slowest of them."""
        return quantile(self.latencies_ms, 0.95)

    @property
    def spread(self) -> float:
        """(third quartile - first quartile) / median: how quiet the machine was."""
        return (quantile(self.latencies_ms, 0.75) - quantile(self.latencies_ms, 0.25)) / self.p50_ms


@dataclass(frozen=True)
class Measurement:
    """One run of `tiers measure`."""

    written_at: str
    """UTC, ISO 8601."""
    commit: str
    """Git commit, with `+` where the tree held changes; empty outside a repository."""
    command: str
    """What was typed, so that it can be typed again."""
    workload: str
    """What one answer was computed from, in words: `4K JPEG, 3840 x 2160 px, 2.9 MB` or `1 row`."""
    machine: Machine
    calibration: Calibration
    points: tuple[Point, ...]


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of `values` do not exceed (nearest rank). Raises ValueError on none."""
    if not values:
        raise ValueError("no values have no quantile")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def goodness(metric: str, value: float) -> float:
    """An accuracy so that more is better, whatever its metric."""
    return -value if metric in SMALLER_IS_BETTER else value


def write_measurement(path: Path, measurement: Measurement) -> None:
    """Write one measurement whole or not at all; times are rounded to a microsecond."""
    document = {"schema": SCHEMA, "kind": KIND, **asdict(measurement)}
    for point in document["points"]:
        point["latencies_ms"] = [round(value, 3) for value in point["latencies_ms"]]
        point["stages_ms"] = {stage: round(value, 3) for stage, value in point["stages_ms"].items()}
    write_json(path, document)


def is_measurement(path: Path) -> bool:
    """Whether `path` holds a measurement, not a load test's record. False for what is not JSON."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("kind") == KIND


def read_measurement(path: Path) -> Measurement:
    """Read one measurement. Raises TableError naming the file, the key and the bad value."""
    return _measurement(Table(str(path), read_json(path)))


def _measurement(top: Table) -> Measurement:
    top.text("kind", choices=(KIND,))
    if (schema := top.integer("schema")) != SCHEMA:
        raise top.error("schema", schema, f"only {SCHEMA} is read here")
    measurement = Measurement(
        written_at=top.text("written_at"),
        commit=top.text("commit"),
        command=top.text("command"),
        workload=top.text("workload"),
        machine=machine_from(top.table("machine")),
        calibration=_calibration(top.table("calibration")),
        points=tuple(_point(table) for table in top.tables("points")),
    )
    top.finish()
    return measurement


def _calibration(table: Table) -> Calibration:
    calibration = Calibration(
        table.text("kernel"), table.number("gflops_per_core", above=0), table.number("spread", low=0)
    )
    table.finish()
    return calibration


def _point(table: Table) -> Point:
    point = Point(
        model=table.text("model"),
        family=table.text("family"),
        variant=table.text("variant"),
        scale=table.number("scale", above=0, high=1) if table.has("scale") else None,
        device=table.text("device", choices=DEVICES),
        precision=table.text("precision"),
        threads=table.integer("threads", low=1),
        batch=table.integer("batch", low=1),
        pixels=table.integer("pixels", low=1) if table.has("pixels") else None,
        latencies_ms=_latencies(table),
        stages_ms=_by_name(table.table("stages_ms")),
        throughput_per_s=table.number("throughput_per_s", above=0),
        callers=table.integer("callers", low=1),
        memory_peak_mib=table.number("memory_peak_mib", above=0) if table.has("memory_peak_mib") else None,
        accuracy=_accuracy(table.table("accuracy")) if table.has("accuracy") else None,
        sha256=table.text("sha256") if table.has("sha256") else None,
    )
    table.finish()
    return point


def _latencies(table: Table) -> tuple[float, ...]:
    values = table.numbers("latencies_ms")
    if not values or any(value is None or value <= 0 for value in values):
        raise table.error("latencies_ms", values, "must be a list of at least one number above 0")
    return tuple(value for value in values if value is not None)


def _accuracy(table: Table) -> Accuracy:
    accuracy = Accuracy(
        metric=table.text("metric"),
        value=table.number("value"),
        data=table.text("data"),
        count=table.integer("count", low=1),
        more=_by_name(table.table("more")),
    )
    table.finish()
    return accuracy


def _by_name(table: Table) -> dict[str, float]:
    return {name: table.number(name) for name in table.names()}
