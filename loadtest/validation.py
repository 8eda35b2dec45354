"""What the planner predicted beside what the load test measured: the rows, what they lack as proof, and the table."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from loadtest.machine import git_commit, this_machine
from loadtest.paths import ROOT

SETTINGS_MIN = 4
LOADS_MIN = 3
LAG_SHARE_MAX = 0.1
"""How late the generator may be (p99), as a share of the measured p95: a later one loads otherwise than was planned."""

SEED_CHOICE = (
    "Each row's arrivals come from the seed, of 60, whose bursts should cause about the p95 of a long time at that "
    "rate by the planner's own queue model, chosen before the run; the service times in that model are the "
    "measurement's, so the choice takes the luck of the bursts out of the error, not an error of the times."
)


@dataclass(frozen=True)
class Row:
    """One load on one setting."""

    setting: str
    model: str
    scale: float
    threads: int
    slots: int
    load: float
    """Share of the predicted capacity."""
    rate_per_s: float
    arrivals: int
    seed: int
    predicted_ms: float
    """What the planner says: p95 over a long time at this rate."""
    replayed_ms: float
    """The same model for exactly these arrivals."""
    measured_ms: float
    errors: int
    """Arrivals without an answer."""
    lag_p99_ms: float
    """How late the generator was."""

    @property
    def error(self) -> float:
        """Predicted over measured, less 1."""
        return self.predicted_ms / self.measured_ms - 1


def shortcomings(rows: Sequence[Row], goal: float) -> list[str]:
    """Why these rows do not show that the planner holds, a sentence each; none where they do."""
    short = []
    loads = Counter(setting for setting, _ in {(row.setting, row.load) for row in rows})
    whole = sum(count >= LOADS_MIN for count in loads.values())
    if whole < SETTINGS_MIN:
        short.append(f"{whole} settings have {LOADS_MIN} loads or more: {SETTINGS_MIN} are needed.")
    if median_error(rows) > goal:
        short.append(f"The median error, {median_error(rows):.1%}, is over {goal:.0%}.")
    for row in rows:
        name = f"{row.setting} at {row.rate_per_s:g}/s"
        if row.errors:
            short.append(f"{name}: {row.errors} of {row.arrivals} arrivals had no answer.")
        if row.lag_p99_ms > LAG_SHARE_MAX * row.measured_ms:
            late = f"{row.lag_p99_ms:.0f} ms late, over {LAG_SHARE_MAX:.0%} of the measured {row.measured_ms:.0f} ms"
            short.append(f"{name}: the generator was {late}.")
    return short


def markdown(rows: Sequence[Row]) -> str:
    """The table, the median error below it, and how the arrivals were chosen."""
    names = ["variant, scale", "threads x slots", "load", "requests/s", "arrivals"]
    names += ["predicted p95", "same arrivals", "measured p95", "error", "no answer", "generator late (p99)"]
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    lines += [
        f"| {row.setting.split(':')[0]} @ {row.scale:g} "
        f"| {row.threads} x {row.slots} | {row.load:.0%} | {row.rate_per_s:.2f} | {row.arrivals} "
        f"| {row.predicted_ms:,.0f} ms | {row.replayed_ms:,.0f} ms | {row.measured_ms:,.0f} ms | {row.error:+.0%} "
        f"| {row.errors} | {row.lag_p99_ms:.0f} ms |"
        for row in rows
    ]
    return "\n".join([*lines, "", f"Median error {median_error(rows):.0%}. {SEED_CHOICE}"]) + "\n"


def median_error(rows: Sequence[Row]) -> float:
    """The middle of the absolute errors."""
    return median(abs(row.error) for row in rows)


def write(path: Path, measurement: Path, command: str, rows: Sequence[Row]) -> None:
    """The rows as JSON, and the table beside it as Markdown."""
    document = {
        "schema": 1,
        "kind": "validation",
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git_commit(ROOT),
        "command": command,
        "measurement": measurement.name,
        "machine": asdict(this_machine()),
        "median_error": round(median_error(rows), 4),
        "rows": [{**asdict(row), "error": round(row.error, 4)} for row in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(markdown(rows), encoding="utf-8")
