"""Real pipelines on tiny models, and ways to make them fail or wait, for the tests of jobs."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson
from inference_core.detection import DetectionPipeline
from inference_core.manifest import Manifest
from inference_core.registry import Pipeline, Registry, load_models
from inference_core.results import Prediction, Watch, unwatched
from inference_core.session import Session
from inference_core.settings import Settings
from inference_http.service import builders
from inference_jobs.jobs import Jobs, Submission
from inference_jobs.settings import JobSettings
from inference_jobs.store import Store
from inference_jobs.worker import Gate, OpenGate, Worker
from numpy.typing import NDArray

from tests.models import squares_picture

T = TypeVar("T")
MODEL = "squares-n"
PICTURE = squares_picture(64, 64, [(16, 32)])
WIDE = squares_picture(640, 64, [(16, 32), (560, 16)])
"""Many tiles: a job on it can be stopped on the way."""
QUICK = JobSettings(jobs_lease_s=3, jobs_retry_s=0, jobs_attempts_max=3)


def encode(prediction: Prediction) -> bytes:
    """As the service does."""
    return orjson.dumps(prediction.reply())


def without_timings(reply: bytes) -> bytes:
    """All of a reply that does not differ from run to run."""
    fields = orjson.loads(reply)
    del fields["timings_ms"]
    return orjson.dumps(fields)


def registry_of(models_dir: Path) -> Registry:
    """The models as a tier serves them."""
    settings = Settings(models_dir=models_dir, threads=1)
    return load_models(settings, builders(settings, "cpu"))


@dataclass
class Troubled:
    """A pipeline with `trouble` before every answer and between its tiles."""

    inner: Pipeline
    trouble: Callable[[], None] = lambda: None
    calls: int = 0
    at_work: threading.Event = field(default_factory=threading.Event)

    @property
    def manifest(self) -> Manifest:
        return self.inner.manifest

    @property
    def session(self) -> Session:
        return self.inner.session

    def predict(self, body: bytes, *, scale: float = 1.0, watch: Watch = unwatched) -> Prediction:
        def watched(done: int, of: int) -> None:
            watch(done, of)
            self.at_work.set()
            self.trouble()

        self.calls += 1
        return self.inner.predict(body, scale=scale, watch=watched)


class Queued:
    """A detector whose runs wait in a queue until `go` is set, and ask there whether they are still wanted."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.waits, self.go = threading.Event(), threading.Event()
        self.pipeline = DetectionPipeline(pipeline.manifest, pipeline.session, pixels_max=1 << 20, run=self)
        self._inner = DetectionPipeline(pipeline.manifest, pipeline.session, pixels_max=1 << 20)

    def __call__(self, tiles: NDArray[Any], wanted: Callable[[], None]) -> NDArray[np.float32]:
        self.waits.set()
        while not self.go.wait(0.01):
            wanted()
        self.waits.clear()
        return self._inner.session_run(tiles, wanted)


def submitted(jobs: Jobs, *bodies: bytes, **more: Any) -> str:
    """The id of a new job on `bodies`, or on the usual picture."""
    return jobs.submit(Submission(MODEL, list(bodies) or [PICTURE], **more)).id


@contextmanager
def working(
    jobs: Jobs, *pipelines: Pipeline, grace_s: float = 20.0, count: int = 1, gate: Gate | None = None
) -> Iterator[Worker]:
    """A worker on `pipelines`, stopped at the end of the block."""
    worker = Worker(jobs, Registry(list(pipelines)), encode, gate or OpenGate())
    worker.start(count)
    try:
        yield worker
    finally:
        worker.stop(grace_s)


def until(value: Callable[[], T], is_right: Callable[[T], bool] = bool, within_s: float = 30.0) -> T:
    """What `value` gives once it is right."""
    deadline = time.monotonic() + within_s
    while not is_right(found := value()):
        assert time.monotonic() < deadline, f"still {found!r}"
        time.sleep(0.02)
    return found


def finished(jobs: Jobs, job_id: str) -> str:
    """The status that the job ends with."""
    return until(lambda: jobs.find(job_id), lambda job: job.finished).status


def jobs_in(store: Store, **settings: Any) -> Jobs:
    """Jobs with short times, changed by `settings`."""
    return Jobs(store, JobSettings(**(QUICK.__dict__ | settings)))
