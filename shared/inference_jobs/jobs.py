"""What clients do with jobs: submit, look, cancel. The rules stand here once; every store keeps them.

A job is accepted when its message is in the queue; that is the last step, so a process that ends earlier has accepted
nothing, and the same request sent again with the same `Idempotency-Key` completes what was begun.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import orjson
from inference_core.errors import InferenceError

from inference_jobs.errors import (
    IdempotencyConflict,
    JobCancelled,
    JobDeadline,
    JobExpired,
    JobFailed,
    JobNotFinished,
    JobNotFound,
    StoreUnavailable,
    TooManyJobs,
)
from inference_jobs.job import Job, Status, job_key, new_id, read_job
from inference_jobs.settings import JobSettings
from inference_jobs.store import Store

QUEUE, POISON, WEBHOOKS = "jobs", "poison", "webhooks"
_ID = re.compile(r"[0-9a-f]{31}")
_PEEK_MAX = 1000
_TRIES_MAX = 100


@dataclass(frozen=True)
class Submission:
    """What a client asks for. `model` is the name of a model, not of a family."""

    model: str
    bodies: list[bytes]
    scale: float = 1.0
    deadline_s: float | None = None
    webhook: str = ""
    idempotency_key: str = ""

    def with_bodies(self, bodies: list[bytes]) -> "Submission":
        """The same for `bodies`."""
        return replace(self, bodies=bodies)

    def fingerprint(self) -> str:
        """Equal for equal requests."""
        parts = [sha256(body).hexdigest() for body in self.bodies]
        return sha256(orjson.dumps([self.model, self.scale, self.deadline_s, self.webhook, parts])).hexdigest()


class Jobs:
    """The jobs in `store`."""

    def __init__(self, store: Store, settings: JobSettings) -> None:
        self.store, self.settings = store, settings

    def admit(self) -> None:
        """Raise TooManyJobs when one more job would not be taken."""
        if self.store.length(QUEUE) >= self.settings.jobs_queue_max:
            raise TooManyJobs(f"{self.settings.jobs_queue_max} jobs wait already.", retry_after_s=60)

    def submit(self, submission: Submission) -> Job:
        """Accept a job; the same `idempotency_key` and content give the same job again.

        Raises TooManyJobs, StoreFull, StoreUnavailable, and IdempotencyConflict where the key came with other content.
        """
        self.admit()
        job = self._new(submission)
        if not submission.idempotency_key:
            return self._accept(job, submission.bodies)
        fingerprint = submission.fingerprint()
        begun: dict[str, Any] = {"job": job.id, "fingerprint": fingerprint, "accepted": False}
        if not self.store.create(job.idempotency_key, orjson.dumps(begun)):
            known = self.store.read(job.idempotency_key)
            begun = orjson.loads(known.data) if known else begun
            if begun["fingerprint"] != fingerprint:
                raise IdempotencyConflict("This Idempotency-Key came with another request before; use a new one.")
            job = replace(job, id=begun["job"])
            if begun["accepted"] and (accepted := self.read(job.id)):
                return self.settle(accepted)
        accepted = self._accept(job, submission.bodies)
        if document := self.store.read(job.idempotency_key):
            self.store.replace(job.idempotency_key, orjson.dumps(begun | {"accepted": True}), document.version)
        return accepted

    def find(self, job_id: str) -> Job:
        """The job as it stands now. Raises JobNotFound."""
        job = self.read(job_id)
        if job is None:
            raise JobNotFound(
                f'No job "{job_id[:40]}" is known here; it may have been forgotten long after its expiry.'
            )
        return self.settle(job)

    def position(self, job: Job) -> int | None:
        """Its place in the queue, from 1; None when it is not in it, or too far behind to tell."""
        if job.status != "queued":
            return None
        ahead = self.store.peek(QUEUE, limit=_PEEK_MAX)
        name = job.id.encode()
        return ahead.index(name) + 1 if name in ahead else None

    def document(self, job: Job) -> dict[str, Any]:
        """What a client is told of the job, its place in the queue included."""
        return job.document(self.position(job))

    def result(self, job_id: str) -> bytes:
        """The reply that the job was for. Raises JobNotFound, JobNotFinished, JobCancelled, JobExpired, and what the
        job failed with.
        """
        job = self.find(job_id)
        match job.status:
            case "succeeded":
                if (reply := self.store.get(job.result_key)) is not None:
                    return reply
                raise JobExpired("The result is gone from the store.")
            case "failed":
                raise remembered(job.error or {})
            case "cancelled":
                raise JobCancelled("The job was cancelled.")
            case "expired":
                raise JobExpired("The result was kept as long as was promised, and is gone.")
        raise JobNotFinished(f"The job is {job.status}.", retry_after_s=1)

    def cancel(self, job_id: str) -> Job:
        """Cancel the job unless it is finished; whoever computes it notices and stops. Raises JobNotFound."""
        job = self.find(job_id)
        cancelled = self.change(job_id, lambda known: None if known.finished else self.ended(known, "cancelled"))
        if cancelled is None:
            return self.find(job_id)
        self.forget_blobs(job)
        self.announce(cancelled)
        return cancelled

    def page(self, *, limit: int, token: str | None) -> tuple[list[Job], str | None]:
        """Jobs, the newest first, and the token of the next page. Raises ValueError for a token that is none."""
        page = self.store.page(job_key(""), limit=limit, token=token)
        jobs = [self.read(key.removeprefix(job_key(""))) for key in page.keys]
        return [self.settle(job) for job in jobs if job], page.token

    def read(self, job_id: str) -> Job | None:
        """The job as it is written down, None when it is not."""
        document = self.store.read(job_key(job_id)) if _ID.fullmatch(job_id) else None
        return read_job(document.data) if document else None

    def change(self, job_id: str, to: Callable[[Job], Job | None]) -> Job | None:
        """Write what `to` makes of the job, computed again as long as others are faster. None when it gives None, or
        the job is gone. Raises StoreUnavailable when others are always faster.
        """
        for turn in range(_TRIES_MAX):
            document = self.store.read(job_key(job_id))
            changed = to(read_job(document.data)) if document else None
            if document is None or changed is None:
                return None
            if self.store.replace(job_key(job_id), changed.to_bytes(), document.version):
                return changed
            time.sleep(0.001 * turn)
        raise StoreUnavailable("The job changes too often to be changed.", retry_after_s=1)

    def settle(self, job: Job) -> Job:
        """`job` after what the clock alone has done to it: its deadline has passed, or its result has expired."""
        now = time.time()
        if job.finished and job.status != "expired" and now > (job.expires_at or now):
            expired = self.change(job.id, lambda known: replace(known, status="expired") if known.finished else None)
            self.forget_blobs(expired or job)
            return expired or job
        if not job.finished and now > job.deadline_at:
            late = JobDeadline("The deadline passed before the job was finished.").problem()
            ended = self.change(job.id, lambda known: None if known.finished else self.ended(known, "failed", late))
            if ended:
                self.announce(ended)
            return ended or self.read(job.id) or job
        return job

    def forget_blobs(self, job: Job) -> None:
        """Remove the pictures and results of a job, those of attempts that came to nothing included."""
        for key in (*job.input_keys, *(job.result_key_of(claim) for claim in range(1, job.claims + 1))):
            self.store.delete(key)

    def announce(self, job: Job) -> None:
        """Have the job's webhook called, if it has one."""
        if job.webhook:
            self.store.send(WEBHOOKS, orjson.dumps({"job": job.id, "tries": 0}))

    def ended(self, job: Job, status: Status, error: dict[str, Any] | None = None) -> Job:
        """`job`, finished now."""
        now = time.time()
        return replace(job, status=status, error=error, finished_at=now, expires_at=now + self.settings.jobs_keep_s)

    def _new(self, submission: Submission) -> Job:
        now, key = time.time(), submission.idempotency_key
        return Job(
            id=new_id(),
            model=submission.model,
            images=len(submission.bodies),
            scale=submission.scale,
            created_at=now,
            deadline_at=now + (submission.deadline_s or self.settings.jobs_deadline_s),
            webhook=submission.webhook,
            idempotency_key="keys/" + sha256(key.encode()).hexdigest() if key else "",
        )

    def _accept(self, job: Job, bodies: list[bytes]) -> Job:
        self.store.create(job_key(job.id), job.to_bytes())
        try:
            for key, body in zip(job.input_keys, bodies, strict=True):
                self.store.put(key, body)
        except BaseException:
            self.forget(job)
            raise
        self.store.send(QUEUE, job.id.encode())
        return job

    def forget(self, job: Job) -> None:
        """Remove every trace of the job."""
        self.forget_blobs(job)
        if job.idempotency_key:
            self.store.remove(job.idempotency_key)
        self.store.remove(job_key(job.id))


def remembered(problem: dict[str, Any]) -> InferenceError:
    """The error that a job failed with, in its own status and code."""
    names = {name: problem.get(name, getattr(JobFailed, name)) for name in ("code", "status", "title")}
    error: InferenceError = type("Remembered", (JobFailed,), names)(str(problem.get("detail", "The job failed.")))
    return error
