"""From a request to a job: everything that can be refused is refused now, and is no failed job later."""

from urllib.parse import parse_qs

from inference_core.compression import inflate, known_encoding
from inference_core.errors import InvalidRequest
from inference_core.images import check as check_picture
from inference_core.registry import Pipeline
from inference_core.settings import Settings
from inference_core.tiled import check_scale
from inference_http.body import Bodies
from inference_http.choice import require_accuracy
from inference_http.edge import CALL, Call
from inference_http.query import deadline_s, min_accuracy, number
from inference_http.service import Service
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope

from inference_jobs.job import Job
from inference_jobs.jobs import Jobs, Submission
from inference_jobs.webhook import check_webhook

_KEY_CHARS_MAX = 200


class Submissions:
    """Takes jobs for the models of `service`."""

    def __init__(self, service: Service, jobs: Jobs) -> None:
        self._service, self._jobs = service, jobs
        self._bodies = Bodies(service.settings)

    async def take(self, model: str, scope: Scope, receive: Receive) -> Job:
        """The job that the request asks for. Raises InferenceError for one that can never be answered, or not taken
        now; ClientGone when the client leaves while it sends.
        """
        call: Call = scope[CALL]
        pipeline = self._service.registry.find(model)
        wanted = _wanted(pipeline, scope["query_string"], call.headers)
        if wanted.webhook:
            check_webhook(wanted.webhook, self._jobs.settings)
        await run_in_threadpool(self._jobs.admit)  # before the body is read: overload must not fill the memory
        files_max = self._jobs.settings.jobs_images_max
        bodies = await self._bodies.read_all(scope, receive, call.headers, files_max=files_max)
        encoding = known_encoding(call.headers.get(b"content-encoding", b"").decode("latin-1"))
        return await run_in_threadpool(self._accept, pipeline, wanted, bodies, encoding)

    def _accept(self, pipeline: Pipeline, wanted: Submission, bodies: list[bytes], encoding: str | None) -> Job:
        settings = self._service.settings
        if encoding:
            bodies = [inflate(body, encoding, bytes_max=settings.body_bytes_max) for body in bodies]
        for body in bodies:
            _check(pipeline, body, wanted.scale, settings)
        return self._jobs.submit(wanted.with_bodies(bodies))


def _wanted(pipeline: Pipeline, query: bytes, headers: dict[bytes, bytes]) -> Submission:
    """What the query and headers ask for; the bodies are still to come."""
    scale = number(query, "scale")
    require_accuracy(pipeline.manifest, 1.0 if scale is None else scale, min_accuracy(query))
    key = headers.get(b"idempotency-key", b"").decode("latin-1")
    if len(key) > _KEY_CHARS_MAX:
        raise InvalidRequest(f"The Idempotency-Key is longer than {_KEY_CHARS_MAX} characters.")
    return Submission(
        model=pipeline.manifest.name,
        bodies=[],
        scale=1.0 if scale is None else scale,
        deadline_s=deadline_s(query, 0),
        webhook=text(query, "webhook"),
        idempotency_key=key,
    )


def _check(pipeline: Pipeline, body: bytes, scale: float, settings: Settings) -> None:
    """Raise what the answer would be, as far as it can be told quickly: from a picture's header; rows are answered."""
    if pipeline.manifest.task == "detection":
        check_scale(scale)
        check_picture(body, pixels_max=settings.pixels_max, side_max=settings.image_side_max)
    else:
        pipeline.predict(body, scale=scale)


def text(query: bytes, key: str) -> str:
    """The last value of `key` in `query`, empty where it has none."""
    return parse_qs(query.decode("latin-1")).get(key, [""])[-1]
