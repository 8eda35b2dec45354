"""What a hosting costs a month: its meters by the load, the free grants, and what the network around it costs at rest.

More load never costs less, and a dearer price never makes anything cheaper: every term rises with both.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

from tier_planner.hosting import Hosting
from tier_planner.prices import Prices

HOURS_A_MONTH = 730
DAYS_A_MONTH = HOURS_A_MONTH / 24
MONTH_S = HOURS_A_MONTH * 3600
MIB_A_GB = 1024
LEAST_ACTIVE_S = 1.0
"""An instance of the function tier that wakes for one request is charged for a second at least."""
ENDPOINTS = {"function": 2, "container": 2, "registry": 1}
"""Private endpoints: blob and site; blob and queue; registry."""
ZONES = 4


@dataclass(frozen=True)
class Line:
    """One line of a bill."""

    what: str
    usd: float


@dataclass(frozen=True)
class Use:
    """What a month asks of a hosting."""

    rate_per_s: float
    """Average over the month."""
    service_s: float
    """Mean time of one answer."""
    slots: int
    replicas: int
    """That the average load needs."""
    replicas_peak: int
    """That the busiest hour needs."""
    kept: int
    """Replicas that never go away."""


def month(hosting: Hosting, use: Use, prices: Prices, *, vnet: bool) -> list[Line]:
    """The bill of a month, with what is paid at rest."""
    around = at_rest([hosting.tier], prices, vnet=vnet)
    match hosting.billing:
        case "function":
            return _function(hosting, use, prices) + around
        case "replica":
            return _replicas(hosting, use, prices) + around
        case "node":
            return _nodes(hosting, use, prices) + around
        case "machine":
            return _machines(hosting, use, prices) + around
        case _:
            return around


def total(lines: Collection[Line]) -> float:
    """USD of all lines."""
    return sum(line.usd for line in lines)


def at_rest(tiers: Collection[str], prices: Prices, *, vnet: bool) -> list[Line]:
    """What is paid around the tiers in a month without a request: registry, private endpoints, names, the way out."""
    containers = bool({"container", "container-gpu"} & set(tiers))
    private = vnet and bool(set(tiers) - {"client"})
    lines = []
    if containers or "gpu" in tiers:
        registry = prices["registry-premium"].usd if vnet else prices["registry-basic"].usd * DAYS_A_MONTH
        lines.append(Line(f"registry, {'Premium' if vnet else 'Basic'}", registry))
    if private:
        count = (
            ENDPOINTS["function"] * ("function" in tiers)
            + ENDPOINTS["container"] * containers
            + ENDPOINTS["registry"] * bool(lines)
        )
        zones = ZONES + containers  # an internal environment's own domain
        lines.append(Line(f"{count} private endpoints", count * prices["private-endpoint"].usd * HOURS_A_MONTH))
        lines.append(Line(f"{zones} private DNS zones", zones * prices["private-dns-zone"].usd))
    if private or "gpu" in tiers:
        lines.append(Line("NAT gateway", prices["nat-gateway"].usd))
    return lines


def rows_of(hosting: Hosting, *, vnet: bool) -> list[str]:
    """The rows of prices.toml that its bill stands on."""
    rows = list(hosting.prices.values())
    if hosting.tier in ("container", "container-gpu", "gpu"):
        rows.append("registry-premium" if vnet else "registry-basic")
    if vnet and hosting.tier != "client":
        rows += ["private-endpoint", "private-dns-zone"]
    if hosting.tier == "gpu" or (vnet and hosting.tier != "client"):
        rows.append("nat-gateway")
    return rows


def _function(hosting: Hosting, use: Use, prices: Prices) -> list[Line]:
    gb = hosting.memory_mib / MIB_A_GB
    # Each call keeps its instance active for a second at least; calls that meet on one instance share that second.
    each = use.rate_per_s * max(LEAST_ACTIVE_S, use.service_s)
    active = max(use.rate_per_s * use.service_s, use.replicas * -math.expm1(-each / use.replicas))
    ready = min(active, use.kept)
    request = prices[hosting.prices["request"]]
    lines = [
        *_line("execution", prices, hosting.prices["execution"], (active - ready) * gb * MONTH_S),
        Line("requests", max(0.0, use.rate_per_s * MONTH_S / 1e6 - (0 if use.kept else request.free)) * request.usd),
    ]
    if use.kept:
        lines += _line("always ready", prices, hosting.prices["ready"], use.kept * gb * MONTH_S)
        lines += _line("its execution", prices, hosting.prices["ready_execution"], ready * gb * MONTH_S)
    return lines


def _replicas(hosting: Hosting, use: Use, prices: Prices) -> list[Line]:
    """Those kept are idle between answers; the others are active from their start to the end of the cool-down."""
    busy = min(1.0, use.rate_per_s * use.service_s)
    up = -math.expm1(-use.rate_per_s * (hosting.keeps_s + use.service_s))
    active = use.kept * busy + max(0, use.replicas - use.kept) * up
    idle = use.kept * (1 - busy)
    gib = hosting.memory_mib / 1024
    vcpu_s = active * hosting.cores * MONTH_S
    # The grant is of vCPU-seconds, whatever they are: what the active ones leave of it covers idle ones.
    left = max(0.0, prices[hosting.prices["vcpu"]].free - vcpu_s)
    lines = [
        *_line("vCPU active", prices, hosting.prices["vcpu"], vcpu_s),
        *_line("vCPU idle", prices, hosting.prices["vcpu_idle"], max(0.0, idle * hosting.cores * MONTH_S - left)),
        *_line("memory", prices, hosting.prices["memory"], (active + idle) * gib * MONTH_S),
        *_line("requests", prices, hosting.prices["request"], use.rate_per_s * MONTH_S / 1e6),
    ]
    if "gpu" in hosting.prices:
        lines += _line("GPU", prices, hosting.prices["gpu"], (active + idle) * MONTH_S)
    return lines


def _nodes(hosting: Hosting, use: Use, prices: Prices) -> list[Line]:
    hours = use.replicas_peak * HOURS_A_MONTH
    return [
        *_line("dedicated plan", prices, hosting.prices["plan"], HOURS_A_MONTH),
        *_line("node vCPU", prices, hosting.prices["vcpu"], hours * hosting.cores),
        *_line("node memory", prices, hosting.prices["memory"], hours * hosting.memory_mib / 1024),
    ]


def _machines(hosting: Hosting, use: Use, prices: Prices) -> list[Line]:
    """A new machine takes minutes: what the busiest hour needs is there all month."""
    what = f"{use.replicas_peak} machine{'s' * (use.replicas_peak > 1)}"
    return _line(what, prices, hosting.prices["machine"], use.replicas_peak * HOURS_A_MONTH)


def _line(what: str, prices: Prices, row: str, units: float) -> list[Line]:
    """What is left of `units` after the free grant, priced; nothing where nothing is left."""
    price = prices[row]
    usd = max(0.0, units - price.free) * price.usd
    return [Line(what, usd)] if usd else []
