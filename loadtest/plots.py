"""The report's plots: Matplotlib draws them, as SVG whose colours are the page's own (light and dark)."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter
from tier_planner.records import Record

from loadtest.breakdown import LAG, REST, StageShare
from loadtest.figure_style import figure_style
from loadtest.table import with_unit

# Matplotlib wants real colours: each of these stands for a variable of the page and is replaced in the SVG.
INK, MUTED, LINE, DATA, BOUND, REST_COLOUR = (f"#0a0b{number:02x}" for number in range(6))
STAGES = tuple(f"#0c0d{number:02x}" for number in range(7))
VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", DATA: "data", BOUND: "bound", REST_COLOUR: "rest"} | {
    colour: f"stage{number}" for number, colour in enumerate(STAGES)
}
STYLE = figure_style(ink=INK, muted=MUTED, line=LINE, size=11)
PERCENTILES = ((50, "p50_ms", "o"), (95, "p95_ms", "D"), (99, "p99_ms", "s"))
BEYOND = 1e6
"""Factor that puts a failed arrival outside the plot: the curve ends below 100 %."""
ROOM = 1.6
"""Free space left and right of the data on a logarithmic axis, as a factor."""


def latency_plot(record: Record, name: str) -> str:
    """The share of arrivals answered within a time (ECDF), with the target and the percentiles; SVG."""
    times_ms = _answered_ms(record)
    with _figure(6.2, 3.3) as figure:
        axes = figure.subplots()
        low_ms, high_ms = _span_ms(record)
        # A last step of no weight beyond the edge carries the curve there, at the share that was answered.
        failed = len(record.samples) - len(times_ms)
        weights = [1.0] * len(times_ms) + [float(failed), 1e-12]
        axes.ecdf([*times_ms, high_ms * BEYOND, high_ms * BEYOND], weights, color=DATA, linewidth=2)
        _draw_gate(axes, record, high_ms)
        for percentile, key, marker in PERCENTILES:
            if (time_ms := getattr(record.figures, key)) is not None:
                label = f"p{percentile} {with_unit(time_ms)}"
                axes.plot(time_ms, percentile / 100, marker, color=DATA, markersize=6, label=label)
        axes.set(xlim=(low_ms, high_ms), ylim=(0, 1.03))
        axes.set(xlabel="latency, from due to last byte", ylabel="arrivals answered")
        _log_times(axes, "x")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        figure.legend(loc="outside lower center", ncols=4, handletextpad=0.4, columnspacing=1.4)
        return _svg(figure, name, "Distribution of latency with its target")


def timeline_plot(record: Record, name: str) -> str:
    """Each arrival's latency over the time it was due, failures along the top; SVG."""
    with _figure(6.2, 3.3) as figure:
        axes = figure.subplots()
        low_ms, high_ms = _span_ms(record)
        answered_s = [sample.due_s for sample in record.samples if not sample.error]
        axes.plot(answered_s, _answered_ms(record), "o", color=DATA, markersize=4, label="answer")
        failed = [sample.due_s for sample in record.samples if sample.error]
        if failed:
            axes.plot(failed, [high_ms / 1.15] * len(failed), "x", color=BOUND, markersize=5, label="error")
        axes.axhline(record.objective.bound_ms, color=BOUND, linewidth=1.4, dashes=(4, 3), label="bound")
        axes.set(xlim=(0, record.objective.duration_s), ylim=(low_ms, high_ms))
        axes.set(xlabel="due, seconds into the window", ylabel="latency")
        _log_times(axes, "y")
        figure.legend(loc="outside lower center", ncols=3, handletextpad=0.4, columnspacing=1.4)
        return _svg(figure, name, "Latency of each arrival over time")


def stage_plot(shares: Sequence[StageShare], name: str) -> str:
    """The mean answer and the slowest ones as bars stacked by stage; SVG."""
    with _figure(12.6, 2.1) as figure:
        axes = figure.subplots()
        left = [0.0, 0.0]
        for number, share in enumerate(shares):
            colour = {LAG: MUTED, REST: REST_COLOUR}.get(share.stage, STAGES[(number - 1) % len(STAGES)])
            widths = [share.slow_ms, share.mean_ms]
            axes.barh(["slowest 5 %", "all answers"], widths, left=left, height=0.62, color=colour, label=share.stage)
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="mean milliseconds", xlim=(0, max(left) * 1.02 or 1))
        axes.spines["left"].set_visible(False)
        figure.legend(loc="outside lower center", ncols=len(shares), handlelength=1, columnspacing=1.6)
        return _svg(figure, name, "Mean time of each stage")


def _answered_ms(record: Record) -> list[float]:
    """Latency of each answer; an answer always has one."""
    return [sample.latency_ms or 0.0 for sample in record.samples if not sample.error]


def _span_ms(record: Record) -> tuple[float, float]:
    """The range of latencies to show: all of them and the bound."""
    shown = [*_answered_ms(record), record.objective.bound_ms]
    return max(min(shown), 0.01) / ROOM, max(shown) * ROOM


def _draw_gate(axes: Axes, record: Record, high_ms: float) -> None:
    """The target as the corner that the curve must pass above: inside it, too few were answered in time."""
    bound_ms, share = record.objective.bound_ms, record.objective.percentile / 100
    axes.fill_between([bound_ms, high_ms], share, color=BOUND, alpha=0.12, linewidth=0)
    corner = [bound_ms, bound_ms, high_ms], [0, share, share]
    axes.plot(*corner, color=BOUND, linewidth=1.4, dashes=(4, 3), label="target")


def _log_times(axes: Axes, which: str) -> None:
    """A logarithmic axis in milliseconds and seconds."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=_marks(high / low)))
    axis.set_major_formatter(FuncFormatter(lambda time_ms, _: _tick(time_ms)))
    axis.set_minor_formatter(NullFormatter())


def _marks(span: float) -> tuple[float, ...]:
    """Marks within a decade: as many as fit side by side on an axis whose ends are `span` times apart."""
    if span > 1000:
        return (1.0,)
    return (1.0, 3.0) if span > 50 else (1.0, 2.0, 3.0, 5.0, 7.0)


def _tick(time_ms: float) -> str:
    return f"{time_ms / 1000:g} s" if time_ms >= 1000 else f"{time_ms:g} ms"


@contextmanager
def _figure(width_in: float, height_in: float) -> Iterator[Figure]:
    with mpl.rc_context(STYLE):
        yield Figure(figsize=(width_in, height_in), layout="constrained")


def _svg(figure: Figure, name: str, label: str) -> str:
    """The figure as an SVG element: colours as page variables, ids that no other plot of the page has."""
    target = io.StringIO()
    figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = target.getvalue()
    svg = svg[svg.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    return re.sub("|".join(VARIABLES), lambda match: f"var(--{VARIABLES[match.group()]})", svg)
