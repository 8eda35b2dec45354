"""The Open Inference Protocol's routes (`/v2`): what they answer is the core's, this is their transport.

`infer` is plain ASGI in front of FastAPI's router, as `predict` is (predict.py says why). It reads the body whatever
its Content-Type says, and answers uncompressed whatever Accept-Encoding asks: tritonclient sends no type at all or
`application/octet-stream`, and its aio client fails on compressed documents that it asked for itself.
"""

import logging
from collections.abc import Callable
from functools import partial

from fastapi import FastAPI
from fastapi.responses import Response
from inference_core.open_inference import OpenInference
from inference_core.wire import LENGTH_HEADER, InferReply, read_length
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from inference_http.calls import Calls, Timings, require_post, send_answer
from inference_http.edge import CALL, Call
from inference_http.replies import Json
from inference_http.service import Service

_LOG = logging.getLogger("inference.health")
PREFIX, SUFFIX = "/v2/models/", "/infer"
MODEL_PATH, VERSION_PATH = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
TAG = "open inference"
_LENGTH_HEADER = LENGTH_HEADER.lower().encode()


def infer_target(path: str) -> tuple[str, str | None] | None:
    """The model and, where it is named, the version that `path` calls; None when the path is another route."""
    if not (path.startswith(PREFIX) and path.endswith(SUFFIX)):
        return None
    match path[len(PREFIX) : -len(SUFFIX)].split("/"):
        case [name] if name:
            return name, None
        case [name, "versions", version] if name and version:
            return name, version
    return None


class Infer:
    """Answers infer requests for every model that `protocol` knows."""

    def __init__(self, protocol: OpenInference, calls: Calls) -> None:
        self._protocol, self._calls = protocol, calls

    async def answer(self, name: str, version: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; raises InferenceError or ClientGone for the edge."""
        require_post(scope)
        self._protocol.find(name, version)
        call: Call = scope[CALL]
        given = call.headers.get(_LENGTH_HEADER)
        json_length = read_length(None if given is None else given.decode("latin-1"))
        work = partial(self._inferred, name, version, json_length)
        reply, timings_ms = await self._calls.run(name, work, scope, receive)
        if reply.json_length is None:
            await send_answer(send, b"application/json", reply.body, timings_ms)
        else:
            length = (_LENGTH_HEADER, str(reply.json_length).encode())
            await send_answer(send, b"application/octet-stream", reply.body, timings_ms, length)

    def _inferred(
        self, name: str, version: str | None, json_length: int | None, body: bytes
    ) -> tuple[InferReply, Timings]:
        return self._protocol.infer(name, version, body, json_length)


def add_routes(app: FastAPI, service: Service, protocol: OpenInference) -> None:
    """Add the protocol's other routes to `app`."""
    _add_server(app, service, protocol)
    _add_model(app, "", "A model's tensors", lambda *target: Json(protocol.metadata(*target)))
    _add_model(app, "/ready", "Whether a model is served, and so warm, by status alone", partial(_ready, protocol))
    _add_model(app, "/config", "A model's configuration", lambda *target: Json(protocol.config(*target)))
    _add_model(app, "/stats", "What a model has done since the start", lambda *target: Json(protocol.stats(*target)))


def _ready(protocol: OpenInference, name: str, version: str | None) -> Response:
    protocol.find(name, version)
    return Response()


def _add_server(app: FastAPI, service: Service, protocol: OpenInference) -> None:
    @app.get("/v2/", include_in_schema=False)
    @app.get("/v2", tags=[TAG], summary="The server and what it stands on", response_class=Json)
    async def server() -> Response:
        return Json(service.metadata())

    @app.get("/v2/health/live", tags=[TAG], summary="The process answers", response_class=Response)
    async def live() -> Response:
        return Response()

    @app.get("/v2/health/ready", tags=[TAG], summary="Models are warm", response_class=Response)
    async def ready() -> Response:
        # Models are loaded and warmed before the port opens: what answers at all is ready, unless it stands on a GPU
        # that may be lost. The status says it all.
        if service.engines:
            try:
                await run_in_threadpool(service.engines.check)
            except Exception as error:  # whatever it was, nothing can be computed
                _LOG.warning("not ready: %s", error)
                return Response(status_code=503)
        return Response()

    @app.get("/v2/models/stats", tags=[TAG], summary="What every model has done since the start", response_class=Json)
    async def all_stats() -> Response:
        return Json(protocol.stats())


def _add_model(app: FastAPI, rest: str, summary: str, answer: Callable[[str, str | None], Response]) -> None:
    """One route of a model, without its version and with it."""

    async def only(name: str) -> Response:
        return answer(name, None)

    async def by_version(name: str, version: str) -> Response:
        return answer(name, version)

    kind = Response if rest == "/ready" else Json
    for path, handler, how in ((MODEL_PATH, only, ""), (VERSION_PATH, by_version, ", by version")):
        app.get(f"{path}{rest}", tags=[TAG], summary=f"{summary}{how}", response_class=kind)(handler)
