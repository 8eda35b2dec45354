"""Where the time of an answer went: the stages a tier reports, and the rest between due and last byte."""

from collections.abc import Sequence
from dataclasses import dataclass

from tier_planner.records import Sample

from loadtest.targets import nearest_rank

LAG = "sent late"
"""The generator's own lag."""
REST = "outside the stages"
"""Latency less the lag and the stages: the network, reading and writing the bodies, queues without a stage."""
SLOW_PERCENTILE = 95.0


@dataclass(frozen=True)
class StageShare:
    """One stage: its mean over all answers, and over the slowest of them."""

    stage: str
    mean_ms: float
    slow_ms: float


def breakdown(samples: Sequence[Sample]) -> tuple[StageShare, ...]:
    """The lag, the stages in the order in which they run, the rest; empty where nothing was answered.

    "Slow" is the mean over the answers at or above the 95th percentile of latency. Percentiles of single stages would
    not add up to the percentile of the whole; these means do.
    """
    answered = [sample for sample in samples if not sample.error]
    if not answered:
        return ()
    limit_ms = nearest_rank([sample.latency_ms or 0.0 for sample in answered], SLOW_PERCENTILE)
    slow = [sample for sample in answered if (sample.latency_ms or 0.0) >= limit_ms]
    stages = dict.fromkeys(stage for sample in answered for stage in sample.stages_ms)
    return tuple(StageShare(stage, _mean_ms(answered, stage), _mean_ms(slow, stage)) for stage in [LAG, *stages, REST])


def _mean_ms(samples: Sequence[Sample], stage: str) -> float:
    return sum(_stage_ms(sample, stage) for sample in samples) / len(samples)


def _stage_ms(sample: Sample, stage: str) -> float:
    lag_ms = max(sample.lag_ms, 0.0)
    if stage == LAG:
        return lag_ms
    if stage == REST:
        return max((sample.latency_ms or 0.0) - lag_ms - sum(sample.stages_ms.values()), 0.0)
    return sample.stages_ms.get(stage, 0.0)
