"""What `GET /metrics` says of jobs. Plain numbers: written by the worker's threads, read when a scrape comes."""

import threading
from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class JobCounts(Collector):
    """Counts of one process since its start, and the queue's length as it was last looked at."""

    def __init__(self) -> None:
        self.waiting = 0
        """Jobs in the queue, those at work included; looked at now and then, because it may be a question over the
        network.
        """
        self._lock = threading.Lock()
        self._attempts: Counter[str] = Counter()
        self._spent_s = 0.0
        self._wait_s = 0.0

    def attempt(self, end: str, spent_s: float) -> None:
        """An attempt came to `end` after `spent_s` seconds: computed, failed, handed_back or lost."""
        with self._lock:
            self._attempts[end] += 1
            self._spent_s += spent_s

    def first_tile(self, wait_s: float) -> None:
        """A job's first tile, `wait_s` seconds after it was accepted."""
        with self._lock:
            self._wait_s += wait_s

    def collect(self) -> Iterator[Metric]:
        """All figures as they stand; called by prometheus_client."""
        attempts = CounterMetricFamily("inference_job_attempts", "Attempts at jobs, by how they ended", labels=("end",))
        with self._lock:
            for end, count in self._attempts.items():
                attempts.add_metric((end,), count)
            spent_s, wait_s = self._spent_s, self._wait_s
        yield attempts
        yield CounterMetricFamily("inference_job_seconds", "Seconds of attempts at jobs", spent_s)
        yield CounterMetricFamily("inference_job_wait_seconds", "Seconds from acceptance to the first tile", wait_s)
        yield GaugeMetricFamily("inference_jobs_in_queue", "Jobs that wait or are at work, about", self.waiting)
