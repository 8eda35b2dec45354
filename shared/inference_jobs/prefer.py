"""`Prefer: respond-async` (RFC 7240) on `predict`: the call becomes a job, only because the client asks for it."""

import re
import time

import anyio
from inference_core.errors import InvalidRequest
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from inference_jobs.job import Job
from inference_jobs.jobs import Jobs

_ASYNC = re.compile(r"(?:^|,)\s*respond-async\s*(?:;|,|$)", re.IGNORECASE)
_WAIT = re.compile(r'(?:^|,)\s*wait\s*=\s*"?([^",;\s]*)', re.IGNORECASE)
WAIT_S_MAX = 200
"""Below the shortest wall of the platforms (230 s)."""
_LOOK_S_MIN, _LOOK_S_MAX = 0.02, 0.5


def wait_s(prefer: str) -> int | None:
    """How long to wait for the answer before it becomes a job's, None where the header does not ask for a job. Raises
    InvalidRequest for a wait that is no number of seconds.
    """
    if not _ASYNC.search(prefer):
        return None
    given = _WAIT.search(prefer)
    if given and not given[1].isdecimal():
        raise InvalidRequest(f"Prefer: wait={given[1]} is not a whole number of seconds.")
    return min(int(given[1]), WAIT_S_MAX) if given else 0


async def finished_within(jobs: Jobs, job: Job, seconds: float) -> Response | None:
    """The reply that the synchronous call would have given, None when the job takes longer. Raises what the job failed
    with.
    """
    ends_at = time.monotonic() + seconds
    look_s = _LOOK_S_MIN
    while not job.finished:
        if time.monotonic() + look_s > ends_at:
            return None
        await anyio.sleep(look_s)
        look_s = min(look_s * 1.3, _LOOK_S_MAX)
        job = await run_in_threadpool(jobs.find, job.id)
    return Response(await run_in_threadpool(jobs.result, job.id), media_type="application/json")
