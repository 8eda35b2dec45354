"""One finished load as a record: figures, verdict, and what ran where."""

from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from urllib.parse import urlsplit

from tier_planner.hosting import read_hostings
from tier_planner.objectives import Objective, Rules
from tier_planner.prices import read_prices
from tier_planner.records import Ran, Record, Sample

from loadtest.machine import git_commit, this_machine
from loadtest.paths import HOSTINGS, ROOT
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
        slots=facts.slots,
        cores=facts.cores,
    )


def unknown_hosting(name: str) -> str:
    """A sentence where the planner would not find a record of that hosting; empty where it would."""
    hostings = read_hostings(HOSTINGS, read_prices(HOSTINGS.with_name("prices.toml")))
    known = [title for hosting in hostings for title in (hosting.name, hosting.title)]
    if name in known:
        return ""
    near = get_close_matches(name, known, n=1, cutoff=0.0)[0]
    return f"{HOSTINGS.name} has no hosting {name!r}, so that the planner will not find this record: is it {near!r}?"
