"""The function tier: tabular models behind plain HTTP handlers, one request at a time on one thread.

Models are opened when the platform imports this file: no request waits for it, and a broken package fails at once.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path

# Before numpy is imported: OpenBLAS would start a thread a core that nothing here uses, and a cold start pays for it.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import azure.functions as func
from inference_core.errors import (
    InferenceError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    RouteNotFound,
    TooLarge,
    UnsupportedMedia,
)
from inference_core.manifest import TABULAR_TASKS, Manifest
from inference_core.registry import Pipeline, describe, load_models
from inference_core.session import Session, runtime_version
from inference_core.settings import Settings, read_settings
from inference_core.tabular import TabularPipeline
from replies import HOSTING, HOSTING_HEADER, json_reply, prediction_reply, problem_reply

VERSION = "0.1.0"
"""What `GET /v2` states; a test holds it equal to pyproject.toml's."""
THREADS = 1
"""One of the four settings that make this tier single-threaded (README.md); INFERENCE_THREADS has no say here."""
AUTH_LEVEL = func.AuthLevel.FUNCTION
"""A function key on all but health, inside a private network too: being in the network is no permission."""

Handler = Callable[[func.HttpRequest], func.HttpResponse]


def _settings() -> Settings:
    """The environment's. Models lie beside this file in the deployed package, in shared/ in the repository."""
    here = Path(__file__).resolve().parent
    packaged = here / "models"
    default = packaged if packaged.is_dir() else here.parent / "shared" / "models"
    given = os.environ.get("INFERENCE_MODELS_DIR")
    return read_settings({**os.environ, "INFERENCE_MODELS_DIR": given or str(default)})


def _tabular(manifest: Manifest) -> Pipeline:
    return TabularPipeline(manifest, Session(manifest.model_bytes, threads=THREADS), rows_max=SETTINGS.rows_max)


SETTINGS = _settings()
MODELS = load_models(SETTINGS, dict.fromkeys(TABULAR_TASKS, _tabular))
app = func.FunctionApp(http_auth_level=AUTH_LEVEL)


def _route(route: str, method: str, auth_level: func.AuthLevel = AUTH_LEVEL) -> Callable[[Handler], Handler]:
    """Bind a handler to `route` for every method, so that we can say 405: the platform answers a method that is not
    bound with a bare 404. What the handler raises becomes a reply; nothing of an unexpected error leaves.
    """

    def bind(handler: Handler) -> Handler:
        @functools.wraps(handler)
        def answer(req: func.HttpRequest) -> func.HttpResponse:
            if req.method != method:
                return problem_reply(
                    MethodNotAllowed(f"{req.method} is not taken here; {method} is.", allow=method), req
                )
            try:
                return handler(req)
            except InferenceError as error:
                return problem_reply(error, req)
            except Exception as error:
                internal = InternalError()
                internal.__cause__ = error
                return problem_reply(internal, req)

        app.route(route=route, auth_level=auth_level)(answer)
        return answer

    return bind


@_route("v1/models/{name}/predict", "POST")
def predict(req: func.HttpRequest) -> func.HttpResponse:
    """Answer rows of named columns with the model or family `name`."""
    pipeline = MODELS.find(req.route_params["name"])
    body = req.get_body()
    if len(body) > SETTINGS.body_bytes_max:
        raise TooLarge(f"The body is larger than the limit of {SETTINGS.body_bytes_max} bytes.")
    if "content-encoding" in req.headers and req.headers["content-encoding"] != "identity":
        raise UnsupportedMedia("The body is compressed (Content-Encoding); send it as it is.")
    return prediction_reply(pipeline.predict(body, scale=_scale(req)))


def _scale(req: func.HttpRequest) -> float:
    text = req.params.get("scale")
    try:
        return 1.0 if text is None else float(text)
    except ValueError:
        raise InvalidRequest(f"scale = {text!r} is not a number.") from None


@_route("v1/models", "GET")
def models(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 (the platform passes it by name)
    """The models served here."""
    return json_reply({"models": [describe(pipeline.manifest) for pipeline in MODELS]})


@_route("v1/models/{name}", "GET")
def model(req: func.HttpRequest) -> func.HttpResponse:
    """One model, by name or family."""
    return json_reply(describe(MODELS.find(req.route_params["name"]).manifest))


@_route("v2", "GET")
def server(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """The server and what it stands on (Open Inference Protocol)."""
    stands_on = {"hosting": HOSTING, "threads": THREADS, "slots": 1, "onnxruntime": runtime_version()}
    served = [pipeline.manifest.name for pipeline in MODELS]
    return json_reply({"name": "inference-tiers", "version": VERSION, "extensions": [], **stands_on, "models": served})


@_route("v2/health/live", "GET", func.AuthLevel.ANONYMOUS)
def health_live(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """The process answers."""
    return func.HttpResponse(headers=HOSTING_HEADER)


@_route("v2/health/ready", "GET", func.AuthLevel.ANONYMOUS)
def health_ready(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """Models are open and warm: they are since the import. The status says it all."""
    return func.HttpResponse(headers=HOSTING_HEADER)


@app.route(route="{*path}")
def unknown(req: func.HttpRequest) -> func.HttpResponse:
    """Any other path. The platform tries routes in the alphabetical order of their functions' names, not the most
    specific first (Azure/azure-functions-host#3153), so this name must stay the last; a test holds it.
    """
    return problem_reply(RouteNotFound("Nothing is served at this path; GET /v1/models lists what is."), req)
