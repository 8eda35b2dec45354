"""What each section of the benchmark measures: one kind of row a section, units in the names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

Numbers = tuple[float, ...]
SUSTAINED = 0.95
"""Least share of the arrivals answered by the end of the window plus the tier's bound."""


@dataclass(frozen=True)
class Row:
    """One line of a section."""

    section: ClassVar[str]


@dataclass(frozen=True)
class FactRow(Row):
    """One thing that the machine or the runtime says of itself."""

    section = "facts"
    name: str
    value: str


@dataclass(frozen=True)
class LoopRow(Row):
    """The bare IOBinding loop: tiles that lie on the device, through the model's own graph, outputs left there."""

    section = "loop"
    model: str
    variant: str
    precision: str
    options: str
    """What differs from the tier's session options; empty: nothing."""
    batch: int
    tile_px: int
    runs: int
    run_ms: float
    """Median of one run, which waits for the device."""
    spread: float
    """(third quartile - first quartile) / median."""
    images_per_s: float
    """Tiles a second over all runs together."""
    first_ms: float
    """The first run at this batch: kernels, workspaces and algorithms are found in it."""
    gpu_clock_mhz: float | None
    gpu_memory_mib: float | None


@dataclass(frozen=True)
class PipelineRow(Row):
    """Pictures to boxes through the tier's own code, inside one process."""

    section = "pipeline"
    model: str
    family: str
    variant: str
    precision: str
    way: str
    """`jpeg`; `bmp`, the same pictures with nothing to decompress; `gpu-jpeg`, decoded on the GPU; `threads`, JPEG read
    without processes of their own; JPEG with one tile a run: `single` through the tier, `alone` with a plain session.
    """
    scale: float
    batch: int
    """Largest number of tiles in one run."""
    engine: str
    """What the tier says of how it runs the model, as JSON; empty for a plain session."""
    callers: int
    pictures: int
    tiles: int
    """Tiles of one picture."""
    tile_px: int
    pictures_per_s: float
    tiles_per_s: float
    cores_busy: float
    """Processor seconds a second, of this process and of those that read pictures for it."""
    gpu_busy: float | None
    """Share of the time in which a kernel ran, as the driver says it (a busy GPU need not be a full one)."""
    latencies_ms: Numbers
    stages_ms: Mapping[str, float]
    """Median of each stage."""


@dataclass(frozen=True)
class ServiceRow(Row):
    """The tier as a process of its own under Poisson arrivals."""

    section = "service"
    model: str
    variant: str
    generator: str
    """What sent the requests."""
    rate_per_s: float
    duration_s: float
    arrivals: int
    answered: int
    errors: tuple[str, ...]
    achieved_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    lag_p99_ms: float
    device: str
    """What the tier says that it computes on."""
    stages_ms: Mapping[str, float]

    @property
    def is_sustained(self) -> bool:
        """Whether the tier kept up: every arrival answered, nearly all of them soon after the window's end."""
        return self.answered == self.arrivals and self.achieved_per_s * self.duration_s >= SUSTAINED * self.arrivals


@dataclass(frozen=True)
class EqualityRow(Row):
    """One picture through the tier's code here and through the plain CPU session."""

    section = "equality"
    model: str
    variant: str
    precision: str
    scale: float
    found: int
    """Detections of the CPU."""
    missing: int
    """Of these, not found here although their score is above the threshold by more than the tolerance."""
    extra: int
    """The same the other way round."""
    score_difference: float
    """Largest, over the detections that both have."""
    box_difference_px: float
    score_tolerance: float
    box_tolerance_px: float

    @property
    def within(self) -> bool:
        """Whether the two are the same answer."""
        close = self.score_difference <= self.score_tolerance and self.box_difference_px <= self.box_tolerance_px
        return close and not self.missing and not self.extra


@dataclass(frozen=True)
class AccuracyRow(Row):
    """How well a model sees when the tier's code runs it."""

    section = "accuracy"
    model: str
    variant: str
    precision: str
    boards: int
    map_50: float
    map_50_95: float


@dataclass(frozen=True)
class PowerRow(Row):
    """The same machine's CPU: one caller, some threads."""

    section = "cpu"
    model: str
    family: str
    variant: str
    precision: str
    work: str
    """`tiles`: one run of a batch; `jpeg`: a picture to its boxes."""
    scale: float
    batch: int
    tiles: int
    tile_px: int
    threads: int
    latencies_ms: Numbers
    stages_ms: Mapping[str, float]


ROWS: Mapping[str, type[Row]] = {
    **{row.section: row for row in (FactRow, LoopRow, PipelineRow, ServiceRow, EqualityRow, AccuracyRow, PowerRow)},
    "gpu-decode": PipelineRow,
    "options": LoopRow,
    "tensorrt": LoopRow,
}
"""The kind of row of each section; the last three repeat a part of `pipeline` and `loop` with other options."""
