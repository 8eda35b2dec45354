"""Several times what a tier can do: how much of its capacity still comes back in time, and how soon the rest is told.

`python -m loadtest.overload [--times 4] [--seconds 30] [--deadline-ms 5000]` starts a container tier of its own, finds
its capacity, offers that many times as much and prints both. Exit status 0 when goodput is at least 0.9 of capacity.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.arrivals import poisson_arrivals
from loadtest.console import standard_console
from loadtest.payloads import board_pictures
from loadtest.processes import TrialError
from loadtest.steady import (
    Hit,
    Shot,
    capacity_per_s,
    memory_mib,
    offered,
    percentile,
    tier_of_our_own,
    watched_memory,
)

GOODPUT_MIN = 0.9
REFUSED = 503


@dataclass(frozen=True)
class Overload:
    """What one overload did. Goodput: right answers a second inside the deadline."""

    capacity_per_s: float
    offered_per_s: float
    goodput_per_s: float
    late: int
    refused: int
    wrong: int
    answered_p95_ms: float
    refused_p95_ms: float
    memory_before_mib: float
    memory_most_mib: float
    memory_after_mib: float

    @property
    def goodput_share(self) -> float:
        """Goodput relative to capacity."""
        return self.goodput_per_s / self.capacity_per_s

    def lines(self) -> list[str]:
        """The figures in words."""
        return [
            f"capacity {self.capacity_per_s:.2f}/s, offered {self.offered_per_s:.2f}/s",
            f"goodput {self.goodput_per_s:.2f}/s, {self.goodput_share:.2f} of capacity",
            f"answered: p95 {self.answered_p95_ms:.0f} ms; {self.late} late, {self.wrong} wrong",
            f"{self.refused} refused, p95 {self.refused_p95_ms:.1f} ms after they were sent",
            f"memory in MiB {self.memory_before_mib:.0f}, most {self.memory_most_mib:.0f}, {self.memory_after_mib:.0f}",
        ]


def overload(
    port: int, process_id: int, shots: Sequence[Shot], *, times: float, seconds: float, deadline_ms: float
) -> Overload:
    """Offer `times` the capacity of the tier on `port` for `seconds`. Every request must be one that is answered."""
    capacity = capacity_per_s(port, shots, seconds=seconds / 2, clients=2)
    due_s = poisson_arrivals(times * capacity, seconds, seed=1)
    before = memory_mib(process_id)
    with watched_memory(process_id, 0.2) as seen:
        hits = offered(port, shots, due_s)
    right = [hit for hit in hits if hit.is_right]
    good = [hit for hit in right if hit.latency_ms <= deadline_ms]
    refused = [hit for hit in hits if hit.status == REFUSED]
    return Overload(
        capacity_per_s=capacity,
        offered_per_s=len(hits) / seconds,
        goodput_per_s=len(good) / _lasted_s(good, seconds),
        late=len(right) - len(good),
        refused=len(refused),
        wrong=len(hits) - len(right) - len(refused),
        answered_p95_ms=percentile([hit.latency_ms for hit in right], 0.95),
        refused_p95_ms=percentile([hit.took_ms for hit in refused], 0.95),
        memory_before_mib=before,
        memory_most_mib=max(mib for _, mib in seen),
        memory_after_mib=memory_mib(process_id),
    )


def _lasted_s(good: Sequence[Hit], seconds: float) -> float:
    """From the first arrival to the last good answer: those who waited at the end were served after it."""
    if not good:
        return seconds
    first = min(hit.due_s for hit in good)
    return max(seconds, max(hit.due_s + hit.latency_ms / 1e3 for hit in good) - first)


def main(arguments: Sequence[str]) -> int:
    """Measure, print, judge."""
    options = _options(arguments)
    console = standard_console()
    pictures = [picture.read_bytes() for picture in board_pictures()]
    shots = [Shot(f"/v1/models/{options.model}/predict?scale={options.scale:g}", body) for body in pictures]
    settings = {"INFERENCE_DEADLINE_MS": str(options.deadline_ms), "INFERENCE_MODELS": options.model}
    try:
        with tier_of_our_own("container", options.port, settings) as tier:
            capacity_per_s(options.port, shots, seconds=3, clients=1)  # warm
            found = overload(
                options.port,
                tier.process.pid,
                shots,
                times=options.times,
                seconds=options.seconds,
                deadline_ms=options.deadline_ms,
            )
    except TrialError as error:
        console.say(str(error))
        return 2
    console.say("\n".join(found.lines()))
    return 0 if found.goodput_share >= GOODPUT_MIN and not found.wrong else 1


def _options(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m loadtest.overload", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=float, default=4.0, help="how many times its capacity")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--deadline-ms", type=int, default=5000, help="what an answer must come within")
    parser.add_argument("--model", default="board-defects-n")
    parser.add_argument("--scale", type=float, default=0.5)
    parser.add_argument("--port", type=int, default=8010)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
