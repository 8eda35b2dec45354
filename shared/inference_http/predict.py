"""`POST /v1/models/{model}/predict`: the body to the pipeline, the prediction to the wire.

Plain ASGI in front of FastAPI's router. FastAPI's layers halve the throughput of a tabular request under
concurrency (8,500 against 20,500 requests/s behind Starlette alone, 28,100 bare; two-core AMD EPYC, 2026-11).
"""

from functools import partial
from time import thread_time
from urllib.parse import parse_qsl

import orjson
from inference_core.errors import InvalidRequest, MethodNotAllowed
from inference_core.manifest import TABULAR_TASKS
from inference_core.registry import Pipeline
from inference_core.results import Prediction
from starlette.types import Receive, Scope, Send

from inference_http.body import content_length, read_body, until_gone
from inference_http.edge import CALL, Call
from inference_http.service import Service
from inference_http.slots import Slots

PREFIX, SUFFIX = "/v1/models/", "/predict"
_INLINE_BYTES_MAX = 64 << 10
_INLINE_MEAN_S_MAX = 0.003
_NEWEST_SHARE = 0.1


def model_name(path: str) -> str | None:
    """The model that `path` asks to predict, None when the path is another route."""
    if not (path.startswith(PREFIX) and path.endswith(SUFFIX)):
        return None
    name = path[len(PREFIX) : -len(SUFFIX)]
    return name if name and "/" not in name else None


class Predict:
    """Answers predict requests for every model of `service`."""

    def __init__(self, service: Service, slots: Slots) -> None:
        self._service, self._slots = service, slots
        self._paced = {pipeline.manifest.name: _Paced(pipeline) for pipeline in service.registry}
        # An injected delay sleeps; in the event loop it would stop health checks too.
        self._may_answer_inline = not service.settings.fault_delay_s

    async def answer(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request to the model or family `name`; raises InferenceError or ClientGone for the edge."""
        call: Call = scope[CALL]
        call.is_predict = True
        prediction = await self._prediction(name, scope, receive, call)
        call.timings_ms = prediction.timings_ms
        body = orjson.dumps(prediction.reply() | {"hosting": self._service.hosting})
        timing = ", ".join([f"{stage};dur={spent_ms:.3f}" for stage, spent_ms in call.timings_ms.items()])
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"server-timing", timing.encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _prediction(self, name: str, scope: Scope, receive: Receive, call: Call) -> Prediction:
        if scope["method"] != "POST":
            raise MethodNotAllowed(f"{scope['method']} is not taken here; POST is.", allow="POST")
        model = self._paced[self._service.registry.find(name).manifest.name]
        call.model = model.name
        scale = _scale(scope["query_string"])
        if not self._is_inline(model, content_length(call.headers)):
            self._slots.refuse_if_full()  # before the body is read: overload must not fill the memory
        body = await read_body(scope, receive, call.headers, bytes_max=self._service.settings.body_bytes_max)
        if self._is_inline(model, len(body)):
            return model.predict(body, scale)
        gone = partial(until_gone, receive)
        prediction, queue_ms = await self._slots.run(partial(model.predict, body, scale), gone)
        return Prediction(prediction.fields, {"queue": queue_ms} | prediction.timings_ms)

    def _is_inline(self, model: "_Paced", size_bytes: int | None) -> bool:
        """Whether to answer in the event loop. A few rows take microseconds: handing them to a thread and back would
        take several times longer, and they would queue behind pictures that take seconds.
        """
        return self._may_answer_inline and model.is_quick and size_bytes is not None and size_bytes <= _INLINE_BYTES_MAX


class _Paced:
    """A pipeline that knows how much processor time its predictions take of late."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._is_tabular = pipeline.manifest.task in TABULAR_TASKS
        self._mean_s = 0.0
        self.name = pipeline.manifest.name

    @property
    def is_quick(self) -> bool:
        """Rows answered so quickly that the event loop does not notice (someone's own large model may not be)."""
        return self._is_tabular and self._mean_s <= _INLINE_MEAN_S_MAX

    def predict(self, body: bytes, scale: float) -> Prediction:
        """The pipeline's answer. Time is the thread's own: waiting for a core says nothing about the model."""
        started_s = thread_time()
        try:
            return self._pipeline.predict(body, scale=scale)
        finally:
            self._mean_s += _NEWEST_SHARE * (thread_time() - started_s - self._mean_s)


def _scale(query: bytes) -> float:
    if not query:
        return 1.0
    given = [value for key, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True) if key == "scale"]
    try:
        return float(given[-1]) if given else 1.0
    except ValueError:
        raise InvalidRequest(f"scale = {given[-1]!r} is not a number.") from None
