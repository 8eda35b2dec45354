"""Figures and verdicts: pure functions over raw samples.

Percentiles are nearest-rank: the smallest sample that at least p percent of all samples do not exceed. Nothing is
interpolated and nothing rounded before it is judged. A failed arrival counts as never answered, so a tier cannot
improve its percentiles by refusing.
"""

import math
from collections import Counter
from collections.abc import Sequence

from tier_planner.objectives import Objective, Rules
from tier_planner.records import FAIL, NOT_JUDGED, PASS, Figures, Sample, Verdict

STAND_IN = "cpu-stand-in"
REFUSED = (429, 503)
"""The tier said it was too busy: slow, not wrong."""
NEVER_MS = math.inf


def nearest_rank(values_ms: Sequence[float], percentile: float) -> float:
    """The nearest-rank percentile in the unit of the values. Raises ValueError on no values."""
    if not values_ms:
        raise ValueError("no percentile of no samples")
    # The product is exact enough to be a whole number only by accident of binary fractions: round before the ceiling.
    rank = math.ceil(round(percentile / 100 * len(values_ms), 9))
    return sorted(values_ms)[max(rank, 1) - 1]


def figures_of(samples: Sequence[Sample], objective: Objective) -> Figures:
    """What the samples of the judged window add up to."""
    times_ms = [_time_ms(sample) for sample in samples] or [NEVER_MS]
    answered = sum(not sample.error for sample in samples)
    return Figures(
        arrivals=len(samples),
        answered=answered,
        error_share=(len(samples) - answered) / len(samples) if samples else 1.0,
        offered_rate_per_s=len(samples) / objective.duration_s,
        achieved_rate_per_s=_in_time(samples, objective) / objective.duration_s,
        p50_ms=_finite(nearest_rank(times_ms, 50)),
        p95_ms=_finite(nearest_rank(times_ms, 95)),
        p99_ms=_finite(nearest_rank(times_ms, 99)),
        judged_ms=_finite(nearest_rank(times_ms, objective.percentile)),
        lag_p99_ms=nearest_rank([sample.lag_ms for sample in samples] or [0.0], 99),
    )


def judge(samples: Sequence[Sample], objective: Objective, rules: Rules, device: str) -> Verdict:
    """PASS, FAIL or NOT JUDGED, and why. A CPU in a GPU's place is excused from speed, not from right answers."""
    figures = figures_of(samples, objective)
    if device == STAND_IN and figures.answered and _wrong_share(samples) <= objective.error_share_max:
        return Verdict(NOT_JUDGED, ("A CPU stood in for the GPU: its times say nothing of the tier.",))
    reasons = (
        *_unsound(figures, objective, rules),
        *_errors(samples, figures, objective),
        *_too_slow(figures, objective, rules),
    )
    return Verdict(FAIL if reasons else PASS, reasons)


def _unsound(figures: Figures, objective: Objective, rules: Rules) -> tuple[str, ...]:
    """Reasons why the measurement itself proves nothing."""
    reasons = []
    if figures.answered < objective.samples_min:
        reasons.append(f"Too few samples: {figures.answered} answered, {objective.samples_min} needed.")
    if figures.lag_p99_ms > (lag_max_ms := rules.lag_max_ms(objective.bound_ms)):
        reasons.append(
            f"The load generator was saturated: it sent its requests up to {figures.lag_p99_ms:.0f} ms late (p99), "
            f"{lag_max_ms:.0f} ms at most are allowed. Give it a core of its own."
        )
    return tuple(reasons)


def _wrong_share(samples: Sequence[Sample]) -> float:
    """Share of replies that are wrong rather than late: neither a prediction nor a refusal."""
    wrong = sum(bool(sample.error and sample.status and sample.status not in REFUSED) for sample in samples)
    return wrong / len(samples) if samples else 0.0


def _errors(samples: Sequence[Sample], figures: Figures, objective: Objective) -> tuple[str, ...]:
    if figures.error_share <= objective.error_share_max:
        return ()
    failed = Counter(sample.error for sample in samples if sample.error)
    causes = "; ".join(f"{count} x {error}" for error, count in failed.most_common(3)) or "nothing was sent"
    return (f"Error share {figures.error_share:.1%}, {objective.error_share_max:.1%} allowed: {causes}.",)


def _too_slow(figures: Figures, objective: Objective, rules: Rules) -> tuple[str, ...]:
    reasons = []
    name = f"p{objective.percentile:g}"
    if figures.judged_ms is None:
        reasons.append(f"{name} was never reached: too many arrivals got no answer ({objective.target}).")
    elif figures.judged_ms > objective.bound_ms:
        reasons.append(f"{name} was {figures.judged_ms:.2f} ms, the target is {objective.target}.")
    if figures.achieved_rate_per_s < rules.achieved_share_min * figures.offered_rate_per_s:
        reasons.append(
            f"Achieved {figures.achieved_rate_per_s:.2f} of {figures.offered_rate_per_s:.2f} requests/s offered: "
            "the tier fell behind."
        )
    return tuple(reasons)


def _in_time(samples: Sequence[Sample], objective: Objective) -> int:
    """Predictions that were in by the end of the window plus one bound: a tier that keeps up has them all by then."""
    last_ms = objective.duration_s * 1000 + objective.bound_ms
    return sum(sample.due_s * 1000 + _time_ms(sample) <= last_ms for sample in samples)


def _time_ms(sample: Sample) -> float:
    return NEVER_MS if sample.error or sample.latency_ms is None else sample.latency_ms


def _finite(value_ms: float) -> float | None:
    return value_ms if math.isfinite(value_ms) else None
