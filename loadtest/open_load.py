"""Open-model load for Locust: every arrival has its own due time and its own greenlet, whatever the tier does.

Latency counts from the due time, so waiting that a slow tier causes is counted (no coordinated omission). One Locust
user carries the whole schedule; it ends the run by itself and sets the exit status: 0 the target was met, 1 missed or
stopped early, 2 could not run, 3 not judged.
"""

import logging
import signal
import sys
from argparse import Namespace
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

from gevent import Timeout, event, pool, signal_handler, sleep, spawn  # type: ignore[import-untyped]
from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import LocalRunner
from tier_planner.objectives import Objective, Rules, read_objectives
from tier_planner.records import FAIL, NOT_JUDGED, PASS, Record, Sample, write_record
from tier_planner.tables import TableError

from loadtest.answers import Answer, read_answer
from loadtest.arrivals import schedule
from loadtest.console import standard_console
from loadtest.measurement import measured, unknown_hosting
from loadtest.paths import MODELS, SLO
from loadtest.payloads import PayloadError, Payloads, payloads_for
from loadtest.table import with_unit
from loadtest.tier_facts import TierError, TierFacts, ask_tier, key_headers

CANNOT_RUN = 2
EXIT_STATUS = {PASS: 0, FAIL: 1, NOT_JUDGED: 3}
PROGRESS_EVERY_S = 0.5

logger = logging.getLogger("locust.open_load")


class LoadError(RuntimeError):
    """The options ask for something that an open load cannot do."""


@dataclass
class Load:
    """One run: what is sent and when, and what came back."""

    objective: Objective
    rules: Rules
    payloads: Payloads
    facts: TierFacts
    due_s: tuple[float, ...]
    """Due times from the start of the judged window; negative ones warm up."""
    samples: list[Sample] = field(default_factory=list)
    complete: bool = False
    record: Record | None = None

    def judged(self) -> list[Sample]:
        """The samples of the judged window, in the order in which they were due."""
        return sorted((sample for sample in self.samples if sample.due_s >= 0), key=lambda sample: sample.due_s)


class OpenLoadUser(FastHttpUser):
    """The one user that sends every arrival of the schedule. A subclass names its objective."""

    abstract = True
    fixed_count = 1
    insecure = False
    max_redirects = 0  # a redirect is no prediction
    objective_name: ClassVar[str]
    load: ClassVar[Load]

    def __init__(self, environment: Environment) -> None:
        # A smaller pool would make arrivals wait for a connection: a closed model in disguise.
        self.concurrency = len(self.load.due_s) + 1
        self.network_timeout = self.connection_timeout = self.load.objective.patience_s
        super().__init__(environment)
        # Locust would copy the whole request into the exception of every refused picture; we read the status ourselves.
        self.client.client.valid_response_codes = frozenset(range(100, 600))  # type: ignore[misc]

    @task
    def send_every_arrival(self) -> None:
        """Spawn each arrival when it is due, await all of them, end the run."""
        arrivals = pool.Group()
        window = perf_counter() + self.load.objective.warmup_s
        for number, due_s in enumerate(self.load.due_s):
            while (wait_s := window + due_s - perf_counter()) > 0:
                sleep(wait_s)
            arrivals.spawn(self._arrive, number, due_s, window + due_s)
        arrivals.join()  # bounded: every arrival ends within its patience
        self.load.complete = True
        spawn(self.environment.runner.quit)
        event.Event().wait()  # until the runner stops this user; a task that returns would be started again

    def _arrive(self, number: int, due_s: float, due: float) -> None:
        """Send one arrival and keep its sample; `due` is the clock's reading at its due time."""
        patience_s = self.load.objective.patience_s
        sent = perf_counter()
        answer, status, latency_ms = Answer(f"no answer within {patience_s:g} s"), 0, None
        with Timeout(max(due + patience_s - sent, 0.001), False) as limit:
            reply, status = self._send(number, due)
            # The HTTP client swallows the timeout and reports an error of its own instead.
            answer = reply if limit.pending else answer
            latency_ms = (perf_counter() - due) * 1000 if status else None
        self.load.samples.append(Sample(due_s, (sent - due) * 1000, latency_ms, status, answer.error, answer.stages_ms))

    def _send(self, number: int, due: float) -> tuple[Answer, int]:
        """The answer and its HTTP status, 0 where no reply came."""
        payloads = self.load.payloads
        body: Any = payloads.bodies[number % len(payloads.bodies)]  # Locust's annotation leaves bytes out
        headers = dict(payloads.headers)
        with self.client.request(
            "POST", payloads.path, name=self.load.objective.name, data=body, headers=headers, catch_response=True
        ) as reply:
            reply.request_meta["response_time"] = (perf_counter() - due) * 1000  # Locust's own table, from due as well
            error = getattr(reply, "error", None)
            content = reply.content or b""
            answer = Answer(_cause(error)) if error else read_answer(reply.status_code, content, payloads.answer_key)
            reply.failure(answer.error) if answer.error else reply.success()
            return answer, reply.status_code


def _cause(error: BaseException) -> str:
    return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"


def add_options(parser: LocustArgumentParser, **_: object) -> None:
    """Everything has a default: `locust -f FILE --headless --host URL` is enough."""
    options = parser.add_argument_group("Open load", "arrivals by their own schedule, judged by slo.toml")
    options.add_argument("--slo", metavar="<file>", default=str(SLO), help="Targets to read. Default: %(default)s")
    options.add_argument("--objective", metavar="<name>", help="Objective in slo.toml. Default: the one of the file")
    options.add_argument("--short", action="store_true", help="The objective's short form")
    options.add_argument("--model", metavar="<name>", help="Model or family to ask instead")
    options.add_argument("--scale", type=float, metavar="<share>", help="Scale of a picture's sides instead")
    options.add_argument("--arrival-rate", type=float, metavar="<per s>", help="Arrivals per second instead")
    options.add_argument("--duration-s", type=float, metavar="<s>", help="Judged window in seconds instead")
    options.add_argument("--seed", type=int, metavar="<int>", help="Seed of the schedule instead")
    options.add_argument("--hosting", metavar="<name>", help="Hosting to name in the record instead")
    options.add_argument("--models", metavar="<folder>", default=str(MODELS), help="Whose golden rows to send")
    options.add_argument("--record", metavar="<file>", help="Write the measurement there as JSON")
    key_help = "Function or API key to send. Arguments can be seen by others: rather set"
    options.add_argument("--key", env_var="LOADTEST_KEY", default="", help=key_help)
    options.add_argument("--progress", action="store_true", help="Print a count of answers twice a second")


def prepare(environment: Environment, **_: object) -> None:
    """Read the targets, the payloads and what the tier says of itself; leave with status 2 when one cannot be had."""
    try:
        OpenLoadUser.load = _prepared(environment)
    except (LoadError, TableError, PayloadError, TierError) as error:
        logger.error(error)  # noqa: TRY400 - the message is for people; a traceback would bury it
        sys.exit(CANNOT_RUN)


def _prepared(environment: Environment) -> Load:
    options = environment.parsed_options or Namespace()
    if not isinstance(environment.runner, LocalRunner) or len(environment.user_classes) != 1:
        raise TableError(
            "One schedule is sent by one process: give one load file, no --master, --worker or --processes"
        )
    if options.run_time:
        raise LoadError("--run-time would cut the schedule short; give --duration-s instead")
    if not environment.host:
        raise LoadError("Say which tier to load: --host http://127.0.0.1:8001")
    (user_class,) = environment.user_classes
    if not issubclass(user_class, OpenLoadUser):
        raise LoadError(f"{user_class.__name__} is no OpenLoadUser")
    objectives = read_objectives(Path(options.slo), short=options.short)
    objective = _overridden(objectives.named(options.objective or user_class.objective_name), options)
    if options.hosting and (warning := unknown_hosting(options.hosting)):
        logger.warning(warning)
    due_s = schedule(objective.rate_per_s, objective.warmup_s, objective.duration_s, objective.seed)
    facts = ask_tier(environment.host.rstrip("/"), objective.model, options.key)
    payloads = payloads_for(objective, Path(options.models))
    payloads = replace(payloads, headers={**payloads.headers, **key_headers(options.key)})
    return Load(objective, objectives.rules, payloads, facts, due_s)


def _overridden(objective: Objective, options: Namespace) -> Objective:
    given = {
        "model": options.model,
        "scale": options.scale,
        "rate_per_s": options.arrival_rate,
        "duration_s": options.duration_s,
        "seed": options.seed,
        "hosting": options.hosting,
    }
    return replace(objective, **{name: value for name, value in given.items() if value is not None})


def show_progress(environment: Environment, **_: object) -> None:
    """Count answers on standard output, for the trial's ticking line."""
    if environment.parsed_options and environment.parsed_options.progress:
        spawn(_count_answers, OpenLoadUser.load)


def end_on_interrupt(environment: Environment, **_: object) -> None:
    """Ctrl-C ends the run as an event; a KeyboardInterrupt is lost where it meets a callback that swallows errors."""
    if environment.runner:
        signal_handler(signal.SIGINT, environment.runner.quit)


def _count_answers(load: Load) -> None:
    console = standard_console()
    while not load.complete:
        console.say(f"progress {len(load.samples)} of {len(load.due_s)}")
        sleep(PROGRESS_EVERY_S)


def conclude(environment: Environment, **_: object) -> None:
    """Judge the run, write its record, say the verdict."""
    load = OpenLoadUser.load
    if not load.complete:
        return
    load.record = measured(load.objective, load.rules, load.facts, load.judged(), str(environment.host))
    if environment.parsed_options and environment.parsed_options.record:
        write_record(Path(environment.parsed_options.record), load.record)


def set_exit_status(environment: Environment, **_: object) -> None:
    """By the verdict; a run that was stopped early has none and fails."""
    record = OpenLoadUser.load.record
    environment.process_exit_code = EXIT_STATUS[record.verdict.outcome if record else FAIL]


def say_verdict(**_: object) -> None:
    """Last of all, below Locust's own tables (whose percentiles are rounded)."""
    standard_console().say("\n" + "\n".join(_verdict_lines(OpenLoadUser.load.record)))


def _verdict_lines(record: Record | None) -> list[str]:
    if record is None:
        return ["FAIL  stopped before the schedule ended"]
    figures = record.figures
    percentiles = ("p50", figures.p50_ms), ("p95", figures.p95_ms), ("p99", figures.p99_ms)
    times = ", ".join(f"{name} {with_unit(ms)}" for name, ms in percentiles)
    rates = f"{figures.achieved_rate_per_s:.2f} of {figures.offered_rate_per_s:.2f} requests/s"
    return [
        f"{record.verdict.outcome}  {record.objective.name}: {record.objective.target}",
        f"  {times}; {rates}; {figures.answered} of {figures.arrivals} answered; device {record.ran.device}",
        *(f"  - {reason}" for reason in record.verdict.reasons),
    ]


def _listen() -> None:
    hooks: Any = events  # Locust's hooks carry no annotations
    hooks.init_command_line_parser.add_listener(add_options)
    hooks.init.add_listener(prepare)
    hooks.test_start.add_listener(end_on_interrupt)
    hooks.test_start.add_listener(show_progress)
    hooks.test_stop.add_listener(conclude)
    hooks.quitting.add_listener(set_exit_status)
    hooks.quit.add_listener(say_verdict)


_listen()
