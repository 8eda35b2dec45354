"""`/v1/jobs` and what is below it, as a router of FastAPI."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from inference_core.errors import InvalidRequest
from inference_http.edge import CALL
from inference_http.query import number
from inference_http.replies import Json
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from inference_jobs.errors import JobsOff
from inference_jobs.events import events
from inference_jobs.job import Job
from inference_jobs.jobs import Jobs
from inference_jobs.prefer import finished_within, wait_s
from inference_jobs.submissions import Submissions, text

_PAGE_USUAL, _PAGE_MAX = 20, 100
_PAGING = {
    "parameters": [
        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": _PAGE_MAX}},
        {"name": "after", "in": "query", "schema": {"type": "string"}, "description": "From the `next` of a page"},
    ]
}
_BODY: dict[str, Any] = {
    "parameters": [
        {"name": name, "in": place, "required": name == "model", "schema": {"type": kind}, "description": what}
        for name, place, kind, what in (
            ("model", "query", "string", "Name of a model or family"),
            ("scale", "query", "number", "Sides of the picture times this, 0.05 to 1"),
            ("min_accuracy", "query", "number", "Refused at once (422) where the model is not as accurate"),
            ("deadline_ms", "query", "number", "Milliseconds from now in which it must be finished"),
            ("webhook", "query", "string", "https URL that is called when it is finished; its host must be allowed"),
            ("Idempotency-Key", "header", "string", "The same key and content give the same job again"),
        )
    ],
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
        },
    },
}


def add_routes(router: APIRouter, jobs: Jobs, submissions: Submissions, wake: Callable[[], None]) -> None:
    """The routes of jobs. `wake` is called when one was put into the queue."""

    @router.post("", status_code=202, summary="Submit a job", openapi_extra=_BODY, response_class=Json)
    async def submit(request: Request) -> Response:
        name = text(request.scope["query_string"], "model")
        if not name:
            raise InvalidRequest("Which model? POST /v1/jobs?model=…; GET /v1/models lists them.")
        job = await submissions.take(name, request.scope, request.receive)
        wake()
        return await run_in_threadpool(accepted, jobs, job)

    @router.get("", summary="Jobs, the newest first", openapi_extra=_PAGING, response_class=Json)
    async def listing(request: Request) -> Response:
        query = request.scope["query_string"]
        limit = number(query, "limit") or _PAGE_USUAL
        if not 1 <= limit <= _PAGE_MAX:
            raise InvalidRequest(f"limit = {limit:g} is outside 1 to {_PAGE_MAX}.")
        try:
            found, token = await run_in_threadpool(jobs.page, limit=int(limit), token=text(query, "after") or None)
        except ValueError:
            raise InvalidRequest("after = … is taken from the `next` of a page.") from None
        following = "/v1/jobs?" + urlencode({"limit": int(limit), "after": token}) if token else None
        return Json({"jobs": [job.document() for job in found], "next": following})

    _add_one(router, jobs)


def _add_one(router: APIRouter, jobs: Jobs) -> None:
    @router.get("/{job_id}", summary="How a job stands", response_class=Json)
    async def status(job_id: str) -> Response:
        return Json(*await run_in_threadpool(lambda: _document(jobs, jobs.find(job_id))))

    @router.get("/{job_id}/result", summary="The reply that the job was for", response_class=Json)
    async def result(job_id: str) -> Response:
        return Response(await run_in_threadpool(jobs.result, job_id), media_type="application/json")

    @router.get("/{job_id}/events", summary="Progress as server-sent events", response_class=StreamingResponse)
    async def progress(job_id: str) -> Response:
        await run_in_threadpool(jobs.find, job_id)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(events(jobs, job_id), media_type="text/event-stream", headers=headers)

    @router.delete("/{job_id}", summary="Cancel a job", response_class=Json)
    async def cancel(job_id: str) -> Response:
        return Json(*await run_in_threadpool(lambda: _document(jobs, jobs.cancel(job_id))))


def add_refusal(router: APIRouter) -> None:
    """Every route of jobs answers that there are none."""

    @router.api_route("", methods=["GET", "POST"], include_in_schema=False)
    @router.api_route("/{rest:path}", methods=["GET", "DELETE"], include_in_schema=False)
    async def off(_: Request) -> Response:
        raise JobsOff("This service keeps no jobs; INFERENCE_JOBS_DIR gives it a folder for them.")


def accepted(jobs: Jobs, job: Job) -> Response:
    """202: the job's document and where to ask for it."""
    reply = Json(jobs.document(job), status_code=202)
    reply.headers["location"] = f"/v1/jobs/{job.id}"
    reply.headers["retry-after"] = "1"
    return reply


def _document(jobs: Jobs, job: Job) -> tuple[dict[str, Any], int, dict[str, str]]:
    headers = {} if job.finished else {"retry-after": "1"}
    return jobs.document(job), 200, headers


class Deferred:
    """Answers those `predict` requests whose client prefers a job."""

    def __init__(self, jobs: Jobs, submissions: Submissions, wake: Callable[[], None]) -> None:
        self._jobs, self._submissions, self._wake = jobs, submissions, wake

    async def answer(self, model: str, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer the request if it asks for a job; whether it did."""
        prefer = scope[CALL].headers.get(b"prefer", b"").decode("latin-1")
        if scope["method"] != "POST" or (seconds := wait_s(prefer)) is None:
            return False
        job = await self._submissions.take(model, scope, receive)
        self._wake()
        reply = await finished_within(self._jobs, job, seconds)
        if reply is None:
            job = await run_in_threadpool(self._jobs.find, job.id)
            reply = await run_in_threadpool(accepted, self._jobs, job)
        reply.headers["preference-applied"] = "respond-async"
        await reply(scope, receive, send)
        return True
