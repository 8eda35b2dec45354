"""The trial's report: one HTML file that holds everything it shows."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from tier_planner.records import Record

from loadtest.breakdown import breakdown
from loadtest.paths import LOADTEST
from loadtest.plots import latency_plot, stage_plot, timeline_plot
from loadtest.table import model_text, time_text

TEMPLATE = "report.html.j2"
TITLES = {"function": "Function", "container": "Container", "gpu": "GPU"}


def write_report(path: Path, records: Sequence[Record]) -> Path:
    """Write the report of one trial; returns its absolute path."""
    templates = Environment(loader=FileSystemLoader(LOADTEST), autoescape=True, undefined=StrictUndefined)
    templates.filters["time"] = time_text
    page = templates.get_template(TEMPLATE).render(
        sections=[_section(record) for record in records],
        machine=next((record.machine for record in records if record.machine), None),
        commit=next((record.ran.commit for record in records if record.ran.commit), ""),
        written=_written(records),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path.resolve()


def _section(record: Record) -> dict[str, object]:
    """What the template shows of one tier. The SVG is our own drawing, so it is not escaped."""
    name = record.ran.tier
    shares = breakdown(record.samples)
    return {
        "record": record,
        "title": TITLES[name],
        "model": model_text(record),
        "badge": record.verdict.outcome.lower().replace(" ", "-"),
        "latency": Markup(latency_plot(record, f"{name}-latency")),  # noqa: S704
        "timeline": Markup(timeline_plot(record, f"{name}-timeline")),  # noqa: S704
        "stages": Markup(stage_plot(shares, f"{name}-stages")) if shares else "",  # noqa: S704
        "shares": shares,
        "total_ms": sum(share.mean_ms for share in shares),
    }


def _written(records: Sequence[Record]) -> str:
    last = max((record.written_at for record in records), default="")
    return datetime.fromisoformat(last).astimezone().strftime("%Y-%m-%d %H:%M") if last else ""
