"""What `GET /metrics` says. The counts are plain numbers touched only from the event loop, where requests end and
scrapes are answered: no lock, and well under a microsecond a request, where prometheus_client's own counters with
their label look-ups took more than the tabular prediction.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from inference_http.service import Service
from inference_http.slots import Slots

BOUNDS_S = (1e-5, 1e-4, 1e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histograms' buckets in seconds: a row takes microseconds, a large picture seconds."""


class Histogram:
    """Seconds counted into `BOUNDS_S` and one bucket above."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus wants them."""
        names = [*(f"{bound:g}" for bound in BOUNDS_S), "+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))


class Metrics(Collector):
    """The figures of one application, with a registry of their own so that several can live in one process."""

    def __init__(self, service: Service, slots: Slots) -> None:
        self._service, self._slots = service, slots
        self._requests: Counter[tuple[str, int]] = Counter()
        self._durations: dict[str, Histogram] = defaultdict(Histogram)
        self._stages: dict[tuple[str, str], Histogram] = defaultdict(Histogram)
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def count(self, model: str, status: int, duration_s: float, timings_ms: Mapping[str, float]) -> None:
        """One predict request that ended; `model` is empty when it named none that is served."""
        self._requests[model, status] += 1
        self._durations[model].observe(duration_s)
        for stage, spent_ms in timings_ms.items():
            self._stages[model, stage].observe(spent_ms / 1e3)

    def add(self, collector: Collector) -> None:
        """Show the figures of `collector` too: a part of the service counts its own."""
        self._registry.register(collector)

    def exposition(self) -> bytes:
        """The text that a scrape reads."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """All figures as they stand; called by prometheus_client."""
        requests = CounterMetricFamily("inference_requests", "Predict requests ended", labels=("model", "status"))
        for (model, status), count in self._requests.items():
            requests.add_metric((model, str(status)), count)
        durations = HistogramMetricFamily(
            "inference_request_seconds", "From the first byte of a predict request to its answer", labels=("model",)
        )
        for model, histogram in self._durations.items():
            durations.add_metric((model,), histogram.buckets(), histogram.sum_s)
        stages = HistogramMetricFamily("inference_stage_seconds", "Time in one step", labels=("model", "stage"))
        for key, histogram in self._stages.items():
            stages.add_metric(key, histogram.buckets(), histogram.sum_s)
        yield from (requests, durations, stages, *self._gauges())

    def _gauges(self) -> Iterator[Metric]:
        slots, service = self._slots, self._service
        yield GaugeMetricFamily("inference_in_flight", "Slots whose thread is at work", slots.running)
        yield GaugeMetricFamily("inference_waiting", "Requests waiting for a slot", slots.waiting)
        yield CounterMetricFamily("inference_refused", "Requests refused because the queue was full", slots.refused)
        yield GaugeMetricFamily("inference_slots", "Requests that may compute at the same time", slots.count)
        yield GaugeMetricFamily("inference_threads", "ONNX Runtime threads in one run", service.threads)
        yield GaugeMetricFamily("inference_cores", "Cores that are really ours", service.cores)
