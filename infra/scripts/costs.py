"""What an environment costs: a month with no request, and a thousand requests. Computed from prices.toml and slo.toml.

Free monthly grants are left out, so are storage, logs, alert rules, disks, load balancer and data transfer: small, or
yours to decide.
"""

from collections.abc import Collection

from tier_planner.cost import HOURS_A_MONTH, LEAST_ACTIVE_S, Line, at_rest
from tier_planner.objectives import Objectives
from tier_planner.prices import Prices

FUNCTION_GB = 2
CONTAINER_VCPU, CONTAINER_GIB = 2, 4
T4_VCPU, T4_GIB = 8, 56
COOLDOWN_S = 300
"""A replica stays this long after its last request, and is charged as active while it is above the least count."""


def idle_month(prices: Prices, tiers: Collection[str], *, private: bool) -> list[Line]:
    """What is paid in a month without a request; one GPU machine stays on."""
    lines = at_rest(tiers, prices, vnet=private)
    if "gpu" in tiers:
        lines.append(Line("one NC4as_T4_v3, always on", prices["vm-nc4as-t4-v3"].usd * HOURS_A_MONTH))
    return lines


def thousand_requests(prices: Prices, objectives: Objectives) -> list[Line]:
    """A thousand requests at each tier's offered rate, one instance, and far apart where the tier sleeps between."""
    gb_s = FUNCTION_GB * prices["functions-flex-execution"].usd
    function_requests = prices["functions-flex-request"].usd / 1000
    replica_s = CONTAINER_VCPU * prices["container-apps-vcpu"].usd + CONTAINER_GIB * prices["container-apps-memory"].usd
    container_requests = prices["container-apps-request"].usd / 1000
    t4_s = (
        prices["container-apps-gpu-t4"].usd
        + T4_VCPU * prices["container-apps-vcpu"].usd
        + T4_GIB * prices["container-apps-memory"].usd
    )
    rate = {tier: objectives.of_tier(tier).rate_per_s for tier in ("function", "container", "gpu")}
    alone_s = objectives.of_tier("container").bound_ms / 1000 + COOLDOWN_S
    return [
        Line(f"function, {rate['function']:g} a second", 1000 / rate["function"] * gb_s + function_requests),
        Line("function, each alone", 1000 * LEAST_ACTIVE_S * gb_s + function_requests),
        Line(f"container, {rate['container']:g} a second", 1000 / rate["container"] * replica_s + container_requests),
        Line("container, each alone", 1000 * alone_s * replica_s + container_requests),
        Line(f"serverless T4, {rate['gpu']:g} a second", 1000 / rate["gpu"] * t4_s + container_requests),
        Line(
            f"GPU machine NC4as_T4_v3, {rate['gpu']:g} a second",
            1000 / rate["gpu"] * prices["vm-nc4as-t4-v3"].usd / 3600,
        ),
    ]


def tables(prices: Prices, objectives: Objectives) -> str:
    """Both tables as README.md shows them."""
    lines = ["| deployed | public, USD a month | private, USD a month |", "|---|---|---|"]
    for tiers in (("function",), ("container",), ("function", "container"), ("gpu",), ("function", "container", "gpu")):
        sums = [sum(line.usd for line in idle_month(prices, tiers, private=private)) for private in (False, True)]
        lines.append(f"| {', '.join(tiers)} | {sums[0]:.0f} | {sums[1]:.0f} |")
    lines += ["", "| requests | USD for 1,000 |", "|---|---|"]
    lines += [f"| {line.what} | {line.usd:.4f} |" for line in thousand_requests(prices, objectives)]
    return "\n".join(lines)
