"""One requirement against one hosting: what was chosen there, or the reason that decided against it.

Checks come in a fixed order (region and walls of the platform, network, unknown, accuracy, memory, latency, budget). Of
the candidates of a rejected hosting the one that came furthest speaks, and of several the one that missed by least.
"""

import math
from dataclasses import dataclass
from functools import cached_property

from tier_planner.candidates import Candidate, Evidence, UnknownTime
from tier_planner.cost import Line, Use, month, total
from tier_planner.hosting import Hosting
from tier_planner.predict import candidates
from tier_planner.prices import Prices
from tier_planner.queueing import answer_ms, fewest
from tier_planner.requirement import Requirement, time_words

REASONS = ("region", "wall", "network", "unknown", "accuracy", "memory", "latency", "budget")
POLL_S = 30.0
"""A queue is looked at this often while nothing runs."""
ROOM = 1.25
"""Where no bound is asked for, replicas are added until waiting adds at most a quarter to an answer."""


@dataclass(frozen=True)
class Rejection:
    """The check that decided, the number that decided it, and by how much it was missed."""

    reason: str
    words: str
    miss: float = math.inf
    """What was there relative to what was asked, above 1; infinite where no number says."""

    @property
    def reached(self) -> int:
        """How far it came."""
        return REASONS.index(self.reason)


@dataclass(frozen=True)
class Plan:
    """A candidate that meets the requirement, with what it takes."""

    candidate: Candidate
    replicas: int
    """In the busiest hour."""
    replicas_min: int
    """That never go away."""
    p95_ms: float
    """The percentile that was asked for, in the busiest hour, wait included."""
    low_ms: float
    high_ms: float
    """Its interval; the upper end is infinite where the slower machine could not keep up."""
    lines: tuple[Line, ...]
    rate_per_s: float
    bound_ms: float

    @cached_property
    def usd(self) -> float:
        """A month."""
        return total(self.lines)

    @property
    def usd_per_thousand(self) -> float:
        """For 1,000 requests."""
        return self.usd / (self.rate_per_s * 730 * 3.6)

    @property
    def is_sure(self) -> bool:
        """Whether the upper end of the interval keeps the bound as well."""
        return self.high_ms <= self.bound_ms


@dataclass(frozen=True)
class Option:
    """A hosting with its plan, or without one and why."""

    hosting: Hosting
    plan: Plan | None
    rejection: Rejection | None
    plans: tuple[Plan, ...] = ()
    """Every candidate that meets the requirement there."""


def option(hosting: Hosting, requirement: Requirement, evidence: Evidence, prices: Prices) -> Option:
    """The cheapest candidate that meets the requirement (of equal ones the most accurate, then the fastest)."""
    if refused := _platform(hosting, requirement):
        return Option(hosting, None, refused)
    try:
        found = candidates(hosting, requirement.model, evidence)
    except UnknownTime as error:
        return Option(hosting, None, Rejection("unknown", str(error)))
    outcomes = [outcome(candidate, requirement, evidence, prices) for candidate in found]
    plans = tuple(one for one in outcomes if isinstance(one, Plan))
    if not plans:
        refusals = [one for one in outcomes if isinstance(one, Rejection)]
        return Option(hosting, None, min(refusals, key=lambda refused: (-refused.reached, refused.miss)))
    return Option(hosting, min(plans, key=_preference), None, plans)


def _preference(plan: Plan) -> tuple[float, float, float]:
    return round(plan.usd, 2), -plan.candidate.goodness, plan.p95_ms


def _platform(hosting: Hosting, requirement: Requirement) -> Rejection | None:
    """What the platform or this project's tier there rules out whatever the model."""
    if requirement.region and hosting.regions and requirement.region not in hosting.regions:
        return Rejection("region", f"not offered in {requirement.region}")
    if requirement.background and not hosting.jobs:
        return Rejection("wall", "takes no background jobs")
    if requirement.body_mib and hosting.body_mib_max and requirement.body_mib > hosting.body_mib_max:
        words = f"a request may have {hosting.body_mib_max:g} MiB, not {requirement.body_mib:g}"
        return Rejection("wall", words, requirement.body_mib / hosting.body_mib_max)
    if requirement.vnet and not hosting.network:
        return Rejection("network", hosting.network_why)
    return None


def outcome(candidate: Candidate, requirement: Requirement, evidence: Evidence, prices: Prices) -> Plan | Rejection:
    """The plan of one candidate, or the first check that it fails."""
    if refused := _walls(candidate, evidence) or _accuracy(candidate, requirement, evidence) or _memory(candidate):
        return refused
    bound_ms = _bound_ms(candidate, requirement)
    alone_ms = candidate.service_quantile_ms(requirement.percentile)
    if alone_ms > bound_ms:
        return _too_slow(candidate, requirement, alone_ms, bound_ms)
    plans = [
        plan
        for kept in ([0, 1] if candidate.hosting.scales_to_zero else [1])
        if (plan := _planned(candidate, requirement, prices, kept)) is not None
    ]
    if not plans:
        return _never(candidate, requirement)
    best = min(plans, key=lambda plan: plan.usd)
    budget = requirement.budget_usd
    if budget is not None and best.usd > budget:
        words = f"{best.usd:,.0f} USD a month instead of {budget:,.0f}"
        return Rejection("budget", words, best.usd / budget if budget else math.inf)
    return best


def _walls(candidate: Candidate, evidence: Evidence) -> Rejection | None:
    hosting = candidate.hosting
    kind = "rows" if candidate.scale is None else "pictures"
    if kind not in hosting.takes:
        return Rejection("wall", f"the {hosting.tier} tier takes {' and '.join(hosting.takes)}, not {kind}")
    weights_mib = evidence.weights_mib.get(candidate.model)
    if weights_mib and hosting.package_mib_max and weights_mib > hosting.package_mib_max:
        words = f"the model has {weights_mib:.0f} MiB, a package at most {hosting.package_mib_max:g}"
        return Rejection("wall", words, weights_mib / hosting.package_mib_max)
    return None


def _accuracy(candidate: Candidate, requirement: Requirement, evidence: Evidence) -> Rejection | None:
    if requirement.accuracy_min is None:
        return None
    if candidate.accuracy is None:
        words = f"the accuracy of {candidate.named()} was not measured: give `tiers measure` a labelled set"
        if evidence.is_stale(candidate):
            again = f"`tiers measure {candidate.model}` again"
            words = f"the accuracy of {candidate.named()} was measured with another file of the model: {again}"
        return Rejection("unknown", words)
    if candidate.accuracy < requirement.accuracy_min:
        words = f"{candidate.named()} reaches {candidate.accuracy:.3g} instead of {requirement.accuracy_min:g}"
        return Rejection("accuracy", words, requirement.accuracy_min / max(candidate.accuracy, 1e-9))
    return None


def _memory(candidate: Candidate) -> Rejection | None:
    needed, there = candidate.memory_mib, candidate.hosting.memory_mib
    if needed is None or needed <= there:
        return None
    return Rejection("memory", f"{candidate.named()} needs {needed:.0f} MiB, there are {there:.0f}", needed / there)


def _bound_ms(candidate: Candidate, requirement: Requirement) -> float:
    """What was asked for, or the platform's wall where a person waits and the wall comes first."""
    wall_s = candidate.hosting.response_s_max
    if requirement.background or wall_s is None:
        return requirement.bound_ms
    return min(requirement.bound_ms, wall_s * 1000)


def _too_slow(candidate: Candidate, requirement: Requirement, alone_ms: float, bound_ms: float) -> Rejection:
    took = f"{candidate.named()} takes {time_words(alone_ms)}"
    if bound_ms < requirement.bound_ms:
        return Rejection("wall", f"{took}, the platform ends a request at {time_words(bound_ms)}", alone_ms / bound_ms)
    return Rejection("latency", f"{took} instead of {time_words(bound_ms)}", alone_ms / bound_ms)


def _never(candidate: Candidate, requirement: Requirement) -> Rejection:
    """No number of replicas will do though one answer alone is in time: with one kept, only their limit is left."""
    load = f"{requirement.peak_per_s * 3600:,.6g} requests an hour at the peak"
    words = f"{load} need more than {candidate.hosting.replicas_max} of it with {candidate.named()}"
    return Rejection("wall", words)


def _planned(candidate: Candidate, requirement: Requirement, prices: Prices, kept: int) -> Plan | None:
    """With `kept` replicas that never go away; None where that cannot keep the bound."""
    hosting, percentile = candidate.hosting, requirement.percentile
    bound_ms = _bound_ms(candidate, requirement)
    reserve_ms = 0.0
    if kept == 0 and not requirement.cold_starts:  # the first answer after a quiet time counts like any other
        reserve_ms = (hosting.start_s + (POLL_S if requirement.background else 0.0)) * 1000
    usual = _replicas(candidate, requirement.rate_per_s, bound_ms - reserve_ms, percentile)
    peak = _replicas(candidate, requirement.peak_per_s, bound_ms - reserve_ms, percentile)
    if usual is None or peak is None:
        return None
    busy_s = sum(candidate.service_ms) / len(candidate.service_ms) / 1000
    use = Use(requirement.rate_per_s, busy_s, candidate.slots, usual, peak, kept)
    low, middle, high = (
        reserve_ms + response_ms(candidate, requirement.peak_per_s, peak, percentile, factor)
        for factor in (candidate.low, 1.0, candidate.high)
    )
    lines = tuple(month(hosting, use, prices, vnet=requirement.vnet))
    return Plan(candidate, peak, kept, middle, low, high, lines, requirement.rate_per_s, bound_ms)


def response_ms(
    candidate: Candidate, rate_per_s: float, replicas: int, percentile: float, factor: float = 1.0
) -> float:
    """The percentile of an answer with its wait; `factor` on the time that each takes.

    The busier the other slots of a replica are, the longer an answer takes, up to the measured contention.
    """
    times_ms = crowded_ms(candidate, rate_per_s, replicas, factor)
    return answer_ms(times_ms, rate_per_s, replicas * candidate.slots, percentile)


def crowded_ms(candidate: Candidate, rate_per_s: float, replicas: int, factor: float = 1.0) -> list[float]:
    """Equally likely times of one answer without its wait, beside as many others as that rate brings."""
    mean_s = sum(candidate.service_ms) / len(candidate.service_ms) / 1000 * factor
    share = min(1.0, rate_per_s * mean_s / (replicas * candidate.slots))
    slower = factor * (1 + (candidate.contention - 1) * share)
    return [time_ms * slower for time_ms in candidate.service_ms]


def _replicas(candidate: Candidate, rate_per_s: float, bound_ms: float, percentile: float) -> int | None:
    """The fewest replicas that keep the bound, None where the hosting has not that many."""
    alone_ms = candidate.service_quantile_ms(percentile)
    if alone_ms > bound_ms:
        return None
    enough_ms = min(bound_ms, ROOM * alone_ms) if math.isinf(bound_ms) else bound_ms
    return fewest(
        lambda replicas: response_ms(candidate, rate_per_s, replicas, percentile) <= enough_ms,
        candidate.hosting.replicas_max,
    )
