"""The planner against the load test: predicted p95 beside measured p95, at several loads and settings, on this machine.

`python -m loadtest.validate_plan --measurement shared/records/FILE.json` starts the container tier for each setting
(variant, scale, threads, slots), loads it with Poisson arrivals at shares of its predicted capacity, and writes the
table as JSON and Markdown. The prediction is what `tiers plan` would say for this machine: it stands on the measurement
alone, which was taken without HTTP and without a queue.
"""

import json
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tier_planner.candidates import Candidate, Evidence
from tier_planner.hosting import Hosting, read_hostings
from tier_planner.measurements import Measurement, read_measurement
from tier_planner.options import crowded_ms, response_ms
from tier_planner.predict import candidates
from tier_planner.prices import read_prices
from tier_planner.queueing import replayed_ms
from tier_planner.records import Ran, Record, read_record
from tier_planner.tables import TableError

from loadtest.arrivals import schedule
from loadtest.console import standard_console
from loadtest.paths import LOADTEST, MODELS, ROOT, SLO
from loadtest.payloads import PayloadError, board_pictures
from loadtest.processes import LOOPBACK, TrialError
from loadtest.steady import tier_of_our_own
from loadtest.validation import Row, markdown, shortcomings, write

PERCENTILE = 95
SETTINGS = ("n:0.25:1", "n:0.25:2", "n:0.5:2", "n:1:2", "n-int8:0.5:2", "s:0.25:1", "s:0.5:2")
"""VARIANT:SCALE:THREADS[:SLOTS]; without slots, as many as the cores have room for."""
LOADS = "0.3,0.55,0.75"
WARMUP_S = 3.0
PATIENCE_S = 60.0
SEEDS = 60
OVERRUN_S = 60.0


def here(measurement: Measurement) -> Hosting:
    """The machine itself as a hosting: the cores that the measurement had, and their own speed."""
    config = ROOT / "shared" / "config"
    hostings = read_hostings(config / "hosting.toml", read_prices(config / "prices.toml"))
    like = next(hosting for hosting in hostings if hosting.name == "container-2")
    cores = int(measurement.machine.quota_cores or measurement.machine.cores_visible)
    return replace(
        like, cores=cores, threads_max=cores, slots_max=cores, core_speed=(1.0, 1.0, 1.0), core_speed_why="itself"
    )


def chosen(text: str, every: Sequence[Candidate]) -> Candidate | None:
    """The candidate that VARIANT:SCALE:THREADS[:SLOTS] names; None where it was not measured. Raises ValueError."""
    variant, scale, threads, *slots = text.split(":")
    for candidate in every:
        if (candidate.variant, candidate.scale, candidate.threads) == (variant, float(scale), int(threads)):
            if slots and int(slots[0]) < candidate.slots:
                return replace(
                    candidate, slots=int(slots[0]), contention=1.0 if slots == ["1"] else candidate.contention
                )
            return candidate
    return None


def typical_seed(candidate: Candidate, rate_per_s: float, duration_s: float, predicted_ms: float) -> tuple[int, float]:
    """The seed whose bursts would cause about the p95 of a long time, and the p95 that they would cause.

    A short run sees few bursts, and which ones is luck: the prediction is of a long time, so a typical run is loaded.
    """
    times_ms = crowded_ms(candidate, rate_per_s, 1)
    found = []
    for seed in range(1, SEEDS + 1):
        due_s = schedule(rate_per_s, WARMUP_S, duration_s, seed)
        found.append((abs(replayed_ms(times_ms, due_s, candidate.slots, PERCENTILE) / predicted_ms - 1), seed))
    _, seed = min(found)
    due_s = schedule(rate_per_s, WARMUP_S, duration_s, seed)
    return seed, replayed_ms(times_ms, due_s, candidate.slots, PERCENTILE)


def validated(candidate: Candidate, loads: Sequence[float], seconds: float, port: int, models: Path) -> Iterator[Row]:
    """Serve one setting and load it at each share of its capacity. Raises TrialError."""
    settings = {
        "INFERENCE_MODELS": candidate.model,
        "INFERENCE_MODELS_DIR": str(models),
        "INFERENCE_THREADS": str(candidate.threads),
        "INFERENCE_SLOTS": str(candidate.slots),
        "INFERENCE_QUEUE_MAX": "1000",
    }
    mean_s = sum(candidate.service_ms) / len(candidate.service_ms) / 1000 * candidate.contention
    with tier_of_our_own("container", port, settings):
        for load in loads:
            rate = round(load * candidate.slots / mean_s, 3)
            predicted_ms = response_ms(candidate, rate, 1, PERCENTILE)
            seed, replayed = typical_seed(candidate, rate, seconds, predicted_ms)
            record = _loaded(candidate, rate, seconds, seed, port, models)
            check_power(candidate, record.ran)
            measured_ms = record.figures.p95_ms
            if measured_ms is None:
                raise TrialError(f"{candidate.model} at {rate:g}/s: {record.figures.error_share:.0%} had no answer")
            yield Row(
                f"{candidate.variant}:{candidate.scale:g}:{candidate.threads}:{candidate.slots}",
                candidate.model,
                candidate.scale or 0.0,
                candidate.threads,
                candidate.slots,
                load,
                rate,
                record.figures.arrivals,
                seed,
                predicted_ms,
                replayed,
                measured_ms,
                record.figures.arrivals - record.figures.answered,
                record.figures.lag_p99_ms,
            )


def check_power(candidate: Candidate, ran: Ran) -> None:
    """Raises TrialError where the tier says that it ran otherwise than was predicted."""
    for what, meant, said in (("threads", candidate.threads, ran.threads), ("slots", candidate.slots, ran.slots)):
        if said not in (None, meant):
            raise TrialError(f"{candidate.model}: the tier ran with {said} {what}, the prediction is for {meant}")


def _loaded(candidate: Candidate, rate_per_s: float, seconds: float, seed: int, port: int, models: Path) -> Record:
    """One open load by Locust, in a process of its own; its record."""
    with tempfile.TemporaryDirectory() as folder:
        record, slo = Path(folder) / "record.json", Path(folder) / "slo.toml"
        slo.write_text(_objective(candidate, rate_per_s, seconds, seed), encoding="utf-8")
        command = [sys.executable, "-m", "locust", "-f", str(LOADTEST / "container_load.py"), "--headless"]
        command += ["--host", f"http://{LOOPBACK}:{port}", "--slo", str(slo), "--objective", "validation"]
        command += ["--models", str(models), "--record", str(record), "--only-summary"]
        limit_s = WARMUP_S + seconds + PATIENCE_S + OVERRUN_S
        try:
            ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=limit_s)  # noqa: S603
        except subprocess.TimeoutExpired as error:
            raise TrialError(f"The load did not end within {limit_s:.0f} s") from error
        if not record.is_file():
            raise TrialError(f"The load gave no record:\n{ran.stderr[-2000:]}")
        return read_record(record)


def _objective(candidate: Candidate, rate_per_s: float, seconds: float, seed: int) -> str:
    """A slo.toml with one objective, whose bound is the patience: here the time is what is asked for, not a verdict."""
    rules = SLO.read_text(encoding="utf-8").split("[rules]")[1].split("[objective")[0]
    values: dict[str, object] = {
        "tier": "container",
        "hosting": "this machine",
        "workload": "board-4k",
        "model": candidate.model,
        "scale": candidate.scale,
        "rate_per_s": rate_per_s,
        "percentile": PERCENTILE,
        "bound_ms": PATIENCE_S * 1000,
        "error_share_max": 0.0,
        "patience_s": PATIENCE_S,
        "warmup_s": WARMUP_S,
        "duration_s": seconds,
        "samples_min": 1,
        "seed": seed,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    short = f"short = {{ warmup_s = {WARMUP_S}, duration_s = {seconds}, samples_min = 1 }}"
    return "\n".join(["[rules]", rules, "[objective.validation]", *lines, short]) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write. Returns 0 when the planner holds (`shortcomings`), 1 when not, 2 if it could not finish.

    What was measured until a failure is written all the same.
    """
    options = _options(arguments)
    console = standard_console()
    rows: list[Row] = []
    failed = False
    try:
        for row in _rows(options):
            said = f"predicted {row.predicted_ms:.0f} ms, measured {row.measured_ms:.0f} ms"
            console.say(f"{row.setting:<16} {row.rate_per_s:6.2f}/s  {said}")
            rows.append(row)
    except (TableError, TrialError, PayloadError, ValueError) as error:
        console.say(str(error))
        failed = True
    if not rows:
        return 2
    write(options.out, options.measurement, "python -m loadtest.validate_plan " + " ".join(arguments), rows)
    console.say("\n" + markdown(rows) + f"\nWritten to {options.out}")
    short = shortcomings(rows, options.goal)
    for sentence in short:
        console.say(sentence)
    return 2 if failed else 1 if short else 0


def _rows(options: Namespace) -> Iterator[Row]:
    measurement = read_measurement(options.measurement)
    every = candidates(here(measurement), options.model, Evidence((measurement,)))
    picked = [(text, chosen(text, every)) for text in options.setting or SETTINGS]
    if options.setting and (missing := [text for text, candidate in picked if candidate is None]):
        known = ", ".join(f"{one.variant}:{one.scale}:{one.threads}" for one in every)
        raise TableError(f"{missing[0]} was not measured; there are {known}")
    known_settings = [candidate for _, candidate in picked if candidate]
    if not known_settings:
        raise TableError(f"{options.measurement} knows none of {', '.join(SETTINGS)}: give --setting")
    loads = [float(load) for load in options.loads.split(",")]
    board_pictures()
    for candidate in known_settings:
        yield from validated(candidate, loads, options.seconds, options.port, options.models)


def _options(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m loadtest.validate_plan", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--measurement", type=Path, required=True, metavar="FILE", help="of this machine, quiet")
    parser.add_argument("--model", default="board-defects", help="the family; default: %(default)s")
    setting_help = "VARIANT:SCALE:THREADS[:SLOTS], may be given several times"
    parser.add_argument("--setting", action="append", metavar="SETTING", help=setting_help)
    parser.add_argument("--loads", default=LOADS, help="shares of the predicted capacity; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each load; default: %(default)s")
    parser.add_argument("--goal", type=float, default=0.15, help="median error at most; default: %(default)s")
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--port", type=int, default=8020)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "validation.json", metavar="FILE")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
