"""`python -m tier_measure.block`: a fresh process that does nothing but answer with one model at one setting, for a
while, and says how long each answer took and how much memory it needed. Request and report are JSON on the pipes.
"""

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from inference_core.detection import DetectionPipeline
from inference_core.manifest import TABULAR_TASKS, Manifest, read_manifest
from inference_core.registry import Pipeline
from inference_core.session import Provider, Session
from inference_core.tabular import TabularPipeline
from inference_core.tiled import SCALE_MIN

from tier_measure.pipes import answer

STATUS = Path("/proc/self/status")
_UNBOUNDED = 1 << 40
"""Limits protect a service from its callers; here both are ours."""


@dataclass(frozen=True)
class BlockRequest:
    """What one block measures."""

    folder: str
    """Of the model."""
    body: str
    """A file: what `predict` answers."""
    scale: float
    threads: int
    provider: Provider
    box_s: float
    """Answers are repeated until this time is over; at least one is measured."""
    repetitions_max: int
    callers: int
    """More than 1: afterwards as many threads ask at once, for as long."""


@dataclass(frozen=True)
class BlockReport:
    """What it found."""

    latencies_ms: list[float]
    stages_ms: list[dict[str, float]]
    """One entry an answer."""
    throughput_per_s: float
    """With `callers` at once; with one caller, from the latencies."""
    memory_peak_mib: float | None
    """Before more than one caller asked; None where the system does not tell."""
    steps: int
    """Tiles of the picture; 0 for rows."""


def open_pipeline(manifest: Manifest, threads: int, provider: Provider = "cpu") -> Pipeline:
    """The model as a tier serves it. Raises ManifestError for a task that answers no `predict`."""
    session = Session(manifest.model_bytes, data_folder=manifest.data_folder, threads=threads, provider=provider)
    if manifest.task in TABULAR_TASKS:
        return TabularPipeline(manifest, session, rows_max=_UNBOUNDED)
    return DetectionPipeline(manifest, session, pixels_max=_UNBOUNDED, side_max=_UNBOUNDED)


def measure_block(request: BlockRequest) -> BlockReport:
    """Answer, time, repeat. Raises InferenceError when the model cannot answer."""
    manifest = read_manifest(Path(request.folder))
    pipeline, body = open_pipeline(manifest, request.threads, request.provider), Path(request.body).read_bytes()
    steps = 0

    def count(_: int, of: int) -> None:
        nonlocal steps
        steps = of

    def answer() -> dict[str, float]:
        return pipeline.predict(body, scale=request.scale, watch=count).timings_ms

    if manifest.task not in TABULAR_TASKS:
        pipeline.predict(body, scale=SCALE_MIN)  # a tile or so: the first run of a session allocates
    latencies_ms, stages_ms = _repeat(answer, request.box_s, request.repetitions_max)
    memory_mib = memory_peak_mib()
    throughput = len(latencies_ms) / sum(latencies_ms) * 1e3
    if request.callers > 1:
        throughput = _throughput_per_s(answer, request.callers, request.box_s)
    return BlockReport(latencies_ms, stages_ms, throughput, memory_mib, steps)


def _repeat(
    answer: Callable[[], dict[str, float]], box_s: float, most: int
) -> tuple[list[float], list[dict[str, float]]]:
    """Latencies and stages of each answer. The first is a warm-up and dropped, unless it alone outlasts the box: what
    it allocates is then nothing beside what it computes.
    """
    started = perf_counter()
    latencies_ms, stages_ms = [], []
    while True:
        before = perf_counter()
        stages = answer()
        now = perf_counter()
        latencies_ms.append((now - before) * 1e3)
        stages_ms.append(stages)
        if now - started >= box_s or len(latencies_ms) > most:
            break
    first = 1 if len(latencies_ms) > 1 else 0
    return latencies_ms[first:], stages_ms[first:]


def _throughput_per_s(answer: Callable[[], Any], callers: int, box_s: float) -> float:
    """Answers a second with `callers` threads that ask again as soon as they are answered."""
    counts = [0] * callers
    failures: list[BaseException] = []
    ends = perf_counter() + box_s

    def call(caller: int) -> None:
        try:
            while not counts[caller] or perf_counter() < ends:
                answer()
                counts[caller] += 1
        except BaseException as error:
            failures.append(error)

    started = perf_counter()
    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(counts) / (perf_counter() - started)


def memory_peak_mib() -> float | None:
    """The largest resident memory that this process ever had; None where the system does not tell."""
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), None)


def main() -> int:
    """One block; a model that cannot answer is a sentence on standard error and exit status 2."""
    return answer(lambda request: measure_block(BlockRequest(**request)))


if __name__ == "__main__":
    sys.exit(main())
