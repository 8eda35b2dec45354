"""Verdicts over raw samples: what passes, and each way to fail."""

from dataclasses import replace

import pytest
from tier_planner.objectives import Objective, Rules, read_objectives
from tier_planner.records import FAIL, NOT_JUDGED, PASS, Sample, Verdict

from loadtest.measurement import unknown_hosting
from loadtest.paths import SLO
from loadtest.targets import figures_of, judge, nearest_rank

RULES = Rules(lag_share_max=0.1, lag_floor_ms=50, achieved_share_min=0.95)
TARGET = Objective(
    name="practice",
    tier="container",
    hosting="a machine",
    workload="tabular-row",
    model="m",
    scale=None,
    rate_per_s=10,
    percentile=95,
    bound_ms=1000,
    error_share_max=0.01,
    patience_s=5,
    warmup_s=1,
    duration_s=10,
    samples_min=90,
    seed=1,
)


def samples_of(latencies_ms: list[float], lag_ms: float = 1.0) -> list[Sample]:
    return [Sample(number / 10, lag_ms, latency_ms, 200, "") for number, latency_ms in enumerate(latencies_ms)]


def with_errors(count: int, status: int, error: str) -> list[Sample]:
    """A hundred quick samples of which the first `count` failed."""
    good = samples_of([100.0] * 100)
    return [replace(sample, status=status, error=error) for sample in good[:count]] + good[count:]


def verdict(samples: list[Sample], device: str = "cpu") -> Verdict:
    return judge(samples, TARGET, RULES, device)


@pytest.mark.parametrize(
    ("percentile", "count", "value"),
    [
        *((50, 4, 2), (50, 5, 3), (95, 20, 19), (95, 21, 20), (95, 100, 95), (99, 100, 99), (99, 99, 99)),
        *((95, 1, 1), (100, 7, 7), (0.1, 7, 1), (35, 20, 7)),
    ],
)
def test_nearest_rank(percentile: float, count: int, value: int) -> None:
    assert nearest_rank(list(range(count, 0, -1)), percentile) == value


def test_nothing_is_rounded_before_it_is_judged() -> None:
    assert verdict(samples_of([1000.0] * 100)).outcome == PASS
    just_over = verdict(samples_of([1000.0] * 94 + [1000.04] * 6))
    assert just_over.outcome == FAIL
    assert just_over.reasons == ("p95 was 1000.04 ms, the target is p95 <= 1000 ms.",)


def test_five_slow_ones_of_a_hundred_are_allowed() -> None:
    assert verdict(samples_of([10.0] * 95 + [4000.0] * 5)).outcome == PASS
    assert verdict(samples_of([10.0] * 94 + [4000.0] * 6)).outcome == FAIL


def test_too_few_samples_fail() -> None:
    assert any(
        "Too few samples: 50 answered, 90 needed" in reason for reason in verdict(samples_of([1.0] * 50)).reasons
    )
    assert verdict([]).outcome == FAIL


def test_a_late_generator_fails() -> None:
    reasons = verdict(samples_of([100.0] * 100, lag_ms=101)).reasons
    assert len(reasons) == 1
    assert "generator was saturated" in reasons[0]
    assert verdict(samples_of([100.0] * 100, lag_ms=99)).outcome == PASS


def test_a_tier_that_falls_behind_fails() -> None:
    keeping_up = samples_of([900.0] * 100)
    assert verdict(keeping_up).outcome == PASS
    stuck_at_the_end = [replace(sample, latency_ms=4500.0) if sample.due_s >= 9 else sample for sample in keeping_up]
    assert "Achieved 9.00 of 10.00 requests/s offered: the tier fell behind." in verdict(stuck_at_the_end).reasons


@pytest.mark.parametrize("status", [0, 200, 404, 429, 500, 503])
def test_errors_fail_whatever_their_kind(status: int) -> None:
    assert verdict(with_errors(1, status, "cause")).outcome == PASS
    failed = verdict(with_errors(2, status, "cause"))
    assert failed.outcome == FAIL
    assert "Error share 2.0%, 1.0% allowed: 2 x cause." in failed.reasons


def test_refusing_does_not_improve_a_percentile() -> None:
    quick_refusals = with_errors(6, 503, "status 503")
    assert figures_of(quick_refusals, TARGET).p95_ms is None
    assert any("p95 was never reached" in reason for reason in verdict(quick_refusals).reasons)


def test_a_stand_in_is_not_judged_by_its_speed() -> None:
    for samples in (samples_of([100.0] * 100), samples_of([9000.0] * 100), with_errors(99, 503, "status 503")):
        assert verdict(samples, "cpu-stand-in").outcome == NOT_JUDGED


def test_a_stand_in_that_answers_nothing_fails() -> None:
    for samples in (with_errors(100, 503, "status 503"), with_errors(100, 0, "no answer within 5 s"), []):
        assert verdict(samples, "cpu-stand-in").outcome == FAIL


@pytest.mark.parametrize("status", [200, 404, 500])
def test_a_stand_in_that_answers_wrongly_fails(status: int) -> None:
    failed = verdict(with_errors(2, status, "cause"), "cpu-stand-in")
    assert failed.outcome == FAIL
    assert any("2 x cause" in reason for reason in failed.reasons)


def test_rates() -> None:
    figures = figures_of(with_errors(10, 500, "x"), TARGET)
    assert (figures.arrivals, figures.answered) == (100, 90)
    assert figures.offered_rate_per_s == 10
    assert figures.achieved_rate_per_s == 9


def test_a_hosting_that_the_catalogue_has_not_is_warned_of() -> None:
    assert "is it 'VM NC4as T4 v3'" in unknown_hosting("NC4as T4 v3")
    assert unknown_hosting("vm-nc4as-t4") == unknown_hosting("VM NC4as T4 v3") == ""
    objectives = read_objectives(SLO).by_name.values()
    assert [objective.hosting for objective in objectives if unknown_hosting(objective.hosting)] == []
