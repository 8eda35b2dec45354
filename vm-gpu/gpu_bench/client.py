"""Open-model load from threads and the standard library, for a GPU machine whose Python has no Locust.

Schedule, judgement of a reply and percentiles are those of `loadtest`; only the sending is done here.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from itertools import count
from time import perf_counter, sleep

from tier_planner.records import Sample

from loadtest.answers import Answer, read_answer
from loadtest.arrivals import poisson_arrivals

GENERATOR = "threads of the benchmark (http.client), one connection an arrival"
ANSWER_KEY = "detections"
THREADS_MAX = 256


class Client:
    """Sends pictures to one model of a tier on loopback."""

    def __init__(self, port: int, model: str, bodies: Sequence[bytes], patience_s: float) -> None:
        self._port, self._path, self._bodies = port, f"/v1/models/{model}/predict", bodies
        self._patience_s = patience_s

    def ask(self, number: int) -> tuple[Answer, int]:
        """Send picture `number`; the answer and its HTTP status, 0 where none came."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=self._patience_s)
        body = self._bodies[number % len(self._bodies)]
        try:
            connection.request("POST", self._path, body, {"Content-Type": "image/jpeg"})
            reply = connection.getresponse()
            return read_answer(reply.status, reply.read(), ANSWER_KEY), reply.status
        except (OSError, HTTPException) as error:
            return Answer(f"{type(error).__name__}: {error}"), 0
        finally:
            connection.close()

    def load(self, rate_per_s: float, duration_s: float, seed: int) -> list[Sample]:
        """Poisson arrivals, each sent when it is due whatever became of those before; one sample each, in order."""
        due_s = poisson_arrivals(rate_per_s, duration_s, seed)
        workers = max(1, min(THREADS_MAX, len(due_s)))
        with ThreadPoolExecutor(workers) as pool:
            window = perf_counter()
            sent = []
            for number, due in enumerate(due_s):
                if (wait_s := window + due - perf_counter()) > 0:
                    sleep(wait_s)
                sent.append(pool.submit(self._arrive, number, due, window + due))
            return [future.result() for future in sent]

    def _arrive(self, number: int, due_s: float, due: float) -> Sample:
        lag_ms = (perf_counter() - due) * 1e3
        answer, status = self.ask(number)
        latency_ms = (perf_counter() - due) * 1e3 if status else None
        return Sample(due_s, lag_ms, latency_ms, status, answer.error, answer.stages_ms)

    def closed_rate_per_s(self, callers: int, duration_s: float) -> float:
        """Answers a second to `callers` that each ask again at once: about what the tier can do at most."""
        ends, turns = perf_counter() + duration_s, count()

        def call() -> int:
            answered = 0
            while perf_counter() < ends:
                answer, _ = self.ask(next(turns))
                answered += not answer.error
            return answered

        started = perf_counter()
        with ThreadPoolExecutor(callers) as pool:
            answered = sum(future.result() for future in [pool.submit(call) for _ in range(callers)])
        return answered / (perf_counter() - started)
