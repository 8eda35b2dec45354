"""What a family answers with as the deadline grows: which variant at which scale, how accurate, and whether in time.

`python -m loadtest.deadline_sweep [--rate 0.5] [--seconds 20]` starts a container tier of its own (or loads one that
runs, `--running`), sends 4K pictures to the family as a Poisson process under one deadline after another, and writes
what came back as a record and as a plot. Exit status 0 when at least 95 % of the answers were in time.
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from loadtest.arrivals import poisson_arrivals
from loadtest.console import standard_console
from loadtest.deadline_plot import draw
from loadtest.deadline_steps import Step, step
from loadtest.machine import git_commit, this_machine
from loadtest.paths import ROOT
from loadtest.payloads import board_pictures
from loadtest.processes import TrialError
from loadtest.steady import Shot, offered, tier_of_our_own

DEADLINES_S = (0.3, 0.5, 0.8, 1.2, 2.0, 3.0, 5.0, 7.0, 10.0)
IN_TIME_MIN = 0.95
WARMUP = (0.5, 1.0, 3.0, 10.0)
"""Deadlines of the first requests, one after another, which are not counted."""


def sweep(port: int, family: str, *, rate_per_s: float, seconds: float) -> list[Step]:
    """One step a deadline of `DEADLINES_S`, each `seconds` of arrivals at `rate_per_s`."""
    pictures = [picture.read_bytes() for picture in board_pictures()]

    def shots(deadline_s: float) -> list[Shot]:
        path = f"/v1/models/{family}/predict?deadline_ms={deadline_s * 1e3:g}"
        return [Shot(path, picture) for picture in pictures]

    console = standard_console()
    for deadline_s in WARMUP:
        offered(port, shots(deadline_s), [0.0])
    steps = []
    for number, deadline_s in enumerate(DEADLINES_S):
        due_s = poisson_arrivals(rate_per_s, seconds, seed=number)
        steps.append(step(deadline_s, offered(port, shots(deadline_s), due_s, keep_replies=True)))
        console.say(steps[-1].line())
    return steps


def write(path: Path, steps: Sequence[Step], options: Namespace, command: Sequence[str]) -> None:
    """The record: what ran, on what, and each step with every latency."""
    document = {
        "schema": 1,
        "kind": "deadline-sweep",
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git_commit(ROOT),
        "command": " ".join(command),
        "machine": asdict(this_machine()),
        "family": options.family,
        "rate_per_s": options.rate,
        "seconds": options.seconds,
        "steps": [asdict(each) for each in steps],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Measure, write, draw, judge."""
    options = _options(arguments)
    console = standard_console()
    settings = {"INFERENCE_MODELS": options.family}
    tier = nullcontext() if options.running else tier_of_our_own("container", options.port, settings)
    try:
        with tier:
            steps = sweep(options.port, options.family, rate_per_s=options.rate, seconds=options.seconds)
    except TrialError as error:
        console.say(str(error))
        return 2
    write(options.record, steps, options, ["python", "-m", "loadtest.deadline_sweep", *arguments])
    draw(steps, options.plot, f"{options.family}, {options.rate:g} pictures of 3840 x 2160 px a second")
    answers = sum(len(each.latencies_ms) for each in steps)
    in_time = sum(each.in_time for each in steps)
    console.say(f"{in_time} of {answers} answers in time; {options.record}, {options.plot}.png and .svg")
    return 0 if in_time >= IN_TIME_MIN * answers and answers and not any(each.failed for each in steps) else 1


def _options(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m loadtest.deadline_sweep", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", default="board-defects")
    parser.add_argument("--rate", type=float, default=0.5, help="pictures a second, a Poisson process")
    parser.add_argument("--seconds", type=float, default=20.0, help="of arrivals for each deadline")
    parser.add_argument("--port", type=int, default=8010)
    parser.add_argument("--running", action="store_true", help="a container tier listens on that port already")
    today = datetime.now(UTC).date().isoformat()
    record = ROOT / "shared" / "records" / f"deadline-sweep-{today}.json"
    parser.add_argument("--record", type=Path, default=record)
    plot = ROOT / "shared" / "inference_http" / "deadline-sweep"
    parser.add_argument("--plot", type=Path, default=plot, help="without its ending: .png and .svg are written")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
