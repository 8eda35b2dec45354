"""The targets: `slo.toml` read into frozen objectives. An error names the key and the bad value."""

from dataclasses import dataclass, replace
from pathlib import Path

from tier_planner.files import read_toml
from tier_planner.tables import Table, TableError

TIERS = ("function", "container", "gpu")
WORKLOADS = ("tabular-row", "board-4k")
IMAGE_WORKLOADS = ("board-4k",)


@dataclass(frozen=True)
class Rules:
    """What a measurement must hold before its percentiles mean anything."""

    lag_share_max: float
    """The generator is saturated when its p99 lag passes this share of the bound (or the floor below)."""
    lag_floor_ms: float
    achieved_share_min: float
    """Least share of the scheduled arrivals answered by the end of the window plus one bound."""

    def lag_max_ms(self, bound_ms: float) -> float:
        """The largest p99 lag of a generator that still kept its own schedule."""
        return max(self.lag_floor_ms, self.lag_share_max * bound_ms)


@dataclass(frozen=True)
class Objective:
    """One target: this load on this tier, and the bound that its answers must keep."""

    name: str
    tier: str
    hosting: str
    """The purchasable option that the tier stands for."""
    workload: str
    model: str
    scale: float | None
    """Input side relative to the picture; None for rows."""
    rate_per_s: float
    """Poisson arrivals."""
    percentile: float
    bound_ms: float
    error_share_max: float
    patience_s: float
    """An arrival without an answer this long after it was due is an error."""
    warmup_s: float
    duration_s: float
    """The judged window, after the warm-up."""
    samples_min: int
    seed: int

    @property
    def target(self) -> str:
        """The target as people write it, such as `p95 <= 300 ms`."""
        return f"p{self.percentile:g} <= {self.bound_ms:g} ms"


@dataclass(frozen=True)
class Objectives:
    """Everything in `slo.toml`."""

    rules: Rules
    by_name: dict[str, Objective]

    def named(self, name: str) -> Objective:
        """The objective of that name. Raises TableError naming those there are."""
        if name not in self.by_name:
            raise TableError(f"objective {name!r} is not known; there are {', '.join(self.by_name)}")
        return self.by_name[name]

    def of_tier(self, tier: str) -> Objective:
        """The first objective of a tier, the one that the trial holds it to."""
        for objective in self.by_name.values():
            if objective.tier == tier:
                return objective
        raise TableError(f"no objective for tier {tier!r}")


def read_objectives(path: Path, *, short: bool = False) -> Objectives:
    """Read `slo.toml`, in its short form where asked. Raises TableError."""
    top = Table(str(path), read_toml(path))
    rules = _rules(top.table("rules"))
    named = top.table("objective")
    top.finish()
    return Objectives(rules, {name: _objective(name, named.table(name), short=short) for name in named.names()})


def _rules(table: Table) -> Rules:
    rules = Rules(
        lag_share_max=table.number("lag_share_max", above=0, high=1),
        lag_floor_ms=table.number("lag_floor_ms", low=0),
        achieved_share_min=table.number("achieved_share_min", above=0, high=1),
    )
    table.finish()
    return rules


def _objective(name: str, table: Table, *, short: bool) -> Objective:
    """The objective; where `short`, with its `short` table over it. Both forms are always checked."""
    over = table.table("short")
    full = objective_from(table, name)
    brief = replace(
        full,
        warmup_s=over.number("warmup_s", low=0),
        duration_s=over.number("duration_s", above=0),
        samples_min=over.integer("samples_min", low=1),
    )
    over.finish()
    for form, kind in ((full, "samples_min"), (brief, "short.samples_min")):
        _check_samples(table, form, kind)
    return brief if short else full


def _check_samples(table: Table, objective: Objective, key: str) -> None:
    expected = round(objective.rate_per_s * objective.duration_s)
    if objective.samples_min > expected:
        raise table.error(key, objective.samples_min, f"only {expected} arrivals are due in {objective.duration_s:g} s")


def objective_from(table: Table, name: str) -> Objective:
    """One objective from its table (of `slo.toml` or of a record)."""
    workload = table.text("workload", choices=WORKLOADS)
    pictured = workload in IMAGE_WORKLOADS
    objective = Objective(
        name=name,
        tier=table.text("tier", choices=TIERS),
        hosting=table.text("hosting"),
        workload=workload,
        model=table.text("model"),
        scale=table.number("scale", above=0, high=1) if pictured or table.has("scale") else None,
        rate_per_s=table.number("rate_per_s", above=0),
        percentile=table.number("percentile", above=0, high=100),
        bound_ms=table.number("bound_ms", above=0),
        error_share_max=table.number("error_share_max", low=0, high=1),
        patience_s=table.number("patience_s", above=0),
        warmup_s=table.number("warmup_s", low=0),
        duration_s=table.number("duration_s", above=0),
        samples_min=table.integer("samples_min", low=1),
        seed=table.integer("seed"),
    )
    table.finish()
    if objective.patience_s * 1000 < objective.bound_ms:
        raise table.error("patience_s", objective.patience_s, f"ends before the bound of {objective.bound_ms:g} ms")
    return objective
