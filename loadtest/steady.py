"""A tier of our own under a load of our own, and its memory beside it: what `overload` and `soak` have in common.

Requests go out when they are due, each on a thread that waits for its answer; the standard library's HTTP client alone
sends them, so that the generator takes little of the cores that the tier needs.
"""

import http.client
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.paths import TRIAL
from loadtest.processes import LOOPBACK, Processes, Running, require_free_port, wait_until_ready

READY_S = 60.0
CONNECTIONS_MAX = 256
"""Requests under way at once; past it the generator itself is late, and says so."""
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Shot:
    """One kind of request and the status that answers it."""

    path: str
    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hit:
    """What became of one request: its status (0: no answer), and milliseconds from when it was due, and sent."""

    shot: Shot
    due_s: float
    status: int
    latency_ms: float
    took_ms: float
    reply: bytes = b""
    """Its body, where it was to be kept."""

    @property
    def is_right(self) -> bool:
        """Answered as it should be."""
        return self.status == self.shot.status


@contextmanager
def tier_of_our_own(tier: str, port: int, settings: Mapping[str, str]) -> Iterator[Running]:
    """`tier`, ready on `port`, with `settings` in its environment. Raises TrialError when it does not start."""
    require_free_port(port, tier, "Give another with --port.")
    command = (sys.executable, "-m", "tiers", "serve", tier, "--port", str(port))
    environ = {**os.environ, "INFERENCE_ALLOW_CPU": "1", **settings}
    with Processes() as processes:
        running = processes.start(tier, command, TRIAL / f"steady-{tier}.log", environ)
        wait_until_ready(running, f"http://{LOOPBACK}:{port}", READY_S)
        yield running


def capacity_per_s(port: int, shots: Sequence[Shot], *, seconds: float, clients: int) -> float:
    """Right answers a second while `clients` send one after another: the most that the tier can do."""
    stop_at = time.monotonic() + seconds

    def client(number: int) -> int:
        right = 0
        while time.monotonic() < stop_at:
            right += _sent(port, shots[(number + right) % len(shots)], time.monotonic()).is_right
        return right

    started = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        right = sum(pool.map(client, range(clients)))
    return right / (time.monotonic() - started)


def offered(port: int, shots: Sequence[Shot], due_s: Sequence[float], *, keep_replies: bool = False) -> list[Hit]:
    """Send one of `shots` in turn at each of `due_s` (seconds from now, ascending), whatever became of the others."""
    start = time.monotonic()
    with ThreadPoolExecutor(CONNECTIONS_MAX) as pool:
        under_way = []
        for number, due in enumerate(due_s):
            time.sleep(max(0.0, start + due - time.monotonic()))
            under_way.append(pool.submit(_sent, port, shots[number % len(shots)], start + due, keep_reply=keep_replies))
        return [answer.result() for answer in under_way]


def _sent(port: int, shot: Shot, due: float, *, keep_reply: bool = False) -> Hit:
    sent, body = time.monotonic(), b""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE_S)
    try:
        connection.request("POST", shot.path, shot.body, dict(shot.headers))
        reply = connection.getresponse()
        body = reply.read()
        status = reply.status
    except (OSError, http.client.HTTPException):
        status = 0
    finally:
        connection.close()
    now = time.monotonic()
    return Hit(shot, due, status, (now - due) * 1e3, (now - sent) * 1e3, body if keep_reply else b"")


def memory_mib(process_id: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{process_id}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


@contextmanager
def watched_memory(process_id: int, every_s: float) -> Iterator[list[tuple[float, float]]]:
    """Pairs of seconds since the start and MiB, one more every `every_s` as long as the block runs."""
    seen: list[tuple[float, float]] = []
    done = threading.Event()
    started = time.monotonic()

    def look() -> None:
        while True:
            seen.append((time.monotonic() - started, memory_mib(process_id)))
            if done.wait(every_s):
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def slope_mib_per_hour(seen: Sequence[tuple[float, float]]) -> float:
    """The straight line that fits best through the later half: what comes earlier is warming up."""
    later = seen[len(seen) // 2 :]
    mean_s, mean_mib = (sum(values) / len(later) for values in zip(*later, strict=True))
    spread = sum((at_s - mean_s) ** 2 for at_s, _ in later)
    return 3600 * sum((at_s - mean_s) * (mib - mean_mib) for at_s, mib in later) / spread if spread else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of `values` lie, 0 where there is none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
