"""`POST /v1/models/{model}/predict`: the body to the pipeline, the prediction to the wire.

Plain ASGI in front of FastAPI's router. FastAPI's layers halve the throughput of a tabular request under
concurrency (8,500 against 20,500 requests/s behind Starlette alone, 28,100 bare; two-core AMD EPYC, 2026-11).
"""

from functools import partial
from time import perf_counter

import orjson
from inference_core.errors import DeadlineUnmet, InferenceError, Stopped
from inference_core.registry import Pipeline, Registry
from inference_core.results import Prediction, Watch
from starlette.types import Receive, Scope, Send

from inference_http.calls import Calls, Timings, require_post, send_answer
from inference_http.edge import CALL
from inference_http.query import deadline_s, number
from inference_http.service import Service

PREFIX, SUFFIX = "/v1/models/", "/predict"


def model_name(path: str) -> str | None:
    """The model that `path` asks to predict, None when the path is another route."""
    if not (path.startswith(PREFIX) and path.endswith(SUFFIX)):
        return None
    name = path[len(PREFIX) : -len(SUFFIX)]
    return name if name and "/" not in name else None


class Predict:
    """Answers predict requests for every model of `service`."""

    def __init__(self, service: Service, calls: Calls) -> None:
        self._service, self._calls = service, calls

    async def answer(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request to the model or family `name`; raises InferenceError or ClientGone for the edge."""
        require_post(scope)
        registry = self._service.registry
        pipeline = registry.find(name)
        scale = number(scope["query_string"], "scale")
        wanted_s = deadline_s(scope["query_string"], self._service.settings.deadline_ms)
        leave = Leave(None if wanted_s is None else scope[CALL].started + wanted_s)
        work = partial(_predicted, registry, pipeline, 1.0 if scale is None else scale, leave)
        prediction, timings_ms = await self._calls.run(pipeline.manifest.name, work, scope, receive, leave.stop)
        fields = Prediction(prediction.fields, dict(timings_ms)).reply() | {"hosting": self._service.hosting}
        await send_answer(send, b"application/json", orjson.dumps(fields), timings_ms)


class Leave:
    """The `Watch` of a request: ends its prediction between two steps once nobody waits for it."""

    __slots__ = ("_due", "_is_wanted")

    def __init__(self, due: float | None = None) -> None:
        """`due` is on the clock of `perf_counter`."""
        self._due = due
        self._is_wanted = True

    def stop(self) -> None:
        """The client has left. Called from the event loop."""
        self._is_wanted = False

    def __call__(self, _done: int, _of: int) -> None:
        """Raise Stopped when the client has left. Called from the prediction's thread, as is `wanted`."""
        if not self._is_wanted:
            raise Stopped

    def wanted(self) -> None:
        """The same, and DeadlineUnmet once the deadline has passed: asked while the work waits for others."""
        self(0, 0)
        if self._due is not None and perf_counter() > self._due:
            raise DeadlineUnmet("The deadline went by in the queue.", retry_after_s=1)


def _predicted(
    registry: Registry, pipeline: Pipeline, scale: float, watch: Watch, body: bytes
) -> tuple[Prediction, Timings]:
    try:
        prediction = pipeline.predict(body, scale=scale, watch=watch)
    except InferenceError:
        registry.stats[pipeline.manifest.name].add_failure()
        raise
    return prediction, prediction.timings_ms
