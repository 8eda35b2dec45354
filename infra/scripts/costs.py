"""What an environment costs: a month with no request, and a thousand requests. Computed from prices.toml and slo.toml.

Free monthly grants are left out, so are storage, logs, alert rules, disks, load balancer and data transfer: small, or
yours to decide.
"""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tier_planner.objectives import Objectives

Prices = Mapping[str, float]

HOURS_A_MONTH = 730
DAYS_A_MONTH = HOURS_A_MONTH / 24
FUNCTION_GB = 2
CONTAINER_VCPU, CONTAINER_GIB = 2, 4
T4_VCPU, T4_GIB = 8, 56
LEAST_ACTIVE_S = 1
"""An instance of the function tier that wakes for one request is charged for a second at least."""
COOLDOWN_S = 300
"""A replica stays this long after its last request, and is charged as active while it is above the least count."""
ENDPOINTS = {"function": 2, "container": 2, "registry": 1}
"""Private endpoints: blob and site; blob and queue; registry."""
ZONES = 4


@dataclass(frozen=True)
class Line:
    """One line of a bill."""

    what: str
    usd: float


def read_prices(path: Path) -> dict[str, float]:
    """The price of each row. Raises ValueError naming a row that lacks its unit, region, date or source."""
    rows = tomllib.loads(path.read_text(encoding="utf-8"))
    for name, row in rows.items():
        if missing := {"usd", "unit", "region", "date", "source"} - set(row):
            raise ValueError(f"{path}: [{name}] lacks {', '.join(sorted(missing))}")
    return {name: float(row["usd"]) for name, row in rows.items()}


def idle_month(prices: Prices, tiers: Collection[str], *, private: bool) -> list[Line]:
    """What is paid in a month without a request; one GPU machine stays on."""
    containers = bool({"container", "container-gpu"} & set(tiers))
    lines = []
    if containers or "gpu" in tiers:
        registry = prices["registry-premium"] if private else prices["registry-basic"] * DAYS_A_MONTH
        lines.append(Line(f"registry, {'Premium' if private else 'Basic'}", registry))
    if private:
        count = (
            ENDPOINTS["function"] * ("function" in tiers)
            + ENDPOINTS["container"] * containers
            + ENDPOINTS["registry"] * bool(lines)
        )
        zones = ZONES + containers  # an internal environment's own domain
        lines.append(Line(f"{count} private endpoints", count * prices["private-endpoint"] * HOURS_A_MONTH))
        lines.append(Line(f"{zones} private DNS zones", zones * prices["private-dns-zone"]))
    if private or "gpu" in tiers:
        lines.append(Line("NAT gateway", prices["nat-gateway"]))
    if "gpu" in tiers:
        lines.append(Line("one NC4as_T4_v3, always on", prices["vm-nc4as-t4-v3"] * HOURS_A_MONTH))
    return lines


def thousand_requests(prices: Prices, objectives: Objectives) -> list[Line]:
    """A thousand requests at each tier's offered rate, one instance, and far apart where the tier sleeps between."""
    gb_s = FUNCTION_GB * prices["functions-flex-execution"]
    function_requests = prices["functions-flex-request"] / 1000
    replica_s = CONTAINER_VCPU * prices["container-apps-vcpu"] + CONTAINER_GIB * prices["container-apps-memory"]
    container_requests = prices["container-apps-request"] / 1000
    t4_s = (
        prices["container-apps-gpu-t4"]
        + T4_VCPU * prices["container-apps-vcpu"]
        + T4_GIB * prices["container-apps-memory"]
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
            f"GPU machine NC4as_T4_v3, {rate['gpu']:g} a second", 1000 / rate["gpu"] * prices["vm-nc4as-t4-v3"] / 3600
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
