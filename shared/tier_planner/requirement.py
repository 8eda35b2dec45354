"""What is asked for: accuracy, response time, load, conditions; from flags or from a TOML file with the same keys."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tier_planner.files import read_toml
from tier_planner.tables import Table, TableError

_TIME = re.compile(r"\s*([\d.]+)\s*(ms|s|min|h)\s*")
_IN_MS = {"ms": 1.0, "s": 1e3, "min": 60e3, "h": 3600e3}
FLAGS = {
    "model": "a model or a family of models",
    "min-accuracy": "least accuracy, in the metric that the model's measurement has",
    "max-latency": "a person waits: longest time of an answer, such as 300ms or 5s",
    "percentile": "of the answers that must keep it; 95 unless said otherwise",
    "background": "nobody waits: the time in which a job must be complete, such as 10min",
    "requests-per-hour": "on average over the month",
    "peak-factor": "how many times the average the busiest hour has; 1 unless said otherwise",
    "cold-starts": "the first answer after a quiet time may be later than that",
    "vnet": "everything inside a virtual network, without a way in from the internet",
    "region": "Azure region, such as swedencentral",
    "budget-per-month": "USD",
    "body": "size of one request in MiB",
}
"""Every key, with what it says; `cold-starts` and `vnet` are true or false."""
SWITCHES = ("cold-starts", "vnet")
NUMBERS = ("min-accuracy", "percentile", "requests-per-hour", "peak-factor", "budget-per-month", "body")


@dataclass(frozen=True)
class Claim:
    """A time that the requirement's author brings: shown as theirs, never as measured here."""

    hosting: str
    variant: str
    scale: float | None
    p50_ms: float
    p95_ms: float
    source: str


@dataclass(frozen=True)
class Requirement:
    """One requirement; None where nothing is asked."""

    model: str
    accuracy_min: float | None
    bound_ms: float
    """Of an answer, or of a background job from its submission on."""
    percentile: float
    background: bool
    rate_per_s: float
    """Average over the month."""
    peak_factor: float
    cold_starts: bool
    """Whether the first answer after a quiet time may miss the bound."""
    vnet: bool
    region: str | None
    budget_usd: float | None
    """A month."""
    body_mib: float | None
    claims: tuple[Claim, ...] = ()

    @property
    def peak_per_s(self) -> float:
        """Arrivals a second in the busiest hour."""
        return self.rate_per_s * self.peak_factor

    def words(self) -> str:
        """The requirement in a line."""
        who = "a job complete within" if self.background else f"p{self.percentile:g} within"
        accuracy = f"accuracy of at least {self.accuracy_min:g}, " if self.accuracy_min is not None else ""
        peak = f" (peak {self.peak_factor:g} times that)" if self.peak_factor > 1 else ""
        extras = [
            *(["first answer after a quiet time may be late"] if self.cold_starts else []),
            *(["inside a virtual network"] if self.vnet else []),
            *([f"in {self.region}"] if self.region else []),
            *([f"at most {self.budget_usd:,.0f} USD a month"] if self.budget_usd is not None else []),
        ]
        load = f"{self.rate_per_s * 3600:,.6g} requests an hour{peak}"
        return f"{self.model}: {accuracy}{who} {time_words(self.bound_ms)}, " + ", ".join([load, *extras])


def time_words(time_ms: float) -> str:
    """A time as people say it: 300 ms, 5 s, 10 min."""
    if math.isinf(time_ms):
        return "without end"
    if time_ms < 999.5:
        return f"{time_ms:.3g} ms"
    if time_ms < 120e3:
        return f"{time_ms / 1e3:.3g} s"
    return f"{time_ms / 60e3:.3g} min" if time_ms < 7200e3 else f"{time_ms / 3600e3:.3g} h"


def read_requirement(path: Path | None, given: Mapping[str, object]) -> Requirement:
    """The file's keys with those of `given` (flags) over them; either alone will do. Raises TableError."""
    values = {**(read_toml(path) if path else {}), **{key: value for key, value in given.items() if value is not None}}
    flags = set(given) - {key for key, value in given.items() if value is None}
    for key, other in (("max-latency", "background"), ("background", "max-latency")):
        if key in flags and other not in flags:  # the flag replaces the file's other kind of bound
            values.pop(other, None)
    table = Table(str(path) if path else "tiers plan", values)
    requirement = _requirement(table)
    table.finish()
    return requirement


def _requirement(table: Table) -> Requirement:
    if table.has("max-latency") == table.has("background"):
        raise TableError("Give either max-latency (a person waits) or background (nobody does), such as 5s or 10min.")
    background = table.has("background")
    return Requirement(
        model=table.text("model"),
        accuracy_min=table.number("min-accuracy") if table.has("min-accuracy") else None,
        bound_ms=_time_ms(table, "background" if background else "max-latency"),
        percentile=table.number("percentile", above=0, high=99.9) if table.has("percentile") else 95.0,
        background=background,
        rate_per_s=table.number("requests-per-hour", above=0) / 3600,
        peak_factor=table.number("peak-factor", low=1) if table.has("peak-factor") else 1.0,
        cold_starts=table.boolean("cold-starts", default=False),
        vnet=table.boolean("vnet", default=False),
        region=table.text("region") if table.has("region") else None,
        budget_usd=table.number("budget-per-month", low=0) if table.has("budget-per-month") else None,
        body_mib=table.number("body", above=0) if table.has("body") else None,
        claims=tuple(_claim(claim) for claim in table.tables("measured")) if table.has("measured") else (),
    )


def _time_ms(table: Table, key: str) -> float:
    text = table.text(key)
    found = _TIME.fullmatch(text)
    try:
        value = float(found[1]) * _IN_MS[found[2]] if found else 0.0
    except ValueError:  # several points
        value = 0.0
    if value <= 0:
        raise table.error(key, text, "must be a time such as 300ms, 5s, 10min or 2h")
    return value


def _claim(table: Table) -> Claim:
    p50_ms = table.number("p50_ms", above=0)
    claim = Claim(
        hosting=table.text("hosting"),
        variant=table.text("variant"),
        scale=table.number("scale", above=0, high=1) if table.has("scale") else None,
        p50_ms=p50_ms,
        p95_ms=table.number("p95_ms", low=p50_ms),
        source=table.text("source"),
    )
    table.finish()
    return claim
