"""Records as one table for a terminal, and the reasons below it."""

import textwrap
from collections.abc import Sequence

from tier_planner.records import PASS, Record

GAP = "  "
COLUMNS = (
    # heading, widest cell before it wraps, right-aligned
    ("tier", 9, False),
    ("hosting simulated", 20, False),
    ("model (variant)", 22, False),
    ("offered /s", 8, True),
    ("achieved /s", 8, True),
    ("p50 ms", 7, True),
    ("p95 ms", 7, True),
    ("p99 ms", 7, True),
    ("errors", 7, True),
    ("target", 14, False),
    ("verdict", 10, False),
)


def verdict_table(records: Sequence[Record]) -> str:
    """One row a record, cells wrapped inside their columns, a rule below the headings."""
    widths = [width for _, width, _ in COLUMNS]
    head = _row([heading for heading, _, _ in COLUMNS])
    rule = GAP.join("-" * width for width in widths)
    return "\n".join([*head, rule, *(line for record in records for line in _row(_cells(record)))])


def reasons(records: Sequence[Record]) -> str:
    """Why each verdict that is not PASS came out so."""
    lines = []
    for record in records:
        if record.verdict.outcome != PASS:
            lines.append(f"{record.ran.tier}: {record.verdict.outcome}")
            lines += [f"  - {reason}" for reason in record.verdict.reasons]
    return "\n".join(lines)


def time_text(time_ms: float | None) -> str:
    """Milliseconds with three figures of which the last may be noise; `never` for a percentile without an answer."""
    if time_ms is None:
        return "never"
    return f"{time_ms:,.0f}" if time_ms >= 100 else f"{time_ms:.1f}" if time_ms >= 10 else f"{time_ms:.2f}"


def with_unit(time_ms: float | None) -> str:
    """The same with its unit; `never` has none."""
    return time_text(time_ms) + (" ms" if time_ms is not None else "")


def model_text(record: Record) -> str:
    """The model, with its variant where the name does not end in it."""
    model, variant = record.ran.model, record.ran.variant
    return model if not variant or model.endswith(f"-{variant}") else f"{model} ({variant})"


def _cells(record: Record) -> list[str]:
    figures = record.figures
    return [
        record.ran.tier,
        record.ran.hosting,
        model_text(record),
        f"{figures.offered_rate_per_s:.2f}",
        f"{figures.achieved_rate_per_s:.2f}",
        time_text(figures.p50_ms),
        time_text(figures.p95_ms),
        time_text(figures.p99_ms),
        f"{figures.error_share:.1%}",
        record.objective.target,
        record.verdict.outcome,
    ]


def _wrap(cell: str, width: int) -> list[str]:
    return textwrap.wrap(cell, width, break_on_hyphens=False) or [""]


def _row(cells: Sequence[str]) -> list[str]:
    """The lines of one row."""
    wrapped = [_wrap(cell, width) for cell, (_, width, _) in zip(cells, COLUMNS, strict=True)]
    height = max(map(len, wrapped))
    lines = []
    for at in range(height):
        parts = [lines_of[at] if at < len(lines_of) else "" for lines_of in wrapped]
        padded = [
            part.rjust(width) if right else part.ljust(width)
            for part, (_, width, right) in zip(parts, COLUMNS, strict=True)
        ]
        lines.append(GAP.join(padded).rstrip())
    return lines
