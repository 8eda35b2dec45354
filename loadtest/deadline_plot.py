"""The plot of a deadline sweep: accuracy over the deadline, and each answer's time against it."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator, PercentFormatter

from loadtest.deadline_steps import Step
from loadtest.figure_style import figure_style

INK, MUTED, LINE, DATA, BOUND = "#1f2328", "#59636e", "#d8dee4", "#0b6bcb", "#c2410c"
STYLE = figure_style(ink=INK, muted=MUTED, line=LINE, size=10)
ROOM = 1.25
ACCURACIES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995)
ACCURACY_MAX = 0.999
"""The logit scale, on which 0.98 to 0.99 is as far as from 0.5 to 0.67, has no 1."""


def draw(steps: Sequence[Step], path: Path, title: str) -> None:
    """Write `path` with .png and .svg."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 6.6), layout="constrained", facecolor="white")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        _accuracy(above, steps)
        _times(below, steps)
        above.set_title(title, loc="left", color=INK, fontsize=11)
        deadlines_s = [step.deadline_s for step in steps]
        below.set(xscale="log", xlabel="deadline", xlim=(min(deadlines_s) / ROOM, max(deadlines_s) * ROOM))
        below.xaxis.set_major_locator(FixedLocator(deadlines_s))
        below.xaxis.set_minor_locator(NullLocator())
        below.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} s"))
        below.xaxis.set_minor_formatter(NullFormatter())
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path.with_suffix(".png"), dpi=160)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None, "Creator": None})


def _accuracy(axes: Axes, steps: Sequence[Step]) -> None:
    """The mean of what was expected of the answers as a line, each choice as a disc as large as its share."""
    answered = [(step.deadline_s, _shown(step.accuracy_mean)) for step in steps if step.accuracy_mean is not None]
    axes.plot(*zip(*answered, strict=True), color=DATA, linewidth=2, label="mean of the answers")
    seen: set[tuple[str, float]] = set()
    for step in steps:
        total = sum(chosen.count for chosen in step.chosen)
        for chosen in step.chosen:
            share = chosen.count / total
            axes.scatter(
                step.deadline_s, _shown(chosen.accuracy), s=20 + 180 * share, color=DATA, alpha=0.35, linewidth=0
            )
            if (chosen.variant, chosen.scale) not in seen:
                seen.add((chosen.variant, chosen.scale))
                label = f"{chosen.variant} at {chosen.scale:g}"
                axes.annotate(
                    label,
                    (step.deadline_s, _shown(chosen.accuracy)),
                    xytext=(-7, 5),
                    textcoords="offset points",
                    ha="right",
                    fontsize=8.5,
                    color=MUTED,
                )
    axes.set_yscale("logit")
    axes.set_ylabel("expected accuracy (mAP@0.5)")
    axes.margins(y=0.12)
    axes.yaxis.set_major_locator(FixedLocator(ACCURACIES))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.scatter([], [], s=110, color=DATA, alpha=0.35, linewidth=0, label="a choice; its area, how often")


def _shown(accuracy: float) -> float:
    return min(accuracy, ACCURACY_MAX)


def _times(axes: Axes, steps: Sequence[Step]) -> None:
    """Each answer's latency as a share of its deadline; how many were in time above."""
    for step in steps:
        shares = [latency_ms / 1e3 / step.deadline_s for latency_ms in step.latencies_ms]
        axes.plot([step.deadline_s] * len(shares), shares, "o", color=DATA, alpha=0.4, markersize=5, markeredgewidth=0)
        refused = f"\n{step.refused} refused" if step.refused else ""
        axes.annotate(
            f"{step.in_time}/{len(shares)}{refused}",
            (step.deadline_s, 1.05),
            ha="center",
            va="bottom",
            fontsize=8.5,
            color=MUTED,
        )
    axes.axhline(1.0, color=BOUND, linewidth=1.4, dashes=(4, 3), label="the deadline; above it, how many were in time")
    axes.set(ylabel="time of an answer,\nshare of its deadline", ylim=(0, 1.35))
    axes.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1.0]))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
