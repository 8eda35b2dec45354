"""The poison list: jobs that failed at every attempt, why, and a way back into the queue."""

import time
from dataclasses import dataclass, replace
from typing import Any

import orjson

from inference_jobs.job import Job, Progress
from inference_jobs.jobs import POISON, QUEUE, Jobs
from inference_jobs.store import Message

_LEASE_S = 30
_LIST_MAX = 1000


@dataclass(frozen=True)
class Poison:
    """One entry."""

    job: str
    model: str
    attempts: int
    at: float
    reason: dict[str, Any]


def poison_list(jobs: Jobs) -> list[Poison]:
    """The entries whose job is still there and failed, oldest first, each job once (Azure Storage shows 32 at most)."""
    entries = {entry.job: entry for entry in map(_read, jobs.store.peek(POISON, limit=_LIST_MAX))}
    found = {name: jobs.read(name) for name in entries}
    return [entry for name, entry in entries.items() if (job := found[name]) and job.status == "failed"]


def requeue(jobs: Jobs, job_id: str) -> Job | None:
    """Give a failed job all its attempts and its whole time again. None when it is not failed, or forgotten."""
    deadline_at = time.time() + jobs.settings.jobs_deadline_s
    waiting = jobs.change(job_id, lambda job: _again(job, deadline_at) if job.status == "failed" else None)
    if waiting is None:
        return None
    jobs.store.send(QUEUE, job_id.encode())
    _take_off(jobs, job_id)
    return waiting


def _again(job: Job, deadline_at: float) -> Job:
    return replace(
        job,
        status="queued",
        attempts=0,
        progress=Progress(),
        error=None,
        finished_at=None,
        expires_at=None,
        deadline_at=deadline_at,
    )


def _take_off(jobs: Jobs, job_id: str) -> None:
    """Remove the job's entries; the others are handed back when all were looked at."""
    others: list[Message] = []
    while message := jobs.store.receive(POISON, lease_s=_LEASE_S):
        if _read(message.data).job == job_id:
            jobs.store.acknowledge(message)
        else:
            others.append(message)
    for message in others:
        jobs.store.renew(message, lease_s=0)


def _read(data: bytes) -> Poison:
    return Poison(**orjson.loads(data))
