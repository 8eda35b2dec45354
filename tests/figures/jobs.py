"""`make figures-jobs`: what background jobs cost on this machine, with the real detector on 4K pictures."""

import json
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from inference_jobs.jobs import Jobs, Submission
from inference_jobs.settings import JobSettings
from inference_jobs.sqlite_store import SqliteStore

from loadtest.payloads import board_pictures
from tests.conftest import PROJECT
from tests.entry import Tier, started
from tests.models import squares_picture
from tests.shared.inference_jobs.azurite import azurite, missing

MODEL = "board-defects-n"
IDLE_JOBS = 40
IDLE_GAP_S = 1.2
"""Longer than the longest pause of an idle worker: it is asleep when the job comes."""
ROUNDS, ROUND_IMAGES = 9, 6
STORED = 10_000
CALLS = 300
_FIRST_TILE = re.compile(r"first tile after ([\d.]+) s")
Figures = dict[str, float | int | str]


def main() -> int:
    """Measure what is named (idle, saturated, latencies; default: all) and print it."""
    parts = {"idle": idle, "saturated": saturated, "latencies": latencies}
    figures: Figures = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "model": MODEL}
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or parts:
            figures |= parts[name](Path(folder))
    for name, value in figures.items():
        sys.stdout.write(f"{name:45} {value}\n")
    target = PROJECT / "build" / "figures-jobs.json"
    target.write_text(json.dumps(figures, indent=2))
    return 0


@contextmanager
def container(folder: Path, **settings: str | Path) -> Iterator[Tier]:
    """The container tier on our own models, with a store in `folder`."""
    given: dict[str, str | Path] = {
        "INFERENCE_MODELS_DIR": PROJECT / "shared" / "models",
        "INFERENCE_MODELS": MODEL,
        "INFERENCE_JOBS_DIR": folder,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with started("image_api.main", folder / "log", given | settings) as tier:
        yield tier


def idle(folder: Path) -> Figures:
    """From the moment a job is accepted to its first tile, nothing else to do: by store. The picture is decoded in
    between, as in the synchronous call.
    """
    figures = _idle(folder / "idle", "sqlite", {})
    if not missing():
        with azurite(folder / "azurite") as running:
            settings = {"INFERENCE_JOBS_CONNECTION": running.connection(running.account())}
            figures |= _idle(folder / "idle-azure", "azurite", settings)
    return figures


def _idle(folder: Path, store: str, settings: dict[str, str]) -> Figures:
    pictures = [path.read_bytes() for path in board_pictures()]
    decode_ms = []
    with container(folder, **settings) as tier:
        for number in range(IDLE_JOBS):
            path = _submit(tier.client, pictures[number % len(pictures)], scale=0.25)
            _wait(tier.client, [path])
            reply = tier.client.get(f"{path}/result").json()
            decode_ms.append(reply["timings_ms"]["decode"])
            time.sleep(IDLE_GAP_S)
        waits_ms = [float(found) * 1e3 for found in _FIRST_TILE.findall(tier.log.read_text())]
    assert len(waits_ms) == IDLE_JOBS
    return {
        f"{store}: enqueue to first tile, idle, p50 ms": round(statistics.median(waits_ms), 1),
        f"{store}: enqueue to first tile, idle, p95 ms": round(_p95(waits_ms), 1),
        f"{store}: of that decode, p50 ms": round(statistics.median(decode_ms), 1),
    }


def saturated(folder: Path) -> Figures:
    """Pictures a minute through jobs and through synchronous calls, in turns on one machine."""
    pictures = [path.read_bytes() for path in board_pictures()]
    spent_s: dict[str, list[float]] = {"sync": [], "jobs": []}
    with container(folder / "saturated") as tier:
        for _ in range(ROUNDS):
            spent_s["sync"].append(_sync_s(tier.client, pictures))
            spent_s["jobs"].append(_jobs_s(tier.client, pictures))
    sync, jobs = (ROUND_IMAGES * 60 / statistics.median(spent_s[name]) for name in ("sync", "jobs"))
    ratios = [one / other for one, other in zip(spent_s["sync"], spent_s["jobs"], strict=True)]
    return {
        "sync, pictures a minute": round(sync, 1),
        "jobs, pictures a minute": round(jobs, 1),
        "jobs / sync, median of the rounds": round(statistics.median(ratios), 3),
        "jobs / sync, each round": " ".join(f"{ratio:.2f}" for ratio in sorted(ratios)),
    }


def _sync_s(client: httpx.Client, pictures: list[bytes]) -> float:
    """Seconds for the round with two requests under way all the time: one computes, one waits."""
    started_at = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        replies = pool.map(lambda number: _predict(client, pictures[number % len(pictures)]), range(ROUND_IMAGES))
        assert set(replies) == {200}
    return time.perf_counter() - started_at


def _predict(client: httpx.Client, picture: bytes) -> int:
    return client.post(f"/v1/models/{MODEL}/predict", content=picture).status_code


def _jobs_s(client: httpx.Client, pictures: list[bytes]) -> float:
    """Seconds from the acceptance of the round's first job to the end of its last, by the service's own clock."""
    paths = [_submit(client, pictures[number % len(pictures)]) for number in range(ROUND_IMAGES)]
    _wait(client, paths)
    documents = [client.get(path).json() for path in paths]
    first = min(datetime.fromisoformat(document["created_at"]) for document in documents)
    return (max(datetime.fromisoformat(document["finished_at"]) for document in documents) - first).total_seconds()


def latencies(folder: Path) -> Figures:
    """How quickly the API answers with an empty store and with many jobs in it. Nothing is computed meanwhile."""
    empty = _latencies(folder / "empty", 0)
    many = _latencies(folder / "many", STORED)
    return {
        f"{name}, {what}, {stored} jobs stored, ms": values[what]
        for stored, by_name in ((0, empty), (STORED, many))
        for name, values in by_name.items()
        for what in ("p50", "p95")
    }


def _latencies(folder: Path, stored: int) -> dict[str, dict[str, float]]:
    names = _fill(folder, stored)
    chance = random.Random(1)  # noqa: S311
    numbers = count()
    with container(folder, INFERENCE_JOBS_WORKERS="0", INFERENCE_JOBS_QUEUE_MAX="100000") as tier:

        def submit() -> httpx.Response:
            body = squares_picture(64, 64, [(next(numbers) % 48, 0)])
            reply = tier.client.post("/v1/jobs", params={"model": MODEL}, content=body)
            names.append(reply.json()["id"])
            return reply

        return {
            "submit": _timed(submit),
            "status": _timed(lambda: tier.client.get(f"/v1/jobs/{chance.choice(names)}")),
            "list of 20": _timed(lambda: tier.client.get("/v1/jobs")),
            "cancel": _timed(lambda: tier.client.delete(f"/v1/jobs/{names.pop()}")),
        }


def _fill(folder: Path, stored: int) -> list[str]:
    store = SqliteStore(folder, bytes_max=1 << 30)
    jobs = Jobs(store, JobSettings(jobs_queue_max=1_000_000))
    body = squares_picture(64, 64, [])
    with ThreadPoolExecutor(4) as pool:
        names = list(pool.map(lambda _: jobs.submit(Submission(MODEL, [body])).id, range(stored)))
    store.close()
    return names


def _timed(call: Callable[[], httpx.Response]) -> dict[str, float]:
    spent_ms = []
    for _ in range(CALLS):
        started_at = time.perf_counter()
        call().raise_for_status()
        spent_ms.append((time.perf_counter() - started_at) * 1e3)
    return {"p50": round(statistics.median(spent_ms), 2), "p95": round(_p95(spent_ms), 2)}


def _submit(client: httpx.Client, picture: bytes, **query: Any) -> str:
    reply = client.post("/v1/jobs", params={"model": MODEL, **query}, content=picture)
    location: str = reply.raise_for_status().headers["location"]
    return location


def _wait(client: httpx.Client, paths: list[str]) -> None:
    for path in paths:
        while (status := client.get(path).json()["status"]) != "succeeded":
            assert status in ("queued", "running"), status
            time.sleep(0.2)


def _p95(values: list[float]) -> float:
    return sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)]


if __name__ == "__main__":
    sys.exit(main())
