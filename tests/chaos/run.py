"""Many jobs, and everything that can go wrong, at once. At the end each accepted job has exactly one right result."""

import random
import signal
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from tests.chaos.cast import Cast
from tests.chaos.stores import Stage
from tests.models import CELL_PX, detection_model, squares_picture

MODEL = "squares-n"
SIDE_PX = 192
_SETTLE_S_MAX = 240


@dataclass(frozen=True)
class Plan:
    """How much, and how often. Seconds throughout."""

    jobs: int = 200
    workers: int = 3
    work_s: float = 1.0
    lease_s: float = 6.0
    disturbed_s: float = 110.0
    """Submissions and kills go on for about so long."""
    kill_every_s: float = 4.0
    denied_s: float = 12.0
    seed: int = 7


@dataclass
class Report:
    """What happened, and what came of it."""

    store: str
    accepted: int = 0
    succeeded: int = 0
    wrong: int = 0
    lost: int = 0
    doubled: int = 0
    strangers: int = 0
    """Jobs in the list that nobody was told of."""
    kills: int = 0
    pauses: int = 0
    api_restarts: int = 0
    trouble: str = ""
    refusals: dict[str, int] = field(default_factory=dict)
    """What submissions were answered before they were accepted: status or error, and how often."""
    attempts: int = 0
    recomputed: int = 0
    recomputed_max: int = 0
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Nothing lost, doubled or wrong, and no more computed twice than was interrupted."""
        faults = self.wrong + self.lost + self.doubled + self.strangers
        return not faults and self.succeeded == self.accepted > 0 and self.recomputed <= self.recomputed_max


class Chaos:
    """One run of `plan` on one store."""

    def __init__(self, name: str, folder: Path, stage: Stage, plan: Plan) -> None:
        detection_model(folder / "models")
        settings = stage.settings | {
            "INFERENCE_JOBS_LEASE_S": str(plan.lease_s),
            "INFERENCE_JOBS_ATTEMPTS_MAX": "20",
            "INFERENCE_JOBS_RETRY_S": "1",
        }
        self._cast = Cast(folder, settings, folder / "models", workers=plan.workers, work_s=plan.work_s)
        self._stage, self._plan = stage, plan
        self._random = random.Random(plan.seed)  # noqa: S311
        self._pictures = [self._picture() for _ in range(plan.jobs)]
        self._accepted: dict[int, str] = {}
        self._refusals: Counter[str] = Counter()
        self._over = threading.Event()
        self.report = Report(name, trouble=stage.trouble)

    def run(self) -> Report:
        """Play it, and count what came of it."""
        started = time.monotonic()
        with self._cast:
            threads = [threading.Thread(target=part) for part in (self._submit, self._kill, self._disturb)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self._count()
        self.report.refusals = dict(self._refusals)
        self.report.seconds = round(time.monotonic() - started, 1)
        return self.report

    def _picture(self) -> bytes:
        cells = range(0, SIDE_PX, CELL_PX)
        corners = [(self._random.choice(cells), self._random.choice(cells)) for _ in range(4)]
        return squares_picture(SIDE_PX, SIDE_PX, corners)

    def _submit(self) -> None:
        """Submit every picture, again and again until it is accepted, as a client with a key may."""
        with httpx.Client(base_url=self._cast.url, timeout=60) as client:
            for number, picture in enumerate(self._pictures):
                while number not in self._accepted:
                    headers = {"idempotency-key": f"picture {number}"}
                    try:
                        reply = client.post("/v1/jobs", params={"model": MODEL}, content=picture, headers=headers)
                    except httpx.TransportError as error:
                        self._refusals[type(error).__name__] += 1
                        time.sleep(0.3)
                        continue
                    if reply.status_code == 202:
                        self._accepted[number] = reply.json()["id"]
                    else:
                        self._refusals[str(reply.status_code)] += 1
                        time.sleep(0.5)
                time.sleep(self._plan.disturbed_s / self._plan.jobs)

    def _kill(self) -> None:
        """Kill a worker every few seconds."""
        ends_at = time.monotonic() + self._plan.disturbed_s
        while time.monotonic() < ends_at:
            self._over.wait(self._plan.kill_every_s * self._random.uniform(0.5, 1.5))
            worker = self._random.choice(self._cast.workers)
            if not worker.lock.locked():
                worker.restart()
                self.report.kills += 1

    def _disturb(self) -> None:
        """The rest of the trouble, in turn: each needs the others' help to be survived."""
        pause_s = self._plan.disturbed_s / 10
        self._over.wait(pause_s)
        self._restart_api(signal.SIGKILL)
        self._over.wait(pause_s)
        self._cast.workers[0].pause(self._over, self._plan.lease_s * 2.5)
        self.report.pauses += 1
        self._over.wait(pause_s)
        self._stage.deny()
        self._over.wait(self._plan.denied_s)
        self._stage.allow()
        self._over.wait(pause_s)
        self._restart_api(signal.SIGTERM)

    def _restart_api(self, number: int) -> None:
        self._cast.api.restart(number)
        self._cast.wait_for_api()
        self.report.api_restarts += 1

    def _count(self) -> None:
        report, plan = self.report, self._plan
        with httpx.Client(base_url=self._cast.url, timeout=60) as client:
            self._settle(client)
            listed = _listed(client)
            report.accepted = len(self._accepted)
            report.lost = sum(name not in listed for name in self._accepted.values())
            report.doubled = len(self._accepted) - len(set(self._accepted.values()))
            report.strangers = len(listed.keys() - set(self._accepted.values()))
            for number, name in self._accepted.items():
                report.succeeded += listed.get(name, {}).get("status") == "succeeded"
                report.wrong += not self._is_right(client, name, self._pictures[number])
            report.attempts = sum(job["attempts"] for job in listed.values())
        report.recomputed = report.attempts - len(listed)
        # A kill ends at most the one job at work there. A pause may hold the store's lock, and cost every worker one;
        # so may a store that is full or gone.
        report.recomputed_max = report.kills + (report.pauses + 1) * plan.workers

    def _settle(self, client: httpx.Client) -> None:
        give_up_at = time.monotonic() + _SETTLE_S_MAX
        while time.monotonic() < give_up_at:
            statuses = Counter(job["status"] for job in _listed(client).values())
            if not statuses["queued"] + statuses["running"]:
                return
            time.sleep(1)

    def _is_right(self, client: httpx.Client, name: str, picture: bytes) -> bool:
        """Byte for byte the synchronous answer, but for the timings, which differ from run to run; and the same each
        time it is asked for.
        """
        results = [client.get(f"/v1/jobs/{name}/result").content for _ in range(2)]
        answer = client.post(f"/v1/models/{MODEL}/predict", content=picture).content
        return results[0] == results[1] and _timeless(results[0]) == _timeless(answer)


def _listed(client: httpx.Client) -> dict[str, dict[str, Any]]:
    jobs: list[dict[str, Any]] = []
    path = "/v1/jobs?limit=100"
    while path:
        page = client.get(path).raise_for_status().json()
        jobs += page["jobs"]
        path = page["next"]
    assert len({job["id"] for job in jobs}) == len(jobs), "a job is listed twice"
    return {job["id"]: job for job in jobs}


def _timeless(reply: bytes) -> bytes:
    fields = orjson.loads(reply)
    fields.pop("timings_ms", None)
    return orjson.dumps(fields)


def as_text(report: Report) -> str:
    """The report as lines."""
    return "\n".join(f"  {name:15} {value}" for name, value in asdict(report).items())
