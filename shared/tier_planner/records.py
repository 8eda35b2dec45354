"""What a measurement wrote: what ran, on what machine, every raw sample, the verdict. One JSON file a measurement."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tier_planner.files import read_json, write_json
from tier_planner.objectives import TIERS, Objective, objective_from
from tier_planner.tables import Table

SCHEMA = 1
"""Raised when a reader of the old form would misread the new one."""

DEVICES = ("cpu", "cuda", "cpu-stand-in")
OUTCOMES = ("PASS", "FAIL", "NOT JUDGED")
PASS, FAIL, NOT_JUDGED = OUTCOMES


@dataclass(frozen=True)
class Ran:
    """What was measured."""

    tier: str
    hosting: str
    device: str
    """What computed, as the tier itself says: cpu, cuda, or a CPU standing in for a GPU."""
    model: str
    variant: str
    scale: float | None
    threads: int | None
    """Threads of one run, where the tier says so."""
    commit: str
    """Git commit, with `+` where the tree held changes; empty outside a repository."""
    slots: int | None = None
    """Answers that it computed at once, where the tier says so; None in records that are older than this field."""
    cores: int | None = None
    """Cores that were the tier's own, likewise."""


@dataclass(frozen=True)
class Machine:
    """The machine that the tier ran on; known only when it is the one that loaded it."""

    cpu: str
    cores_visible: int
    quota_cores: float | None
    """CPU quota of the control group; None where there is none."""
    memory_mib: int | None
    system: str
    versions: Mapping[str, str]
    gpu: str | None = None
    """Name and driver of the GPU; None where there is none."""


@dataclass(frozen=True)
class Sample:
    """One arrival of the judged window."""

    due_s: float
    """When it was due, from the start of the window."""
    lag_ms: float
    """Sent minus due: how late the generator was."""
    latency_ms: float | None
    """Due to last byte of the reply; None when no reply came."""
    status: int
    """HTTP status; 0 when no reply came."""
    error: str
    """Empty for a prediction, otherwise what came instead of one."""
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    """Time of each stage inside the tier, from the reply."""


@dataclass(frozen=True)
class Figures:
    """What the samples add up to. A percentile is None when it falls on a failed arrival (it was never answered)."""

    arrivals: int
    answered: int
    """Arrivals that got a prediction."""
    error_share: float
    offered_rate_per_s: float
    achieved_rate_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    judged_ms: float | None
    """The percentile that the objective names."""
    lag_p99_ms: float


@dataclass(frozen=True)
class Verdict:
    """PASS, FAIL or NOT JUDGED, and why."""

    outcome: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """One measurement."""

    written_at: str
    """UTC, ISO 8601."""
    ran: Ran
    machine: Machine | None
    objective: Objective
    figures: Figures
    verdict: Verdict
    samples: tuple[Sample, ...]


def write_record(path: Path, record: Record) -> None:
    """Write one record whole or not at all; sample times are rounded to 0.01 ms."""
    document = {"schema": SCHEMA, **asdict(record), "samples": _columns(record.samples)}
    document["figures"] = {name: _rounded(value, 4) for name, value in asdict(record.figures).items()}
    write_json(path, document)


def read_record(path: Path) -> Record:
    """Read one record. Raises TableError naming the file, the key and the bad value."""
    return _record(Table(str(path), read_json(path)))


def _record(top: Table) -> Record:
    if (schema := top.integer("schema")) != SCHEMA:
        raise top.error("schema", schema, f"only {SCHEMA} is read here")
    objective = top.table("objective")
    record = Record(
        written_at=top.text("written_at"),
        ran=_ran(top.table("ran")),
        machine=machine_from(top.table("machine")) if top.has("machine") else None,
        objective=objective_from(objective, objective.text("name")),
        figures=_figures(top.table("figures")),
        verdict=_verdict(top.table("verdict")),
        samples=_samples(top.table("samples")),
    )
    top.finish()
    return record


def _ran(table: Table) -> Ran:
    ran = Ran(
        tier=table.text("tier", choices=TIERS),
        hosting=table.text("hosting"),
        device=table.text("device", choices=DEVICES),
        model=table.text("model"),
        variant=table.text("variant"),
        scale=table.number("scale", above=0) if table.has("scale") else None,
        threads=_count(table, "threads"),
        commit=table.text("commit"),
        slots=_count(table, "slots"),
        cores=_count(table, "cores"),
    )
    table.finish()
    return ran


def _count(table: Table, key: str) -> int | None:
    return table.integer(key, low=1) if table.has(key) else None


def machine_from(table: Table) -> Machine:
    """A machine from its table (of a record or of a measurement)."""
    versions = table.table("versions")
    machine = Machine(
        cpu=table.text("cpu"),
        cores_visible=table.integer("cores_visible", low=1),
        quota_cores=table.number("quota_cores", above=0) if table.has("quota_cores") else None,
        memory_mib=table.integer("memory_mib") if table.has("memory_mib") else None,
        system=table.text("system"),
        versions={name: versions.text(name) for name in versions.names()},
        gpu=table.text("gpu") if table.has("gpu") else None,
    )
    table.finish()
    return machine


def _figures(table: Table) -> Figures:
    figures = Figures(
        arrivals=table.integer("arrivals"),
        answered=table.integer("answered"),
        error_share=table.number("error_share", low=0, high=1),
        offered_rate_per_s=table.number("offered_rate_per_s", low=0),
        achieved_rate_per_s=table.number("achieved_rate_per_s", low=0),
        p50_ms=_optional(table, "p50_ms"),
        p95_ms=_optional(table, "p95_ms"),
        p99_ms=_optional(table, "p99_ms"),
        judged_ms=_optional(table, "judged_ms"),
        lag_p99_ms=table.number("lag_p99_ms"),
    )
    table.finish()
    return figures


def _optional(table: Table, key: str) -> float | None:
    return table.number(key, low=0) if table.has(key) else None


def _verdict(table: Table) -> Verdict:
    verdict = Verdict(table.text("outcome", choices=OUTCOMES), table.texts("reasons"))
    table.finish()
    return verdict


def _columns(samples: Sequence[Sample]) -> dict[str, object]:
    """The samples as one list per field: a quarter of the size of one object per sample, and plottable as it is."""
    stages = dict.fromkeys(stage for sample in samples for stage in sample.stages_ms)
    return {
        "due_s": [round(sample.due_s, 5) for sample in samples],
        "lag_ms": [round(sample.lag_ms, 2) for sample in samples],
        "latency_ms": [_rounded(sample.latency_ms) for sample in samples],
        "status": [sample.status for sample in samples],
        "error": [sample.error for sample in samples],
        "stages_ms": {stage: [_rounded(sample.stages_ms.get(stage)) for sample in samples] for stage in stages},
    }


def _rounded(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)


def _samples(table: Table) -> tuple[Sample, ...]:
    due = table.numbers("due_s")
    columns = {name: table.numbers(name) for name in ("lag_ms", "latency_ms", "status")}
    errors = table.texts("error")
    stages = table.table("stages_ms").numbers_by_name()
    table.finish()
    for name, values in {**columns, "error": errors, **stages}.items():
        if len(values) != len(due):
            raise table.error(name, len(values), f"must have as many entries as due_s, {len(due)}")
    return tuple(
        Sample(
            due_s=_present(table, "due_s", due[row]),
            lag_ms=_present(table, "lag_ms", columns["lag_ms"][row]),
            latency_ms=columns["latency_ms"][row],
            status=int(_present(table, "status", columns["status"][row])),
            error=errors[row],
            stages_ms={stage: value for stage, values in stages.items() if (value := values[row]) is not None},
        )
        for row in range(len(due))
    )


def _present(table: Table, key: str, value: float | None) -> float:
    if value is None:
        raise table.error(key, None, "every entry must be a number")
    return value
