"""The answer as one HTML page that needs nothing else: the verdict, the trade-off, cost over load, every option."""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

from tier_planner.candidates import Candidate, Evidence, UnknownTime
from tier_planner.charts import Line, box, chart, dot, upright, x_axis, y_axis
from tier_planner.curves import LINES_MAX, BreakEven, charted, curves
from tier_planner.options import Option
from tier_planner.predict import candidates
from tier_planner.prices import Prices
from tier_planner.recommend import Recommendation
from tier_planner.report import interval_words, verdict_lines
from tier_planner.requirement import time_words

_PAGE = Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))
_FOOTER = (
    "Predicted times come from another machine's measurement, by Amdahl's law and an assumed speed of the cores, and "
    "carry their interval; measured ones were measured there, a GPU's on its like. Waiting is simulated. Prices are "
    "list prices in USD with free grants taken off; data transfer, storage and logs are not in them."
)


def page(found: Recommendation, evidence: Evidence, prices: Prices, break_evens: Sequence[BreakEven]) -> str:
    """The whole page."""
    lines = [escape(line.strip(" -")) for line in verdict_lines(found)]
    shown = charted(found.options) or [one for one in found.options if one.rejection][:LINES_MAX]
    body = [
        *_tradeoff(found, shown, evidence),
        *_costs(found, prices, break_evens),
        *_fitting(found),
        *_rejected(found),
    ]
    chosen = found.chosen
    return _PAGE.substitute(
        title=f"Where {escape(found.requirement.model)} should run",
        heading=escape(chosen.hosting.title if chosen else "No option fits"),
        asked=escape(found.requirement.words()),
        none="" if chosen else " none",
        verdict="".join(f"<p>{line}</p>" for line in lines),
        body="\n".join(body),
        colours="\n".join(
            f"svg .c{number} polyline {{ stroke: var(--c{number}); }} "
            f"svg .c{number} circle, svg .c{number} .name {{ fill: var(--c{number}); }}"
            for number in range(LINES_MAX)
        ),
        footer=_FOOTER,
    )


def _front(hosting_candidates: Sequence[Candidate], percentile: float) -> list[Candidate]:
    """Those that no other beats in both accuracy and time, by time."""
    front: list[Candidate] = []
    known = [candidate for candidate in hosting_candidates if candidate.accuracy is not None]
    for candidate in sorted(known, key=lambda one: (one.service_quantile_ms(percentile), -one.goodness)):
        if not front or candidate.goodness > front[-1].goodness:
            front.append(candidate)
    return front


def _tradeoff(found: Recommendation, shown: Sequence[Option], evidence: Evidence) -> list[str]:
    asked = found.requirement
    lines = _fronts(found, shown, evidence)
    if not lines:
        return []
    plan = found.chosen.plan if found.chosen else None
    bound_ms = [asked.bound_ms]
    chosen = [(plan.p95_ms, plan.candidate.accuracy or 0.0)] if plan else []
    every = [point for line in lines for point in line.points] + chosen
    x = x_axis([time for time, _ in every] + bound_ms, f"p{asked.percentile:g} of one answer", time_words)
    floor = [asked.accuracy_min] if asked.accuracy_min is not None else []
    accuracies = [accuracy for _, accuracy in every] + floor
    y = y_axis(accuracies, "accuracy", high=1.0 if max(accuracies) <= 1.0 else math.inf)  # an error has no end
    above = [upright(x, y, asked.bound_ms, time_words(asked.bound_ms))]
    if plan:
        note = f"{plan.candidate.named()}, wait at the peak included: {time_words(plan.p95_ms)}"
        above.append(dot(x, y, chosen[0], note))
    shade = box(x, y, asked.bound_ms, asked.accuracy_min)
    svg = chart(x, y, lines, shade, "".join(above), "Accuracy over response time")
    said = "Each line is the front of one option: what it reaches in accuracy for its time, alone and without a queue. "
    said += "The shaded box is the requirement. "
    said += "The large point is the recommended choice with its wait at the peak." if plan else ""
    return ["<h2>Accuracy over response time</h2>", f"<figure>{svg}<figcaption>{said}</figcaption></figure>"]


def _fronts(found: Recommendation, shown: Sequence[Option], evidence: Evidence) -> list[Line]:
    """One line for each front; options with the same GPU have the same one."""
    lines: dict[tuple[tuple[float, float], ...], Line] = {}
    percentile = found.requirement.percentile
    for one in shown:
        try:
            front = _front(candidates(one.hosting, found.requirement.model, evidence), percentile)
        except UnknownTime:
            continue
        points = tuple((each.service_quantile_ms(percentile), each.accuracy or 0.0) for each in front)
        notes = tuple(
            f"{each.named()}: {time_words(time_ms)}, {accuracy:.3f}"
            for each, (time_ms, accuracy) in zip(front, points, strict=True)
        )
        is_bold = one is found.chosen or (found.chosen is None and not lines)
        labels = tuple(each.named() for each in front) if is_bold else ()
        name = f"{one.hosting.gpu} (GPU)" if one.hosting.gpu else one.hosting.title
        if points:
            lines.setdefault(points, Line(name, points, notes, labels, is_bold=is_bold, is_marked=True))
    return list(lines.values())


def _costs(found: Recommendation, prices: Prices, break_evens: Sequence[BreakEven]) -> list[str]:
    found_curves = [curve for curve in curves(charted(found.options), found.requirement, prices) if curve.points]
    lines = [
        Line(
            curve.option.hosting.title,
            tuple((load, max(usd, 0.01)) for load, usd in curve.points),
            is_bold=curve.option is found.chosen,
        )
        for curve in found_curves
    ]
    if not lines:
        return []
    every = [point for line in lines for point in line.points]
    x = x_axis([load for load, _ in every], "requests an hour, average of the month")
    y = y_axis([usd for _, usd in every], "USD a month", is_log=True)
    asked = found.requirement.rate_per_s * 3600
    marks = [dot(x, y, (one.per_hour, one.usd), one.words(), "break") for one in break_evens]
    svg = chart(x, y, lines, upright(x, y, asked, "asked for"), "".join(marks), "Cost over load")
    words = "".join(f"<br>{escape(one.words())}" for one in break_evens)
    said = "Every line keeps the requirement at its load; it ends where the option cannot. Rings: break-even." + words
    return ["<h2>Cost over load</h2>", f"<figure>{svg}<figcaption>{said}</figcaption></figure>"]


def _fitting(found: Recommendation) -> list[str]:
    rows = [_row(one, is_chosen=one is found.chosen) for one in found.options if one.plan]
    if not rows:
        return []
    left = ("option", "variant")
    right = ("threads × slots", "replicas (kept)", f"p{found.requirement.percentile:g}", "accuracy")
    right_too = ("USD a month", "USD for 1,000", "managed")
    head = "".join(
        [*(f"<th>{name}</th>" for name in left), *(f'<th class="n">{name}</th>' for name in right + right_too)]
    )
    levels = {one.hosting.managed: one.hosting.managed_why for one in reversed(found.options) if one.plan}
    said = "<br>".join(f"{level} of 5: {escape(levels[level])}" for level in sorted(levels, reverse=True))
    table = f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
    return ["<h2>What fits</h2>", table, f'<p class="soft">Managed: {said}</p>']


def _row(one: Option, *, is_chosen: bool) -> str:
    plan = one.plan
    assert plan is not None
    candidate = plan.candidate
    numbers = [
        ("GPU" if one.hosting.gpu else f"{candidate.threads} × {candidate.slots}", "", ""),
        (f"{plan.replicas} ({plan.replicas_min})", "", ""),
        (time_words(plan.p95_ms), f"{interval_words(plan)}, {candidate.evidence}", candidate.why),
        ("?" if candidate.accuracy is None else f"{candidate.accuracy:.3f}", "", ""),
        (f"{plan.usd:,.2f}", "", ", ".join(f"{line.what} {line.usd:,.2f}" for line in plan.lines)),
        (f"{plan.usd_per_thousand:.3f}", "", ""),
        (str(one.hosting.managed), "", ""),
    ]
    name = f'<td title="{escape(one.hosting.managed_why)}">{escape(one.hosting.title)}</td>'
    cells = [name, f'<td class="choice">{escape(candidate.named())}</td>', *(_number(*number) for number in numbers)]
    return f"<tr{' class=chosen' if is_chosen else ''}>{''.join(cells)}</tr>"


def _number(shown: str, below: str, note: str) -> str:
    title = f' title="{escape(note)}"' if note else ""
    small = f'<br><span class="soft">{escape(below)}</span>' if below else ""
    return f'<td class="n"{title}>{escape(shown)}{small}</td>'


def _rejected(found: Recommendation) -> list[str]:
    rows = [
        f"<tr><td>{escape(one.hosting.title)}</td>"
        f'<td class="reason">{one.rejection.reason}</td><td>{escape(one.rejection.words)}</td></tr>'
        for one in found.options
        if one.rejection
    ]
    head = "<tr><th>option</th><th>reason</th><th>what decided</th></tr>"
    table = f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'
    return ["<h2>What does not, and why</h2>", table] if rows else []
