"""One job: what is written down of it, and what a client is told."""

import time
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, Literal

import orjson

Status = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]
FINISHED: frozenset[Status] = frozenset({"succeeded", "failed", "cancelled", "expired"})
_CLOCK_MAX_MS = 1 << 44
"""Year 2527. Ids count down from here, so that the newest job comes first in the order of keys."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running job is: whole pictures, and tiles of the one at work."""

    images_done: int = 0
    tiles_done: int = 0
    tiles: int = 0
    """0: not known yet, the picture is not decoded."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the store keeps it. Times are seconds since 1970."""

    id: str
    model: str
    images: int
    scale: float
    created_at: float
    deadline_at: float
    status: Status = "queued"
    attempts: int = 0
    """Attempts that ended without an answer, the one under way included."""
    progress: Progress = field(default_factory=Progress)
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    claims: int = 0
    """How often a worker took it. The newest claim alone may write, so a worker that was thought dead changes nothing;
    unlike `attempts` it also counts those that were handed back.
    """
    result_key: str = ""
    error: dict[str, Any] | None = None
    """The problem that the last attempt ended with; its `cause`, where it has one, is for the operator alone."""
    webhook: str = ""
    idempotency_key: str = ""
    """The document that leads from the client's `Idempotency-Key` to this job."""

    @property
    def finished(self) -> bool:
        """Nothing more will happen to it, but that it expires."""
        return self.status in FINISHED

    @property
    def input_keys(self) -> list[str]:
        """The blobs of its pictures, in order."""
        return [f"inputs/{self.id}-{index}" for index in range(self.images)]

    def result_key_of(self, claim: int) -> str:
        """The blob that the worker of this claim writes its result to: each has its own."""
        return f"results/{self.id}-{claim}"

    def to_bytes(self) -> bytes:
        """For the store."""
        return orjson.dumps(self)

    def document(self, position: int | None = None) -> dict[str, Any]:
        """What `GET /v1/jobs/{id}` says."""
        path = f"/v1/jobs/{self.id}"
        return {
            "id": self.id,
            "status": self.status,
            "model": self.model,
            "scale": self.scale,
            "images": self.images,
            "position": position,
            "progress": self.progress,
            "attempts": self.attempts,
            "created_at": _timestamp(self.created_at),
            "started_at": _timestamp(self.started_at),
            "finished_at": _timestamp(self.finished_at),
            "deadline_at": _timestamp(self.deadline_at),
            "expires_at": _timestamp(self.expires_at),
            "error": shown(self.error) if self.status == "failed" else None,
            "links": {"self": path, "result": f"{path}/result", "events": f"{path}/events"},
        }


_NAMES = {known.name for known in fields(Job)}


def read_job(data: bytes) -> Job:
    """The opposite of `Job.to_bytes`. Fields that a newer version wrote are left out."""
    given = {key: value for key, value in orjson.loads(data).items() if key in _NAMES}
    return replace(Job(**given), progress=Progress(**given["progress"]))


def shown(problem: dict[str, Any] | None) -> dict[str, Any]:
    """A job's problem as a client may see it."""
    return {name: value for name, value in (problem or {}).items() if name != "cause"}


def new_id() -> str:
    """An id that nobody can guess, smaller than those of earlier jobs."""
    return f"{_CLOCK_MAX_MS - int(time.time() * 1e3):011x}{token_hex(10)}"


def born_at(job_id: str) -> float:
    """When `job_id` was made, in seconds since 1970."""
    return (_CLOCK_MAX_MS - int(job_id[:11], 16)) / 1e3


def job_key(job_id: str) -> str:
    """The document of a job."""
    return f"jobs/{job_id}"


def _timestamp(seconds: float | None) -> str | None:
    """RFC 3339 in UTC, to milliseconds."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
