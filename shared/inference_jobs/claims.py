"""What workers do with jobs: take one, keep it, end it. All is written down by compare-and-set under the claim's own
number, so that a worker that was thought dead and comes back changes nothing.
"""

import logging
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from inference_jobs.errors import JobFailed
from inference_jobs.job import Job, Progress
from inference_jobs.jobs import POISON, QUEUE, Jobs
from inference_jobs.store import Message

_LOG = logging.getLogger("inference.jobs")
_RETRY_S_MAX = 300
_OTHERS_S = 5
"""How long a message that this worker can do nothing with is left to others."""


class ClaimLost(Exception):
    """The job is no longer this worker's: cancelled, ended by the clock, or given to another."""


@dataclass(slots=True)
class Claim:
    """A job taken, and the lease on its message, which a thread of its own keeps."""

    job: Job
    message: Message
    lock: threading.Lock = field(default_factory=threading.Lock)


class Claims:
    """Takes jobs out of the queue of `jobs` for a worker that serves `models`."""

    def __init__(self, jobs: Jobs, models: Collection[str]) -> None:
        self._jobs, self._models = jobs, models
        self._store, self._settings = jobs.store, jobs.settings

    def take(self) -> Claim | None:
        """The next job, now running under a new claim; None when none waits. Messages that lead to no work are put in
        order on the way.
        """
        while message := self._store.receive(QUEUE, lease_s=self._settings.jobs_lease_s):
            try:
                if job := self._start(message):
                    return Claim(job, message)
            except ClaimLost:
                continue  # somebody was faster; the message shows up again if it is still needed
        return None

    def _start(self, message: Message) -> Job | None:
        job = self._jobs.read(message.data.decode())
        if job is not None:
            job = self._jobs.settle(job)
        if job is None or job.finished:
            self._drop(message, job)
        elif job.status == "running" and message.deliveries == 1:
            # A second message of one job (its submission was repeated): the first is with who runs it.
            self._store.acknowledge(message)
        elif job.model not in self._models:
            self._store.renew(message, lease_s=_OTHERS_S)
        elif job.attempts >= self._settings.jobs_attempts_max:
            reason = (
                job.error or JobFailed("Its worker ended without a word each time; see the workers' logs.").problem()
            )
            self._bury(Claim(job, message), reason)
        else:
            return self._jobs.change(job.id, lambda known: _claimed(known) if known.claims == job.claims else None)
        return None

    def keep(self, claim: Claim) -> None:
        """Hold the lease for its full length from now. Raises ClaimLost."""
        if not self._renew(claim, self._settings.jobs_lease_s):
            raise ClaimLost("the lease ran out and somebody else has the job")

    def report(self, claim: Claim, progress: Progress) -> None:
        """Write `progress` down where it is news. Raises ClaimLost."""
        known = self._jobs.read(claim.job.id)
        if known is None or not _holds(claim, known):
            raise ClaimLost(f"the job is {known.status if known else 'gone'}")
        if known.progress != progress:
            self._change(claim, progress=progress)

    def succeed(self, claim: Claim, reply: bytes) -> None:
        """End the job with its result. Raises ClaimLost, StoreFull and StoreUnavailable; it may be called again."""
        key = claim.job.result_key_of(claim.job.claims)
        self._store.put(key, reply)
        try:
            ended = self._jobs.ended(claim.job, "succeeded")
            images = claim.job.images
            changed = self._change(
                claim,
                status="succeeded",
                result_key=key,
                error=None,
                progress=Progress(images_done=images),
                finished_at=ended.finished_at,
                expires_at=ended.expires_at,
            )
        except ClaimLost:
            known = self._jobs.read(claim.job.id)
            if known is None or known.result_key != key:
                self._store.delete(key)
                raise
            changed = known  # an earlier call got this far, but did not hear of it
        with claim.lock:
            self._drop(claim.message, changed)
        for input_key in claim.job.input_keys:
            self._store.delete(input_key)

    def fail(self, claim: Claim, problem: dict[str, Any], *, may_retry: bool) -> None:
        """An attempt ended without an answer: try again later, or end the job. Raises ClaimLost."""
        attempts, limit = claim.job.attempts, self._settings.jobs_attempts_max
        if not may_retry:
            self._end(claim, problem)
        elif attempts >= limit:
            self._bury(claim, problem)
        else:
            self._change(claim, status="queued", error=problem, progress=Progress())
            self._renew(claim, min(self._settings.jobs_retry_s * 2 ** (attempts - 1), _RETRY_S_MAX))

    def release(self, claim: Claim) -> None:
        """Hand the job back: it was none of its faults, and counts as no attempt. Raises ClaimLost."""
        self._change(claim, status="queued", attempts=claim.job.attempts - 1, progress=Progress())
        self._renew(claim, 0)

    def _renew(self, claim: Claim, lease_s: float) -> bool:
        with claim.lock:
            message = self._store.renew(claim.message, lease_s=lease_s)
            claim.message = message or claim.message
        return message is not None

    def _bury(self, claim: Claim, problem: dict[str, Any]) -> None:
        """Fail the job for good and put it on the poison list, there first: no job fails so without being on it."""
        job = claim.job
        entry = {"job": job.id, "model": job.model, "attempts": job.attempts, "at": time.time(), "reason": problem}
        self._store.send(POISON, orjson.dumps(entry))
        _LOG.error("job=%s is poison after %d attempts: %s", job.id, job.attempts, problem.get("detail"))
        self._end(claim, problem)

    def _end(self, claim: Claim, problem: dict[str, Any]) -> None:
        ended = self._jobs.ended(claim.job, "failed", problem)
        changed = self._change(
            claim, status="failed", error=problem, finished_at=ended.finished_at, expires_at=ended.expires_at
        )
        with claim.lock:
            self._drop(claim.message, changed)

    def _drop(self, message: Message, job: Job | None) -> None:
        """The message of a finished job; its webhook is sent for first, so that no end of a process loses it."""
        if job:
            self._jobs.announce(job)
        self._store.acknowledge(message)

    def _change(self, claim: Claim, **fields: Any) -> Job:
        changed = self._jobs.change(
            claim.job.id, lambda known: replace(known, **fields) if _holds(claim, known) else None
        )
        if changed is None:
            raise ClaimLost("the job is no longer this worker's")
        return changed


def _claimed(job: Job) -> Job | None:
    if job.finished:
        return None
    return replace(
        job,
        status="running",
        claims=job.claims + 1,
        attempts=job.attempts + 1,
        started_at=job.started_at or time.time(),
        progress=Progress(),
    )


def _holds(claim: Claim, known: Job) -> bool:
    return known.claims == claim.job.claims and not known.finished
