"""What has to be done now and then beside the jobs: call webhooks, let go of what has expired, look at the queue."""

import logging
import threading
import time

from inference_jobs.counts import JobCounts
from inference_jobs.errors import StoreFull, StoreUnavailable
from inference_jobs.jobs import QUEUE, Jobs
from inference_jobs.sweep import sweep
from inference_jobs.webhook import Caller, Webhooks

_LOG = logging.getLogger("inference.jobs")
_LOOK_S = 5.0
_SWEEP_S_MAX = 600.0


class Housekeeping:
    """A thread that does it. Any number of processes may have one."""

    def __init__(self, jobs: Jobs, counts: JobCounts) -> None:
        self._jobs, self._counts = jobs, counts
        has_webhooks = bool(jobs.settings.jobs_webhook_hosts)
        self._webhooks = Webhooks(jobs, Caller(jobs.settings.jobs_webhook_secret)) if has_webhooks else None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is being done."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        sweep_s = min(self._jobs.settings.jobs_keep_s / 10, _SWEEP_S_MAX)
        due_at = time.monotonic()
        while not self._over.wait(_LOOK_S):
            try:
                self._counts.waiting = self._jobs.store.length(QUEUE)
                if self._webhooks:
                    self._webhooks.deliver()
                if time.monotonic() > due_at:
                    due_at = time.monotonic() + sweep_s
                    sweep(self._jobs)
            except (StoreUnavailable, StoreFull) as error:
                _LOG.warning("housekeeping: %s", error)
            except Exception:  # it goes on, whatever one round met
                _LOG.exception("housekeeping failed")
