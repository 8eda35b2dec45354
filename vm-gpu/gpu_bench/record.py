"""What one run of the benchmark wrote: each section's rows, how the section ended, on which machine. One JSON file."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args

from tier_planner.files import read_json, write_json
from tier_planner.measurements import Calibration
from tier_planner.records import DEVICES, Machine, machine_from
from tier_planner.tables import Table

from gpu_bench.rows import ROWS, Numbers, Row

Kind = TypeVar("Kind")
SCHEMA = 1
KIND = "gpu-bench"
DONE, FAILED, CUT, SKIPPED = "done", "failed", "cut", "skipped"
STATES = (DONE, FAILED, CUT, SKIPPED)
"""All that was meant; an exception ended it; its time ended before its rows; it was not begun."""


@dataclass(frozen=True)
class Section:
    """One section and how it ended."""

    name: str
    state: str
    reason: str
    """Why it is not done; empty where it is."""
    spent_s: float
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Bench:
    """One run."""

    written_at: str
    """UTC, ISO 8601."""
    commit: str
    command: str
    device: str
    budget_s: float
    picture: str
    """What a picture was, in words."""
    machine: Machine
    calibration: Calibration
    sections: tuple[Section, ...]

    def rows(self, section: str) -> list[Any]:
        """The rows of one section; none where it was not run."""
        return [row for part in self.sections if part.name == section for row in part.rows]


def write_bench(path: Path, bench: Bench) -> None:
    """Write the record whole or not at all."""
    write_json(path, {"schema": SCHEMA, "kind": KIND, **asdict(bench)})


def read_bench(path: Path) -> Bench:
    """Read one record. Raises TableError naming the file, the key and the bad value."""
    top = Table(str(path), read_json(path))
    top.text("kind", choices=(KIND,))
    if (schema := top.integer("schema")) != SCHEMA:
        raise top.error("schema", schema, f"only {SCHEMA} is read here")
    bench = Bench(
        written_at=top.text("written_at"),
        commit=top.text("commit"),
        command=top.text("command"),
        device=top.text("device", choices=DEVICES),
        budget_s=top.number("budget_s", above=0),
        picture=top.text("picture"),
        machine=machine_from(top.table("machine")),
        calibration=read_row(Calibration, top.table("calibration")),
        sections=tuple(_section(table) for table in top.tables("sections")),
    )
    top.finish()
    return bench


def _section(table: Table) -> Section:
    name = table.text("name", choices=tuple(ROWS))
    section = Section(
        name=name,
        state=table.text("state", choices=STATES),
        reason=table.text("reason"),
        spent_s=table.number("spent_s", low=0),
        rows=tuple(read_row(ROWS[name], row) for row in table.tables("rows")),
    )
    table.finish()
    return section


def read_row(kind: type[Kind], table: Table) -> Kind:
    """A dataclass `kind` from its table, each key of the type that its field has. Raises TableError."""
    row = kind(**{field.name: _value(table, field.name, field.type) for field in fields(kind)})  # type: ignore[arg-type]
    table.finish()
    return row


def _value(table: Table, key: str, kind: Any) -> Any:
    if isinstance(kind, UnionType):
        (kind,) = (part for part in get_args(kind) if part is not type(None))
        return _value(table, key, kind) if table.has(key) else None
    if kind == Numbers:
        return tuple(_present(table, key, value) for value in table.numbers(key))
    if kind == Mapping[str, float]:
        inner = table.table(key)
        return {name: inner.number(name) for name in inner.names()}
    plain: dict[Any, Callable[[str], Any]] = {
        str: table.text,
        int: table.integer,
        float: table.number,
        tuple[str, ...]: table.texts,
    }
    return plain[kind](key)


def _present(table: Table, key: str, value: float | None) -> float:
    if value is None:
        raise table.error(key, None, "every entry must be a number")
    return value
