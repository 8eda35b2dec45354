"""What can be bought: `hosting.toml` read into frozen hostings. An error names the key and the bad value."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tier_planner.files import read_toml
from tier_planner.tables import Table, TableError

TIERS = ("client", "function", "container", "container-gpu", "gpu")
TAKES = ("rows", "pictures")
BILLINGS: Mapping[str, frozenset[str]] = {
    "none": frozenset(),
    "function": frozenset({"execution", "ready", "ready_execution", "request"}),
    "replica": frozenset({"vcpu", "vcpu_idle", "memory", "request"}),
    "node": frozenset({"plan", "vcpu", "memory"}),
    "machine": frozenset({"machine"}),
}
"""How a hosting is charged, and the price rows that this takes; a replica with a GPU also takes `gpu`."""
MANAGED_MAX = 5


@dataclass(frozen=True)
class Calibration:
    """How fast one core of a hosting ran the calibration kernel, where that was measured."""

    kernel: str
    gflops_per_core: float
    source: str


@dataclass(frozen=True)
class Hosting:
    """One purchasable option. A wall is None where none is known to bind."""

    name: str
    title: str
    tier: str
    managed: int
    """5 nothing to run, 1 a machine of one's own."""
    managed_why: str
    cores: float
    threads_max: int
    """Threads that one answer may use."""
    slots_max: int
    """Answers that one replica may compute at once."""
    memory_mib: float
    gpu: str | None
    size: str
    """What Azure calls the size; empty where cores and memory say it all."""
    takes: tuple[str, ...]
    jobs: bool
    """Whether this project's tier works background jobs off there."""
    network: bool
    """Whether it can live inside a virtual network."""
    network_why: str
    regions: tuple[str, ...]
    """Where it is offered; empty: nearly everywhere, look before you rely on it."""
    scales_to_zero: bool
    start_s: float
    """The longest start that is planned with when nothing was running."""
    start_why: str
    keeps_s: float
    """How long an idle replica stays and is charged, where replicas are."""
    replicas_max: int
    response_s_max: float | None
    body_mib_max: float | None
    package_mib_max: float | None
    billing: str
    prices: Mapping[str, str]
    """Role in the bill -> row of prices.toml."""
    core_speed: tuple[float, float, float]
    """Lowest, expected and highest speed of a core relative to one of the machine that measured."""
    core_speed_why: str
    calibration: Calibration | None
    predicted: bool
    """Whether a time may be predicted from another machine's at all."""
    source: str


def read_hostings(path: Path, price_names: Collection[str]) -> tuple[Hosting, ...]:
    """Every hosting in the order of the file. Raises TableError, also for a price that `price_names` has not."""
    document = read_toml(path)
    kinds, sizes = document.pop("kind", {}), document.pop("hosting", {})
    Table(str(path), document).finish()
    return tuple(_hosting(str(path), name, kinds, values, price_names) for name, values in sizes.items())


def _hosting(
    source: str, name: str, kinds: Mapping[str, object], values: Mapping[str, object], price_names: Collection[str]
) -> Hosting:
    size = dict(values)
    kind = kinds.get(str(size.pop("kind", "")))
    if not isinstance(kind, dict):
        raise TableError(f"{source}: hosting.{name}.kind: must be one of {', '.join(kinds)}")
    table = Table(source, {**kind, **size}, f"hosting.{name}")
    hosting = _taken(name, table)
    table.finish()
    wanted = BILLINGS[hosting.billing] | ({"gpu"} if hosting.gpu and hosting.billing == "replica" else set())
    if set(hosting.prices) != wanted:
        raise table.error("prices", dict(hosting.prices), f"must name {', '.join(sorted(wanted)) or 'nothing'}")
    if unknown := sorted(set(hosting.prices.values()) - set(price_names)):
        raise table.error("prices", unknown[0], "is no row of prices.toml")
    return hosting


def _taken(name: str, table: Table) -> Hosting:
    cores = table.number("cores", above=0)
    return Hosting(
        name=name,
        title=table.text("title"),
        tier=table.text("tier", choices=TIERS),
        managed=_managed(table),
        managed_why=table.text("managed_why"),
        cores=cores,
        threads_max=table.integer("threads_max", low=1) if table.has("threads_max") else max(1, int(cores)),
        slots_max=table.integer("slots_max", low=1) if table.has("slots_max") else max(1, int(cores)),
        memory_mib=table.number("memory_mib", above=0),
        gpu=table.text("gpu") if table.has("gpu") else None,
        size=table.text("size", ""),
        takes=table.texts("takes"),
        jobs=table.boolean("jobs"),
        network=table.boolean("network"),
        network_why=table.text("network_why", ""),
        regions=table.texts("regions") if table.has("regions") else (),
        scales_to_zero=table.boolean("scales_to_zero"),
        start_s=table.number("start_s", low=0),
        start_why=table.text("start_why", ""),
        keeps_s=table.number("keeps_s", low=0) if table.has("keeps_s") else 0.0,
        replicas_max=table.integer("replicas_max", low=1),
        response_s_max=_optional(table, "response_s_max"),
        body_mib_max=_optional(table, "body_mib_max"),
        package_mib_max=_optional(table, "package_mib_max"),
        billing=table.text("billing", choices=tuple(BILLINGS)),
        prices=_texts_by_name(table.table("prices")) if table.has("prices") else {},
        core_speed=_core_speed(table),
        core_speed_why=table.text("core_speed_why"),
        calibration=_calibration(table.table("calibration")) if table.has("calibration") else None,
        predicted=table.boolean("predicted", default=True),
        source=table.text("source"),
    )


def _managed(table: Table) -> int:
    if (managed := table.integer("managed", low=1)) > MANAGED_MAX:
        raise table.error("managed", managed, f"must be at most {MANAGED_MAX}")
    return managed


def _optional(table: Table, key: str) -> float | None:
    return table.number(key, above=0) if table.has(key) else None


def _texts_by_name(table: Table) -> dict[str, str]:
    return {name: table.text(name) for name in table.names()}


def _core_speed(table: Table) -> tuple[float, float, float]:
    match table.numbers("core_speed"):
        case (float(low), float(middle), float(high)) if 0 < low <= middle <= high:
            return low, middle, high
        case other:
            raise table.error("core_speed", list(other), "must be three ascending numbers above 0")


def _calibration(table: Table) -> Calibration:
    calibration = Calibration(table.text("kernel"), table.number("gflops_per_core", above=0), table.text("source"))
    table.finish()
    return calibration
