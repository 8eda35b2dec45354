"""One finished load as a record: figures, verdict, and what ran where."""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from tier_planner.objectives import Objective, Rules
from tier_planner.records import Ran, Record, Sample

from loadtest.machine import git_commit, this_machine
from loadtest.paths import ROOT
from loadtest.targets import STAND_IN, figures_of, judge
from loadtest.tier_facts import TierFacts

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def measured(objective: Objective, rules: Rules, facts: TierFacts, samples: Sequence[Sample], host: str) -> Record:
    """The record of the judged window's samples, loaded at `host` (a URL)."""
    return Record(
        written_at=datetime.now(UTC).isoformat(timespec="seconds"),
        ran=_ran(objective, facts),
        # Only on loopback is the tier's machine this one.
        machine=this_machine() if urlsplit(host).hostname in LOOPBACK else None,
        objective=objective,
        figures=figures_of(samples, objective),
        verdict=judge(samples, objective, rules, facts.device),
        samples=tuple(samples),
    )


def _ran(objective: Objective, facts: TierFacts) -> Ran:
    return Ran(
        tier=objective.tier,
        hosting=f"{objective.hosting} (CPU stand-in)" if facts.device == STAND_IN else objective.hosting,
        device=facts.device,
        model=objective.model,
        variant=facts.variant,
        scale=objective.scale,
        threads=facts.threads,
        commit=git_commit(ROOT),
    )
