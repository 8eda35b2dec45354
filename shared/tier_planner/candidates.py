"""What is known of a model on a hosting: the evidence that was given, and the candidates that come out of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tier_planner.hosting import Hosting
from tier_planner.measurements import Measurement, Point, goodness, quantile
from tier_planner.records import Record
from tier_planner.requirement import Claim

MEASURED, PREDICTED, CLAIMED = "measured", "predicted", "claimed"
SAME_GPU = "same GPU, other machine"


class UnknownTime(LookupError):
    """Nothing says how long a model takes on a hosting; the message says how to find out."""


@dataclass(frozen=True)
class Evidence:
    """Everything that was measured, and what the requirement's author brings."""

    measurements: tuple[Measurement, ...]
    records: tuple[Record, ...] = ()
    """Load tests; those of a remote machine speak for the hosting that they name."""
    claims: tuple[Claim, ...] = ()
    weights_mib: Mapping[str, float] = field(default_factory=dict)
    """Model -> size of its file, where it is at hand."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """Model -> SHA-256 of its file, where it is at hand."""

    def newest(self) -> list[Measurement]:
        """The measurements, the last one first."""
        return sorted(self.measurements, key=lambda measurement: measurement.written_at, reverse=True)

    def is_stale(self, measured: "Point | Candidate") -> bool:
        """Whether the model's file is another now than the one that was measured, as far as that is known.

        A record that names no file is older than those that do: where one of these names another, so it is taken to be.
        """
        if measured.sha256 is None:
            return measured.model in self._changed
        return self.hashes.get(measured.model, measured.sha256) != measured.sha256

    @cached_property
    def _changed(self) -> frozenset[str]:
        """Models of which a measurement names another file than the one that is at hand."""
        named = (point for measurement in self.measurements for point in measurement.points if point.sha256)
        return frozenset(point.model for point in named if self.is_stale(point))

    def accuracy(self, point: Point) -> tuple[float | None, str]:
        """The newest accuracy of that model, scale and precision, whatever machine it was measured on; its metric.

        That of another file says nothing of this one.
        """
        for measurement in self.newest():
            for other in measurement.points:
                if other.accuracy and key_of(other) == key_of(point) and not self.is_stale(other):
                    return other.accuracy.value, other.accuracy.metric
        return None, ""


@dataclass(frozen=True)
class Candidate:
    """One variant at one scale on one hosting with so many threads an answer."""

    hosting: Hosting
    model: str
    variant: str
    scale: float | None
    """None for rows."""
    precision: str
    accuracy: float | None
    metric: str
    threads: int
    slots: int
    """Answers that one replica computes at once."""
    service_ms: tuple[float, ...]
    """Equally likely times of one answer while the other slots rest; no queue."""
    contention: float
    """How much longer an answer takes while every slot computes."""
    low: float
    high: float
    """Interval of the times, as factors."""
    memory_mib: float | None
    """Of one replica with all slots busy, at most; None where it was not measured."""
    evidence: str
    """MEASURED there, PREDICTED from another CPU, SAME_GPU elsewhere, CLAIMED by the requirement's author."""
    why: str
    sha256: str | None = None
    """Of the model's file that was measured, where the record says so."""

    def service_quantile_ms(self, percentile: float) -> float:
        """The percentile of one answer without any queue."""
        return quantile(self.service_ms, percentile / 100)

    @property
    def goodness(self) -> float:
        """Its accuracy so that more is better; the least where it is unknown."""
        return -math.inf if self.accuracy is None else goodness(self.metric, self.accuracy)

    def named(self) -> str:
        """Variant and scale as people write them."""
        return self.variant if self.scale is None else f"{self.variant} @ {self.scale:g}"


Key = tuple[str, float | None, str]
"""Model, scale, precision: what an accuracy belongs to."""


def key_of(point: Point) -> Key:
    """What the accuracy of a point belongs to."""
    return point.model, point.scale, point.precision
