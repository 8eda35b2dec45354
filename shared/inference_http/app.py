"""The application: `predict` and `infer` in front, everything that is asked rarely behind it in FastAPI."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from inference_core.documents import reader
from inference_core.errors import InferenceError, InternalError
from inference_core.open_inference import OpenInference
from inference_core.registry import describe
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from inference_http import __version__, openapi
from inference_http.calls import Calls
from inference_http.edge import CALL, Edge
from inference_http.metrics import Metrics
from inference_http.open_inference import Infer, add_routes, infer_target
from inference_http.page import PAGE, PAGE_HEADERS
from inference_http.predict import Predict, model_name
from inference_http.problems import error_reply, from_http
from inference_http.replies import Json
from inference_http.service import Service
from inference_http.slots import Slots

Deferred = Callable[[str, Scope, Receive, Send], Awaitable[bool]]
"""Answers a predict request to a model by a job, if its client prefers that; whether it did."""


def create_app(service: Service) -> "TierApp":
    """An ASGI application that serves `service`. Several may live in one process; they share nothing."""
    app = TierApp(service)
    _add_models(app, service)
    add_routes(app, service, app.protocol)
    _add_pages(app)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(InferenceError, _inference_error)
    app.add_exception_handler(Exception, _fault)
    return app


class TierApp(FastAPI):
    """FastAPI inside our edge; `predict` and `infer` are answered before its own layers (predict.py says why)."""

    def __init__(self, service: Service) -> None:
        super().__init__(
            title="Inference Tiers",
            version=__version__,
            description=openapi.DESCRIPTION,
            lifespan=_lifespan,
            redirect_slashes=False,
            redoc_url=None,
        )
        self.service = service
        self.slots = Slots(service.settings.slots, service.settings.queue_max)
        self.metrics = Metrics(service, self.slots)
        settings = service.settings
        self.protocol = OpenInference(service.registry, elements_max=settings.elements_max, read=reader(settings))
        calls = Calls(service, self.slots)
        self._predict = Predict(service, calls)
        self._infer = Infer(self.protocol, calls)
        self.edge = Edge(self._dispatch, self.metrics, service)
        self.deferred: Deferred | None = None
        self.state.settings = service.settings  # for the server, which holds a connection to them

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        if scope["type"] == "http":
            await self.edge(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        if name := model_name(scope["path"]):
            if self.deferred and b"prefer" in scope[CALL].headers and await self.deferred(name, scope, receive, send):
                return
            scope[CALL].is_predict = True
            await self._predict.answer(name, scope, receive, send)
        elif target := infer_target(scope["path"]):
            scope[CALL].is_predict = True
            await self._infer.answer(*target, scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The description behind /docs: FastAPI's, and `predict` and `infer`, which FastAPI does not see."""
        if not self.openapi_schema:
            self.openapi_schema = openapi.completed(super().openapi())
        return self.openapi_schema


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    if isinstance(app, TierApp):
        app.slots.close()
        app.edge.flush()
        if engines := app.service.engines:
            await run_in_threadpool(engines.close)


def _add_models(app: FastAPI, service: Service) -> None:
    @app.get("/v1/models", tags=["models"], summary="The models served here", response_class=Json)
    async def models() -> Response:
        return Json({"models": [describe(pipeline.manifest) for pipeline in service.registry]})

    @app.get("/v1/models/{name}", tags=["models"], summary="One model, by name or family", response_class=Json)
    async def model(name: str) -> Response:
        return Json(describe(service.registry.find(name).manifest))


def _add_pages(app: "TierApp") -> None:
    @app.get("/metrics", tags=["operation"], summary="Figures for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(app.metrics.exposition(), headers={"content-type": CONTENT_TYPE_LATEST})

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return HTMLResponse(PAGE, headers=PAGE_HEADERS)


async def _http_error(request: Request, error: Any) -> Response:
    return _reply(request, from_http(error, request.method))


async def _inference_error(request: Request, error: Any) -> Response:
    return _reply(request, error)


async def _fault(request: Request, _error: Any) -> Response:
    return _reply(request, InternalError())


def _reply(request: Request, error: InferenceError) -> Response:
    return error_reply(error, path=request.url.path, request_id=request.scope[CALL].request_id)
