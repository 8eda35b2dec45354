"""The chart as one HTML file (Plotly): every point says on touch what it is. It needs no network."""

import html
import math
from pathlib import Path

import plotly.graph_objects as go
from tier_planner.measurements import Point

from tier_measure.curves import Picture, accuracy_of, bound_text, label_of
from tier_measure.plot import BOUND, COLOURS, INK, LINE, MUTED
from tier_measure.tables import count_text, time_text

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross")


def write_page(path: Path, picture: Picture) -> Path:
    """Write the page; Plotly's own script is inside it."""
    figure = go.Figure()
    # Labels stand outside the curves; between the fastest and the slowest, pointing at a point tells.
    fastest_first = sorted(picture.curves, key=lambda curve: curve.front[-1].p50_ms)
    sides = {fastest_first[-1].name: "bottom right", fastest_first[0].name: "top left"}
    for number, curve in enumerate(picture.curves):
        colour, symbol = COLOURS[number % len(COLOURS)], SYMBOLS[number % len(SYMBOLS)]
        side = sides.get(curve.name)
        others = [point for point in curve.points if point not in curve.front]
        for points, shape, on_front in ((others, f"{symbol}-open", False), (curve.front, symbol, True)):
            figure.add_scatter(
                x=[point.p50_ms for point in points],
                y=[picture.height(accuracy_of(point)) for point in points],
                mode=f"lines+markers{'+text' * bool(side)}" if on_front else "markers",
                text=[label_of(point) for point in points],
                textposition=side,
                textfont={"color": colour, "size": 12},
                customdata=[_told(point) for point in points],
                hovertemplate="%{customdata}<extra>" + curve.name + "</extra>",
                line={"color": colour, "width": 2},
                marker={"color": colour, "symbol": shape, "size": 10 if on_front else 8},
                name=curve.name,
                legendgroup=curve.name,
                showlegend=on_front,
            )
    for target in picture.targets:
        figure.add_vline(target.bound_ms, line={"color": BOUND, "dash": "dash", "width": 1.2})
        figure.add_annotation(
            x=math.log10(target.bound_ms),  # an annotation takes the place on the axis, not the value
            y=1,
            yref="paper",
            yanchor="bottom",
            text=target.name,
            font={"color": BOUND, "size": 12},
            showarrow=False,
        )
    _lay_out(figure, picture)
    path.parent.mkdir(parents=True, exist_ok=True)
    page = figure.to_html(
        include_plotlyjs=True,
        div_id="chart",
        default_height="96vh",
        config={"displaylogo": False, "responsive": True},
    )
    head = f'<html lang="en"><head><title>{html.escape(picture.title)}</title>'
    page = page.replace("<html>", "", 1).replace("<head>", head, 1)
    path.write_text(page, encoding="utf-8")
    return path


def _lay_out(figure: go.Figure, picture: Picture) -> None:
    marks = picture.marks()
    ticks = {"tickvals": [picture.height(mark) for mark in marks], "ticktext": [f"{mark:g}" for mark in marks]}
    times = [0.01, 0.1, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000]
    figure.update_layout(
        template="plotly_white",
        title={
            "text": picture.title,
            "subtitle": {"text": picture.subtitle},
        },
        font={"color": INK, "family": "system-ui, sans-serif"},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.1},
        margin={"t": 130},
        hoverlabel={"align": "left"},
    )
    figure.update_xaxes(
        type="log",
        title="response time, median, one caller (logarithmic)",
        tickvals=times,
        ticktext=[bound_text(ms) for ms in times],
        range=[math.log10(end) for end in picture.span_ms()],
        gridcolor=LINE,
        tickfont={"color": MUTED},
    )
    figure.update_yaxes(title=picture.metric, gridcolor=LINE, tickfont={"color": MUTED}, **ticks)


def _told(point: Point) -> str:
    """All that is known of a point."""
    assert point.accuracy is not None
    memory = f"{point.memory_peak_mib:,.0f} MiB" if point.memory_peak_mib is not None else "not measured"
    lines = [
        f"<b>{label_of(point)}</b>, {point.precision}",
        f"{point.accuracy.metric} {point.accuracy.value:.3f}",
        f"p50 {time_text(point.p50_ms)}, p95 {time_text(point.p95_ms)}, spread {point.spread:.0%}",
        f"{len(point.latencies_ms)} answers, {count_text(point.threads)}",
        f"{point.throughput_per_s:.3g} answers a second, callers: {point.callers}",
        f"memory peak {memory}",
        *(f"{stage} {time_text(ms)}" for stage, ms in point.stages_ms.items()),
    ]
    return "<br>".join(lines)
