"""While a job is computed: its lease is kept, its progress written down, and the computing told when to stop."""

import logging
import threading
import time
from types import TracebackType
from typing import Literal, Self

from inference_core.errors import Stopped

from inference_jobs.claims import Claim, ClaimLost, Claims
from inference_jobs.errors import StoreFull, StoreUnavailable
from inference_jobs.job import Progress

_LOG = logging.getLogger("inference.jobs")
_BEAT_S_MAX = 1.0
Reason = Literal["lost", "late", "stopping"]


class Heartbeat:
    """A thread beside the one that computes the job of `claim`, for the length of a `with` block."""

    def __init__(self, claims: Claims, claim: Claim, *, lease_s: float) -> None:
        self.stop_reason: Reason | None = None
        """Why the computing should end, None as long as it should not."""
        self.progress = Progress()
        self._claims, self._claim, self._lease_s = claims, claim, lease_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat-{claim.job.id[:16]}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def check(self) -> None:
        """Raise Stopped when the computing should end."""
        if self.stop_reason:
            raise Stopped

    def stop(self, reason: Reason) -> None:
        """Have the computing end at its next check. The first reason counts."""
        self.stop_reason = self.stop_reason or reason

    def _run(self) -> None:
        beat_s = min(_BEAT_S_MAX, self._lease_s / 6)
        renewed_at = time.monotonic()
        while not self._over.wait(beat_s):
            try:
                self._claims.report(self._claim, self.progress)
                if time.monotonic() - renewed_at > self._lease_s / 3:
                    self._claims.keep(self._claim)
                    renewed_at = time.monotonic()
            except ClaimLost as loss:
                if not self._over.is_set():
                    _LOG.warning("job=%s given up: %s", self._claim.job.id, loss)
                    self.stop("lost")
                return
            except (StoreUnavailable, StoreFull) as error:
                # The lease may be renewed later; once it must have run out, somebody else may be at work.
                _LOG.warning("job=%s heartbeat: %s", self._claim.job.id, error)
                if time.monotonic() - renewed_at > self._lease_s:
                    self.stop("lost")
            if time.time() > self._claim.job.deadline_at:
                self.stop("late")
