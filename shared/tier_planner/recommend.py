"""The decision: every hosting judged, the most managed that fits recommended, the cheapest on a tie; with reasons."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

from tier_planner.candidates import CLAIMED, Candidate, Evidence
from tier_planner.cost import rows_of
from tier_planner.hosting import Hosting
from tier_planner.known import is_asked
from tier_planner.measurements import SMALLER_IS_BETTER
from tier_planner.options import Option, Plan, option
from tier_planner.prices import Prices
from tier_planner.requirement import Requirement, time_words
from tier_planner.tables import TableError


@dataclass(frozen=True)
class Miss:
    """The least that would have to be given up on one side."""

    side: str
    """accuracy, latency, budget or network."""
    words: str


@dataclass(frozen=True)
class Recommendation:
    """The answer to a requirement."""

    requirement: Requirement
    options: tuple[Option, ...]
    """Those that fit first: by managed level, then by cost; then the rejected ones, by how far they came."""
    cheaper: Option | None
    """The cheapest that fits, where it is less managed and costs less than the recommended one."""
    misses: tuple[Miss, ...]
    """Where nothing fits."""
    cautions: tuple[str, ...]
    """What the answer stands on and should be looked at: old prices, prices of another region, wide intervals."""

    @property
    def chosen(self) -> Option | None:
        """The recommended option; None where nothing fits."""
        return self.options[0] if self.options and self.options[0].plan else None


def recommend(
    requirement: Requirement, hostings: Sequence[Hosting], evidence: Evidence, prices: Prices, today: date
) -> Recommendation:
    """Judge every hosting.

    Raises TableError where no measurement knows the model, a claim names no hosting, or a least accuracy is asked for
    in a metric of errors.
    """
    evidence = replace(evidence, claims=requirement.claims)
    _check(requirement, hostings, evidence)
    options = tuple(sorted((option(one, requirement, evidence, prices) for one in hostings), key=rank))
    fitting = [one for one in options if one.plan]
    cheapest = min(fitting, key=_usd, default=None)
    chosen = fitting[0] if fitting else None
    saves = chosen and cheapest and _usd(chosen) - _usd(cheapest) >= 0.01
    return Recommendation(
        requirement,
        options,
        cheapest if saves else None,
        () if fitting else tuple(_misses(requirement, hostings, evidence, prices)),
        tuple(_cautions(requirement, fitting, evidence, prices, today)),
    )


def _check(requirement: Requirement, hostings: Sequence[Hosting], evidence: Evidence) -> None:
    points = [point for measurement in evidence.measurements for point in measurement.points]
    if not any(is_asked(point, requirement.model) for point in points):
        known = ", ".join(sorted({point.family for point in points})) or "none"
        mend = f"Run `tiers measure {requirement.model}` first."
        raise TableError(f"No measurement knows {requirement.model!r} (known: {known}). {mend}")
    metrics = {point.accuracy.metric for point in points if point.accuracy and is_asked(point, requirement.model)}
    if requirement.accuracy_min is not None and (errors := sorted(metrics & set(SMALLER_IS_BETTER))):
        why = f"{requirement.model} is judged by {errors[0]}, of which less is better"
        raise TableError(f"min-accuracy: {why}. Leave it out, and name the model, not the family, that is to run.")
    names = {hosting.name for hosting in hostings}
    if unknown := [claim.hosting for claim in requirement.claims if claim.hosting not in names]:
        raise TableError(f"measured.hosting = {unknown[0]!r}: must be one of {', '.join(sorted(names))}")


def rank(one: Option) -> tuple[float, ...]:
    """Smaller is better."""
    if one.plan:
        return 0, -one.hosting.managed, one.plan.usd, one.plan.p95_ms
    assert one.rejection is not None
    return 1, -one.rejection.reached, one.rejection.miss, -one.hosting.managed


def _usd(one: Option) -> float:
    return one.plan.usd if one.plan else math.inf


def _misses(requirement: Requirement, hostings: Sequence[Hosting], evidence: Evidence, prices: Prices) -> list[Miss]:
    """For each side the least concession that alone makes something fit."""
    loosened: list[tuple[str, Requirement, Callable[[Plan], float]]] = [
        ("accuracy", replace(requirement, accuracy_min=None), lambda plan: -plan.candidate.goodness),
        ("latency", replace(requirement, bound_ms=math.inf), lambda plan: plan.p95_ms),
        ("budget", replace(requirement, budget_usd=None), lambda plan: plan.usd),
        ("network", replace(requirement, vnet=False), lambda plan: plan.usd),
        ("region", replace(requirement, region=None), lambda plan: plan.usd),
    ]
    misses = []
    for side, asked, cost in loosened:
        if asked == requirement:
            continue
        plans = [plan for hosting in hostings for plan in option(hosting, asked, evidence, prices).plans]
        if plans:
            best = min(plans, key=lambda plan: (cost(plan), plan.usd))
            misses.append(Miss(side, _concession(side, requirement, best)))
    return misses


def _concession(side: str, asked: Requirement, plan: Plan) -> str:
    what = f"{plan.candidate.hosting.title} with {plan.candidate.named()}"
    bound, accuracy = time_words(asked.bound_ms), f"{asked.accuracy_min:g}" if asked.accuracy_min is not None else ""
    match side:
        case "accuracy":
            reached = plan.candidate.accuracy
            there = "an unknown accuracy" if reached is None else f"{reached:.3g}"
            return f"at {there} instead of {accuracy}, {what} meets {bound}"
        case "latency":
            keeps = f"keeps {accuracy}" if accuracy else "answers"
            return f"at {time_words(plan.p95_ms)} instead of {bound}, {what} {keeps}"
        case "budget":
            return f"at {plan.usd:,.0f} USD a month instead of {asked.budget_usd:,.0f}, {what} meets the rest"
        case "network":
            return f"outside a virtual network, {what} meets the rest"
        case _:
            return f"in another region than {asked.region}, {what} meets the rest"


def _cautions(
    requirement: Requirement, fitting: Sequence[Option], evidence: Evidence, prices: Prices, today: date
) -> list[str]:
    chosen = fitting[0] if fitting else None
    if chosen is None or chosen.plan is None:
        return []
    plan, cautions = chosen.plan, []
    rows = [prices[name] for name in rows_of(chosen.hosting, vnet=requirement.vnet)]
    if not plan.is_sure:
        slow = "could not keep up" if math.isinf(plan.high_ms) else f"would take {time_words(plan.high_ms)}"
        asked = f"{time_words(plan.bound_ms)} were asked for: load-test it there before you rely on it"
        cautions.append(f"At the slow end of the interval it {slow}, {asked}.{_surer(fitting)}")
    if plan.candidate.evidence == CLAIMED:
        cautions.append(f"Its time was {plan.candidate.why}.")
    cautions += _other_files(requirement.model, plan.candidate, evidence)
    if old := [f"{row.name} ({row.seen})" for row in rows if row.is_old(today)]:
        cautions.append(f"Old prices: {', '.join(old)}. `tiers prices refresh` reads them again.")
    if requirement.region and (other := sorted({row.region for row in rows} - {requirement.region})):
        cautions.append(f"Prices are of {', '.join(other)}: `tiers prices refresh --region {requirement.region}`.")
    if requirement.region and not chosen.hosting.regions:
        cautions.append(f"Whether {requirement.region} has it is not in the catalogue: look before you rely on it.")
    return cautions


def _other_files(asked: str, chosen: Candidate, evidence: Evidence) -> Iterator[str]:
    """A sentence for each model that was measured as another file alone, and for the chosen one where its time was."""
    points = [point for one in evidence.measurements for point in one.points if is_asked(point, asked)]
    fresh = {point.model for point in points if not evidence.is_stale(point)}
    models = {point.model for point in points} - fresh | ({chosen.model} if evidence.is_stale(chosen) else set())
    for model in sorted(models):
        unsure = "its times are an estimate" + ("" if model in fresh else ", its accuracy is unknown")
        yield f"{model} is another file than the one that was measured: {unsure} until `tiers measure {model}`."


def _surer(fitting: Sequence[Option]) -> str:
    """The best option whose whole interval keeps the bound."""
    for one in fitting:
        if one.plan and one.plan.is_sure:
            return f" {one.hosting.title} keeps it even there, for {one.plan.usd:,.0f} USD a month."
    return ""
