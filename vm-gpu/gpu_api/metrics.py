"""What the GPU tier adds to `GET /metrics`: its batches, and what the driver says about the GPU."""

import logging
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gpu_api.counts import SIZES, WAITS_S
from gpu_api.engines import Engines

_LOG = logging.getLogger("inference.gpu")
Gauges = dict[str, tuple[str, float]]
"""By metric: its help text and its value."""


class GpuMetrics(Collector):
    """The figures of `engines`, and of the GPU where nvidia-ml-py is installed and finds a driver."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._gpu = gpu_gauges(engines.settings.gpu_device)

    def collect(self) -> Iterator[Metric]:
        """All figures as they stand; called by prometheus_client."""
        labels = ("model",)
        sizes = HistogramMetricFamily("inference_batch_tiles", "Tiles of one run that somebody wanted", labels=labels)
        waits = HistogramMetricFamily("inference_batch_queue_seconds", "From a request's tiles to a run", labels=labels)
        padding = CounterMetricFamily("inference_batch_padding_tiles", "Tiles computed to fill a batch", labels=labels)
        dropped = CounterMetricFamily("inference_batch_dropped_tiles", "Tiles nobody wanted any more", labels=labels)
        for name, (_, batcher) in self._engines.by_name.items():
            counts = batcher.counts
            sizes.add_metric((name,), _buckets(SIZES, counts.sizes), counts.tiles)
            waits.add_metric((name,), _buckets(WAITS_S, counts.waits), counts.waited_s)
            padding.add_metric((name,), counts.padding)
            dropped.add_metric((name,), counts.dropped)
        yield from (sizes, waits, padding, dropped)
        for metric, (text, value) in self._gpu().items():
            yield GaugeMetricFamily(metric, text, value)


def gpu_gauges(device_id: int) -> Callable[[], Gauges]:
    """A reading of the GPU's own figures; an empty one where there is no driver to ask."""
    try:
        import pynvml  # noqa: PLC0415 - only the GPU requirements bring it

        pynvml.nvmlInit()
        gpu = pynvml.nvmlDeviceGetHandleByIndex(device_id)
    except Exception as error:  # ImportError, or an NVMLError of a class made on the fly
        _LOG.info("no figures of a GPU in the metrics: %s", error)
        return dict

    def read() -> Gauges:
        try:
            return _read(pynvml, gpu)
        except pynvml.NVMLError as error:
            _LOG.warning("the driver gives no figures: %s", error)
            return {}

    return read


def _read(nvml: Any, gpu: Any) -> Gauges:
    memory, busy = nvml.nvmlDeviceGetMemoryInfo(gpu), nvml.nvmlDeviceGetUtilizationRates(gpu)
    return {
        "inference_gpu_memory_used_bytes": ("GPU memory in use, by any process", float(memory.used)),
        "inference_gpu_memory_bytes": ("GPU memory there is", float(memory.total)),
        "inference_gpu_utilization_ratio": ("Share of the last second in which a kernel ran", busy.gpu / 100),
    }


def _buckets(bounds: tuple[float, ...], counts: list[int]) -> list[tuple[str, float]]:
    names = [*(f"{bound:g}" for bound in bounds), "+Inf"]
    return list(zip(names, map(float, accumulate(counts)), strict=True))
