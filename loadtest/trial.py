"""The trial: start the tiers on loopback, load one after the other, say which met its target.

`tiers trial [TIER ...] [--running TIER=URL] [--short] [--first-port N] [--json] [--open]`. Exit status 0 when every
judged tier met its target and at least one was judged, 1 when one missed, 2 when the trial could not run, 130 when it
was interrupted.
"""

import json
import os
import signal
import sys
import time
import webbrowser
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tier_planner.objectives import IMAGE_WORKLOADS, TIERS, Objective, read_objectives
from tier_planner.records import FAIL, PASS, Record, Verdict, read_record, write_record
from tier_planner.tables import TableError

from loadtest.console import Console
from loadtest.machine import this_machine
from loadtest.paths import LOADTEST, MODELS, SLO, TRIAL
from loadtest.payloads import PayloadError, board_pictures
from loadtest.processes import (
    INTERRUPTS,
    LOOPBACK,
    POLL_S,
    Processes,
    Running,
    TrialError,
    interrupt,
    is_ready,
    require_free_port,
    wait_until_ready,
)
from loadtest.report import write_report
from loadtest.table import reasons, verdict_table, with_unit

SERVE = (sys.executable, "-m", "tiers", "serve")
"""The command that serves a tier; the tier and `--port N` follow."""
FIRST_PORT = 8000
READY_TIMEOUT_S = 60.0
OVERRUN_S = 30.0
"""How much longer than its schedule and patience a load may take before it is stopped."""
STILL_READY_S = 5.0
"""How long a tier may take to say that it is ready right after a load that may have been too much for it."""
FAULT_DELAY_S = "6"
MET, MISSED, CANNOT_RUN, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True)
class Trial:
    """What to try and how."""

    tiers: tuple[str, ...] = TIERS
    first_port: int = FIRST_PORT
    short: bool = False
    slow: str = ""
    """The tier whose answers a fault delays, to see the trial fail."""
    slo: Path = SLO
    models: Path = MODELS
    folder: Path = TRIAL
    serve: tuple[str, ...] = SERVE
    ready_timeout_s: float = READY_TIMEOUT_S
    running: Mapping[str, str] = field(default_factory=dict)
    """URLs of tiers that somebody else runs: they are loaded, neither started nor stopped."""

    def port(self, tier: str) -> int:
        """The tier's port: its place among all tiers from the first port on."""
        return self.first_port + TIERS.index(tier)

    def host(self, tier: str) -> str:
        """The URL at which the tier is loaded."""
        return self.running.get(tier) or f"http://{LOOPBACK}:{self.port(tier)}"


OURS = Trial()


def main(arguments: Sequence[str], environ: Mapping[str, str], usual: Trial = OURS) -> int:
    """The command; returns its exit status. `usual` is what arguments and environment leave as it is."""
    for number in INTERRUPTS:
        signal.signal(number, interrupt)
    try:
        options = _options(arguments, environ)
        trial = _trial(options, environ, usual)
        console = Console(sys.stderr if options.json else sys.stdout)
        records = conduct(trial, environ, console)
    except (TrialError, TableError, PayloadError) as error:
        sys.stderr.write(f"\ntrial: {error}\n")
        return CANNOT_RUN
    except KeyboardInterrupt:
        sys.stderr.write("\ntrial: interrupted; every tier was stopped\n")
        return INTERRUPTED
    _show(trial, records, console, options)
    return exit_status(records)


def conduct(trial: Trial, environ: Mapping[str, str], console: Console) -> list[Record]:
    """Start, load and stop the tiers; one record each, in the order of the tiers. Raises TrialError."""
    objectives = read_objectives(trial.slo, short=trial.short)
    chosen = {tier: objectives.of_tier(tier) for tier in trial.tiers}
    _announce(chosen, console)
    ours = [tier for tier in chosen if tier not in trial.running]
    for tier in ours:
        remedy = f"Free it, or choose others: INFERENCE_TRIAL_PORT={trial.first_port + 100} (or --first-port)."
        require_free_port(trial.port(tier), tier, remedy)
    if any(objective.workload in IMAGE_WORKLOADS for objective in chosen.values()):
        console.tick("making the 4K pictures, once ...")
        board_pictures()
    with Processes() as processes:
        started = time.monotonic()
        running = {tier: _start_tier(trial, chosen[tier], environ, processes) for tier in ours}
        for tier, process in running.items():
            console.tick(f"waiting for the {tier} tier ...")
            wait_until_ready(process, trial.host(tier), trial.ready_timeout_s)
            console.say(f"ready  {tier:<10} {time.monotonic() - started:4.1f} s  {trial.host(tier)}")
        return [_load_tier(trial, chosen[tier], running.get(tier), environ, processes, console) for tier in chosen]


def exit_status(records: Sequence[Record]) -> int:
    """0 when every judged tier met its target and at least one was judged."""
    outcomes = [record.verdict.outcome for record in records]
    return MET if PASS in outcomes and FAIL not in outcomes else MISSED


def _options(arguments: Sequence[str], environ: Mapping[str, str]) -> Namespace:
    parser = ArgumentParser(prog="tiers trial", description="Start the tiers, load each, say which met its target.")
    parser.add_argument("tiers", nargs="*", metavar="TIER", help=f"of {', '.join(TIERS)}; default: all")
    short = _flag(environ, "INFERENCE_TRIAL_SHORT")
    parser.add_argument("--running", action="append", default=[], metavar="TIER=URL", help="load it there, start none")
    parser.add_argument("--short", action="store_true", default=short, help="the short form, about a minute")
    port = environ.get("INFERENCE_TRIAL_PORT") or str(FIRST_PORT)
    parser.add_argument("--first-port", default=port, metavar="N", help="of three in a row; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="the verdicts as JSON on standard output")
    parser.add_argument("--open", action="store_true", help="open the report in a browser")
    return parser.parse_args(arguments)


def _trial(options: Namespace, environ: Mapping[str, str], usual: Trial) -> Trial:
    slow = environ.get("INFERENCE_TRIAL_SLOW", "")
    running = dict(_tier_and_url(text) for text in options.running)
    tiers = tuple(tier for tier in TIERS if tier in {*options.tiers, *running}) or TIERS
    if unknown := [tier for tier in (*options.tiers, *running) if tier not in TIERS]:
        raise TrialError(f"{unknown[0]!r} is no tier; there are {', '.join(TIERS)}.")
    if slow and slow not in (started := [tier for tier in tiers if tier not in running]):
        raise TrialError(f"INFERENCE_TRIAL_SLOW={slow!r} is no tier of this trial; there are {', '.join(started)}.")
    if not options.first_port.isdecimal() or not 1 <= int(options.first_port) <= 65535 - len(TIERS):
        raise TrialError(f"INFERENCE_TRIAL_PORT={options.first_port!r} (or --first-port) is no port that can be used.")
    models = Path(environ.get("INFERENCE_MODELS_DIR") or usual.models)
    port = int(options.first_port)
    return replace(usual, tiers=tiers, first_port=port, short=options.short, slow=slow, models=models, running=running)


def _tier_and_url(text: str) -> tuple[str, str]:
    tier, _, url = text.partition("=")
    if not url.startswith(("http://", "https://")):
        raise TrialError(f"--running {text!r} is not TIER=URL, such as function=http://127.0.0.1:8100.")
    return tier, url.rstrip("/")


def _flag(environ: Mapping[str, str], key: str) -> bool:
    value = environ.get(key, "")
    if value not in ("", "0", "1"):
        raise TrialError(f"{key}={value!r} is neither 1 nor 0.")
    return value == "1"


def _announce(chosen: Mapping[str, Objective], console: Console) -> None:
    machine = this_machine()
    seconds = sum(objective.warmup_s + objective.duration_s for objective in chosen.values())
    quota = f", quota {machine.quota_cores:g}" if machine.quota_cores else ""
    console.say(f"Trial of {', '.join(chosen)} on {machine.cpu}, {machine.cores_visible} cores{quota}.")
    console.say(f"The tiers run together and are loaded one after the other: {seconds:.0f} s of load.\n")


def _start_tier(trial: Trial, objective: Objective, environ: Mapping[str, str], processes: Processes) -> Running:
    tier = objective.tier
    command = [*trial.serve, tier, "--port", str(trial.port(tier))]
    # What is judged, unless somebody chose: a family's largest variants take seconds to warm, and memory.
    own = {"INFERENCE_MODELS": environ.get("INFERENCE_MODELS") or objective.model}
    # Without CUDA the GPU tier starts as a declared CPU stand-in, which is never judged.
    own |= {"INFERENCE_ALLOW_CPU": "1"} if tier == "gpu" else {}
    fault = {"INFERENCE_FAULT_DELAY_S": FAULT_DELAY_S} if tier == trial.slow else {}
    return processes.start(tier, command, trial.folder / f"{tier}.log", {**environ, **own, **fault})


def _load_tier(
    trial: Trial,
    objective: Objective,
    tier: Running | None,
    environ: Mapping[str, str],
    processes: Processes,
    console: Console,
) -> Record:
    """Load one tier in a process of its own, show its progress, read its record. `tier` is None where others run it."""
    record = trial.folder / f"{objective.tier}.json"
    record.unlink(missing_ok=True)
    command = _load_command(trial, objective, record)
    load = processes.start(objective.tier, command, trial.folder / f"{objective.tier}-load.log", environ)
    _watch(load, objective, console)
    if not record.is_file():
        raise TrialError(f"The load of the {objective.tier} tier gave no verdict:\n{load.last_lines()}")
    measured = _survived(read_record(record), trial.host(objective.tier), tier, record)
    figures = measured.figures
    console.say(
        f"loaded {objective.tier:<10} {figures.answered} of {figures.arrivals} answered, "
        f"p95 {with_unit(figures.p95_ms)}, target {objective.target}: {measured.verdict.outcome}"
    )
    return measured


def _survived(measured: Record, host: str, tier: Running | None, path: Path) -> Record:
    """The record; a tier that ended under its load has failed, whatever it answered before."""
    if tier is None:
        reason = "" if is_ready(host, STILL_READY_S) else f"The tier at {host} is not ready any more after its load."
    else:
        status = tier.process.poll()
        ended = f"The tier ended with status {status} under load. Its log {tier.log} ends:\n{tier.last_lines()}"
        reason = "" if status is None else ended
    if not reason:
        return measured
    failed = replace(measured, verdict=Verdict(FAIL, (*measured.verdict.reasons, reason)))
    write_record(path, failed)
    return failed


def _load_command(trial: Trial, objective: Objective, record: Path) -> list[str]:
    file = LOADTEST / f"{objective.tier}_load.py"
    host = trial.host(objective.tier)
    targets = ["--slo", str(trial.slo), "--objective", objective.name, *(["--short"] if trial.short else [])]
    given = ["--models", str(trial.models), "--record", str(record), "--progress", "--only-summary"]
    return [sys.executable, "-m", "locust", "-f", str(file), "--headless", "--host", host, *targets, *given]


def _watch(load: Running, objective: Objective, console: Console) -> None:
    """Tick until the load ends; one that overruns has hung."""
    started = time.monotonic()
    span_s = objective.warmup_s + objective.duration_s
    last_s = span_s + objective.patience_s + OVERRUN_S
    while load.process.poll() is None:
        elapsed_s = time.monotonic() - started
        if elapsed_s > last_s:
            raise TrialError(
                f"The load of the {objective.tier} tier did not end after {last_s:g} s:\n{load.last_lines()}"
            )
        console.tick(f"load   {objective.tier:<10} {elapsed_s:3.0f} of {span_s:.0f} s, {_answered(load.log)}")
        time.sleep(POLL_S)


def _answered(log: Path) -> str:
    """The last count of answers in the load's log."""
    counts = [
        line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line[:9] == "progress "
    ]
    return f"{counts[-1][9:]} answered" if counts else "starting"


def _show(trial: Trial, records: Sequence[Record], console: Console, options: Namespace) -> None:
    report = write_report(trial.folder / "report.html", records)
    console.say("\n" + verdict_table(records))
    if why := reasons(records):
        console.say("\n" + why)
    console.say(f"\nReport: {report}")
    if options.json:
        summaries = [_summary(trial, record) for record in records]
        sys.stdout.write(json.dumps({"report": str(report), "tiers": summaries}, indent=1) + "\n")
    if options.open:
        webbrowser.open(report.as_uri())


def _summary(trial: Trial, record: Record) -> dict[str, object]:
    return {
        "tier": record.ran.tier,
        "hosting": record.ran.hosting,
        "device": record.ran.device,
        "model": record.ran.model,
        "p95_ms": record.figures.p95_ms,
        "target": record.objective.target,
        "verdict": record.verdict.outcome,
        "reasons": list(record.verdict.reasons),
        "record": str(trial.folder / f"{record.ran.tier}.json"),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
