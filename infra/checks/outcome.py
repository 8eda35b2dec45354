"""What a check found. A check that cannot run is neither good nor bad, and never counted as good."""

from collections.abc import Sequence
from dataclasses import dataclass

PASSED, FAILED, NOT_RUN = "passed", "FAILED", "not run"


@dataclass(frozen=True)
class Outcome:
    """One check."""

    name: str
    state: str
    detail: str = ""
    findings: tuple[str, ...] = ()


def judged(name: str, findings: Sequence[str], detail: str = "") -> Outcome:
    """Passed where nothing was found."""
    return Outcome(name, FAILED if findings else PASSED, detail, tuple(findings))


def not_run(name: str, why: str) -> Outcome:
    """Could not be run here, and why."""
    return Outcome(name, NOT_RUN, why)
