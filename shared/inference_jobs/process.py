"""A worker as a process of its own: several of them, on one machine or many, work one store's queue off."""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

from inference_core.errors import SettingsError, StartupError
from inference_core.settings import Settings, read_settings
from inference_http.server import set_up_log
from inference_http.service import Service

from inference_jobs.housekeeping import Housekeeping
from inference_jobs.jobs import Jobs
from inference_jobs.serving import encoder, open_store
from inference_jobs.settings import JobSettings, read_job_settings
from inference_jobs.worker import OpenGate, Worker

_LOG = logging.getLogger("inference.jobs")


def run_worker(
    open_service: Callable[[Settings], Service], environ: Mapping[str, str], arguments: Sequence[str] | None = None
) -> None:
    """Compute jobs until SIGTERM or Ctrl-C, as many at the same time as there are slots; then finish those at work
    within the grace time, or hand them back. A StartupError is one sentence on stderr and exit status 2.
    """
    parser = argparse.ArgumentParser(description="Compute background jobs.")
    parser.add_argument("--drain", action="store_true", help="end when the queue is empty")
    options = parser.parse_args(arguments)
    set_up_log()
    try:
        jobs = jobs_of(read_job_settings(environ))
        service = open_service(read_settings(environ))
    except StartupError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    _LOG.info("worker: %s", service.summary())
    worker = Worker(jobs, service.registry, encoder(service.hosting), OpenGate())
    if options.drain:
        worker.drain()
    else:
        _until_stopped(worker, jobs, service.settings.slots)
    jobs.store.close()


def _until_stopped(worker: Worker, jobs: Jobs, count: int) -> None:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    housekeeping = Housekeeping(jobs, worker.counts)
    worker.start(count)
    housekeeping.start()
    stopped.wait()
    _LOG.info("stopping: jobs at work have %g s", jobs.settings.jobs_grace_s)
    worker.stop(jobs.settings.jobs_grace_s)
    housekeeping.stop()


def jobs_of(settings: JobSettings) -> Jobs:
    """The jobs in the store that `settings` name. Raises SettingsError when they name none that can be opened."""
    store = open_store(settings)
    if store is None:
        raise SettingsError("INFERENCE_JOBS_DIR='' names no folder for jobs, and no Azure Storage is named either.")
    return Jobs(store, settings)
