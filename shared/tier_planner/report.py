"""A recommendation in words for a terminal, and as a document for programs."""

import math
from collections.abc import Sequence
from dataclasses import asdict

from tier_planner.curves import BreakEven
from tier_planner.options import Option, Plan
from tier_planner.recommend import Recommendation
from tier_planner.requirement import time_words

GAP = "  "
HEADINGS = ("option", "variant, scale", "threads", "replicas", "p95", "interval", "accuracy", "USD/month", "/1,000")
LEFT = 2
"""The first columns are text and stand to the left."""


def text(found: Recommendation, break_evens: Sequence[BreakEven]) -> str:
    """The whole answer: what is recommended and why, what else fits, why each of the rest does not."""
    lines = [f"Requirement: {found.requirement.words()}", "", *verdict_lines(found)]
    fitting = [one for one in found.options if one.plan]
    if fitting:
        lines += ["", *_table([_cells(one) for one in fitting], headings(found))]
    if break_evens:
        lines += ["", "Break-even:", *(f"  - {one.words()}" for one in break_evens)]
    if rejected := [one for one in found.options if one.rejection]:
        width = max(len(one.hosting.title) for one in rejected)
        lines += ["", "Rejected:" if fitting else "Nothing fits. Rejected:"]
        lines += [
            f"  {one.hosting.title:<{width}}  {one.rejection.reason:<8}  {one.rejection.words}"
            for one in rejected
            if one.rejection
        ]
    return "\n".join(lines) + "\n"


def headings(found: Recommendation) -> tuple[str, ...]:
    """Of the table; the percentile is the one that was asked for."""
    return tuple(f"p{found.requirement.percentile:g}" if name == "p95" else name for name in (*HEADINGS, "managed"))


def verdict_lines(found: Recommendation) -> list[str]:
    """The recommendation, what a less managed option would save, what to look at; or the nearest misses."""
    chosen = found.chosen
    if chosen is None or chosen.plan is None:
        if not found.misses:
            return ["No option fits, and no single concession is enough."]
        return ["No option fits. The nearest misses:", *(f"  - {miss.words}" for miss in found.misses)]
    plan = chosen.plan
    lines = [
        f"Recommended: {chosen.hosting.title} with {plan.candidate.named()}, {power_words(plan)}.",
        f"  managed: {chosen.hosting.managed_why}",
        f"  time:    {plan.candidate.evidence}: {plan.candidate.why}",
    ]
    if found.cheaper and found.cheaper.plan:
        saved = plan.usd - found.cheaper.plan.usd
        lines.append(
            f"  cheaper: {found.cheaper.hosting.title} is less managed and would save {saved:,.0f} USD a month"
        )
    return lines + [f"  look at: {caution}" for caution in found.cautions]


def power_words(plan: Plan) -> str:
    """Threads, slots and replicas in words."""
    candidate = plan.candidate
    threads = f"{candidate.threads} thread{'s' * (candidate.threads > 1)} an answer"
    at_once = f"{candidate.slots} at a time on each replica"
    replicas = f"{plan.replicas} replica{'s' * (plan.replicas > 1)} at the peak, {plan.replicas_min} kept"
    return f"{'GPU' if candidate.hosting.gpu else threads}, {at_once}, {replicas}"


def _cells(one: Option) -> tuple[str, ...]:
    plan = one.plan
    assert plan is not None
    candidate = plan.candidate
    return (
        one.hosting.title,
        candidate.named(),
        "GPU" if one.hosting.gpu else f"{candidate.threads} x {candidate.slots}",
        f"{plan.replicas} ({plan.replicas_min})",
        time_words(plan.p95_ms),
        f"{interval_words(plan)} {candidate.evidence}",
        "?" if candidate.accuracy is None else f"{candidate.accuracy:.3f}",
        f"{plan.usd:,.2f}",
        f"{plan.usd_per_thousand:.3f}",
        f"{one.hosting.managed} of 5",
    )


def interval_words(plan: Plan) -> str:
    """The interval of the percentile; past the upper end the replicas may not keep up at all."""
    high = "over capacity" if math.isinf(plan.high_ms) else time_words(plan.high_ms)
    return f"{time_words(plan.low_ms)} to {high}"


def _table(rows: Sequence[Sequence[str]], names: Sequence[str]) -> list[str]:
    widths = [max(len(row[column]) for row in [names, *rows]) for column in range(len(names))]
    aligned = ["<" if column < LEFT else ">" for column in range(len(names))]
    lines = [
        GAP.join(f"{cell:{side}{width}}" for cell, side, width in zip(row, aligned, widths, strict=True)).rstrip()
        for row in [names, *rows]
    ]
    return [lines[0], GAP.join("-" * width for width in widths), *lines[1:]]


def document(found: Recommendation, break_evens: Sequence[BreakEven]) -> dict[str, object]:
    """The same as JSON can hold it: no number is infinite, an unknown is null."""
    chosen, cheaper = found.chosen, found.cheaper
    return {
        "requirement": _finite(asdict(found.requirement)),
        "recommended": chosen.hosting.name if chosen else None,
        "options": [_option(one) for one in found.options],
        "cheaper": cheaper.hosting.name if cheaper else None,
        "saving_usd_per_month": round(_usd(chosen) - _usd(cheaper), 2) if chosen and cheaper else None,
        "nearest_misses": [asdict(miss) for miss in found.misses],
        "cautions": list(found.cautions),
        "break_evens": [
            {
                "cheaper_below": one.below.hosting.name,
                "cheaper_above": one.above.hosting.name,
                "requests_per_hour": round(one.per_hour, 3),
                "usd_per_month": round(one.usd, 2),
            }
            for one in break_evens
        ],
    }


def _usd(one: Option) -> float:
    return one.plan.usd if one.plan else math.inf


def _option(one: Option) -> dict[str, object]:
    plan, rejection = one.plan, one.rejection
    common = {
        "hosting": one.hosting.name,
        "title": one.hosting.title,
        "tier": one.hosting.tier,
        "managed": one.hosting.managed,
        "managed_why": one.hosting.managed_why,
        "verdict": "fits" if plan else rejection.reason if rejection else "",
    }
    if plan is None:
        return {**common, "words": rejection.words if rejection else ""}
    candidate = plan.candidate
    return {
        **common,
        "model": candidate.model,
        "variant": candidate.variant,
        "scale": candidate.scale,
        "precision": candidate.precision,
        "threads": candidate.threads,
        "slots": candidate.slots,
        "replicas": plan.replicas,
        "replicas_min": plan.replicas_min,
        "answer_ms": _finite(plan.p95_ms),
        "low_ms": _finite(plan.low_ms),
        "high_ms": _finite(plan.high_ms),
        "is_sure": plan.is_sure,
        "evidence": candidate.evidence,
        "why": candidate.why,
        "accuracy": candidate.accuracy,
        "metric": candidate.metric,
        "usd_per_month": round(plan.usd, 4),
        "usd_per_thousand": round(plan.usd_per_thousand, 6),
        "bill": {line.what: round(line.usd, 4) for line in plan.lines},
    }


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and math.isinf(value) else value
