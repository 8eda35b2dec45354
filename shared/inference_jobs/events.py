"""A job's progress as server-sent events, as `EventSource` reads them."""

import time
from collections.abc import AsyncIterator

import anyio
import orjson
from inference_core.errors import InferenceError
from starlette.concurrency import run_in_threadpool

from inference_jobs.jobs import Jobs

_LOOK_S = 0.5
_SILENCE_S_MAX = 10.0
"""What lies between us and the client closes connections on which nothing moves."""
STREAM_S_MAX = 25.0
"""Then the client connects again by itself: a stream without end would hold up the process's own end."""


async def events(jobs: Jobs, job_id: str) -> AsyncIterator[bytes]:
    """`progress` events with the job's document whenever it has changed, at last one `finished`."""
    yield b"retry: 1000\n\n"
    told: object = None
    ends_at = time.monotonic() + STREAM_S_MAX
    spoke_at = time.monotonic()
    while time.monotonic() < ends_at:
        try:
            job = await run_in_threadpool(jobs.find, job_id)
        except InferenceError as error:
            # The reply has begun: what is wrong can only be said in it.
            yield b"event: problem\ndata: " + orjson.dumps(error.problem()) + b"\n\n"
            return
        if job != told:
            told, spoke_at = job, time.monotonic()
            kind = b"finished" if job.finished else b"progress"
            yield b"event: " + kind + b"\ndata: " + orjson.dumps(job.document()) + b"\n\n"
            if job.finished:
                return
        elif time.monotonic() - spoke_at > _SILENCE_S_MAX:
            spoke_at = time.monotonic()
            yield b": still here\n\n"
        await anyio.sleep(_LOOK_S)
