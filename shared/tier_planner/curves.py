"""Cost over load, and the break-even points between hostings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tier_planner.candidates import Evidence
from tier_planner.options import Option, Plan, outcome
from tier_planner.prices import Prices
from tier_planner.requirement import Requirement

SPAN = 30.0
"""The curve goes from a thirtieth of the load that was asked for to thirty times it."""
STEPS = 31
LINES_MAX = 6
HALVINGS = 12


@dataclass(frozen=True)
class Curve:
    """What one option's choice costs a month; a load that it cannot carry is left out."""

    option: Option
    points: tuple[tuple[float, float], ...]
    """Requests an hour, USD a month."""


@dataclass(frozen=True)
class BreakEven:
    """The load at which the order of two options by cost turns."""

    below: Option
    """The cheaper of the two below it."""
    above: Option
    per_hour: float
    usd: float

    def words(self) -> str:
        """In a line."""
        return (
            f"{self.below.hosting.title} is cheaper below about {load_words(self.per_hour)} requests an hour, "
            f"{self.above.hosting.title} above"
        )


def load_words(per_hour: float) -> str:
    """Two or three figures, without an exponent."""
    return f"{per_hour:,.0f}" if per_hour >= 100 else f"{per_hour:.2g}"


def charted(options: Sequence[Option]) -> list[Option]:
    """The options worth a line: the recommended one, the cheapest of every other kind, then the next in rank."""
    fitting = [one for one in options if one.plan]
    kinds: dict[tuple[int, str, str | None], Option] = {}
    for one in sorted(fitting, key=_usd):
        kinds.setdefault((one.hosting.managed, one.hosting.billing, one.hosting.gpu), one)
    first = [*fitting[:1], *sorted(kinds.values(), key=fitting.index), *fitting]
    return list({one.hosting.name: one for one in first}.values())[:LINES_MAX]


def curves(options: Sequence[Option], requirement: Requirement, prices: Prices) -> list[Curve]:
    """One curve for each of `options` that has a plan."""
    asked = requirement.rate_per_s
    rates = [asked * SPAN ** (2 * step / (STEPS - 1) - 1) for step in range(STEPS)]
    found = []
    for one in options:
        costs = [(rate, usd_at(one, requirement, prices, rate)) for rate in rates]
        points = tuple((rate * 3600, usd) for rate, usd in costs if usd is not None)
        found.append(Curve(one, points))
    return found


def usd_at(one: Option, requirement: Requirement, prices: Prices, rate_per_s: float) -> float | None:
    """A month of the option's own choice at another load; None where it cannot carry that."""
    if one.plan is None:
        return None
    asked = replace(requirement, rate_per_s=rate_per_s, budget_usd=None, accuracy_min=None)
    planned = outcome(one.plan.candidate, asked, Evidence(()), prices)
    return planned.usd if isinstance(planned, Plan) else None


def break_evens(options: Sequence[Option], requirement: Requirement, prices: Prices) -> list[BreakEven]:
    """Where the first of `options` and each other one cost the same, within the span of the curves."""
    if len(options) < 2:
        return []
    first, *others = curves(options, requirement, prices)
    found = []
    for other in others:
        usd = dict(other.points)
        both = [(load, mine - usd[load]) for load, mine in first.points if load in usd]
        for (load, gap), (next_load, next_gap) in pairwise(both):
            if gap * next_gap < 0:
                found.append(_refined(first.option, other.option, requirement, prices, (load, next_load)))
    return sorted(found, key=lambda one: one.per_hour)


def _refined(
    first: Option, other: Option, requirement: Requirement, prices: Prices, between: tuple[float, float]
) -> BreakEven:
    low, high = between
    first_is_cheaper = _gap(first, other, requirement, prices, low) < 0
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        if (_gap(first, other, requirement, prices, middle) < 0) == first_is_cheaper:
            low = middle
        else:
            high = middle
    usd = usd_at(first, requirement, prices, high / 3600) or 0.0
    below, above = (first, other) if first_is_cheaper else (other, first)
    return BreakEven(below, above, high, usd)


def _gap(first: Option, other: Option, requirement: Requirement, prices: Prices, per_hour: float) -> float:
    mine, theirs = (usd_at(one, requirement, prices, per_hour / 3600) for one in (first, other))
    return (math.inf if mine is None else mine) - (math.inf if theirs is None else theirs)


def _usd(one: Option) -> float:
    return one.plan.usd if one.plan else math.inf
