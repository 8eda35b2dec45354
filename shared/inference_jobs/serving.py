"""Jobs as a part of a tier: a store by the settings, a worker in the process, the routes in the application."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
from fastapi import APIRouter, FastAPI
from inference_core.errors import InferenceError, SettingsError
from inference_core.results import Prediction
from inference_http.app import TierApp
from inference_http.service import Service
from starlette.concurrency import run_in_threadpool

from inference_jobs.gate import SlotGate
from inference_jobs.housekeeping import Housekeeping
from inference_jobs.jobs import Jobs
from inference_jobs.routes import Deferred, add_refusal, add_routes
from inference_jobs.settings import JobSettings
from inference_jobs.sqlite_store import SqliteStore
from inference_jobs.store import Store
from inference_jobs.submissions import Submissions
from inference_jobs.worker import Encode, Worker


def with_jobs(app: TierApp, service: Service, settings: JobSettings) -> FastAPI:
    """`app` with the routes of jobs, and a worker as long as it runs. Raises SettingsError for a store that cannot be
    opened.
    """
    router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
    store = open_store(settings)
    if store is None:
        add_refusal(router)
    else:
        part = JobPart(app, service, Jobs(store, settings))
        add_routes(router, part.jobs, part.submissions, part.wake)
        app.deferred = Deferred(part.jobs, part.submissions, part.wake).answer
        part.live_with(app)
    app.include_router(router)
    return app


def open_store(settings: JobSettings) -> Store | None:
    """The store that `settings` name, None where they name none. Raises SettingsError for one that cannot be opened."""
    try:
        if settings.jobs_queue_url or settings.jobs_connection:
            # The SDKs are installed, and take their time to import, only where they are asked for.
            from inference_jobs.azure_store import open_azure_store  # noqa: PLC0415

            return open_azure_store(settings)
        if settings.jobs_dir:
            return SqliteStore(Path(settings.jobs_dir), bytes_max=settings.jobs_bytes_max)
    except ImportError as error:
        raise SettingsError(f"Azure Storage needs the extra `jobs-azure`: {error}.") from None
    except InferenceError as error:
        raise SettingsError(f"The store of jobs cannot be opened: {error.detail}") from None
    return None


def encoder(hosting: str) -> Encode:
    """Replies as `predict` on `hosting` gives them."""

    def encode(prediction: Prediction) -> bytes:
        return orjson.dumps(prediction.reply() | {"hosting": hosting})

    return encode


class JobPart:
    """What lives beside an application: its jobs, and the worker between the start and the end of the process."""

    def __init__(self, app: TierApp, service: Service, jobs: Jobs) -> None:
        self._app, self._service = app, service
        self._worker: Worker | None = None
        self.jobs = jobs
        self.submissions = Submissions(service, jobs)

    def wake(self) -> None:
        """Have the worker look into the queue now."""
        if self._worker:
            self._worker.wake()

    def live_with(self, app: TierApp) -> None:
        """Start and stop with `app`."""
        inner = app.router.lifespan_context

        @contextlib.asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            async with inner(app):
                try:
                    self._start()
                    yield
                finally:
                    await run_in_threadpool(self._stop)

        app.router.lifespan_context = lifespan

    def _start(self) -> None:
        settings = self.jobs.settings
        slots = self._app.slots
        slots.second.share = settings.jobs_share
        if settings.jobs_workers:
            gate = SlotGate(slots, asyncio.get_running_loop())
            self._worker = Worker(self.jobs, self._service.registry, encoder(self._service.hosting), gate)
            self._worker.start(settings.jobs_workers)
            self._app.metrics.add(self._worker.counts)
            self._housekeeping = Housekeeping(self.jobs, self._worker.counts)
            self._housekeeping.start()

    def _stop(self) -> None:
        if self._worker:
            self._worker.stop(self.jobs.settings.jobs_grace_s)
            self._housekeeping.stop()
        self.jobs.store.close()
