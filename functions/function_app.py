"""The function tier: models of rows and of tensors behind plain HTTP handlers, one request at a time on one thread.

Models are opened when the platform imports this file: no request waits for it, and a broken package fails at once.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

# Before numpy is imported: OpenBLAS would start a thread a core that nothing here uses, and a cold start pays for it.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import azure.functions as func
from inference_core.documents import reader
from inference_core.errors import (
    InferenceError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    RouteNotFound,
    TooLarge,
)
from inference_core.manifest import TABULAR_TASKS, Manifest
from inference_core.registry import Pipeline, TensorPipeline, describe, load_models
from inference_core.session import Session, runtime_version
from inference_core.settings import Settings, read_settings
from inference_core.tabular import TabularPipeline
from replies import HOSTING, HOSTING_HEADER, json_reply, prediction_reply, problem_reply

if TYPE_CHECKING:
    from tensor_calls import TensorCalls

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
    # A package that was staged in the repository must not hide the repository's own models.
    in_repository = here.parent / "shared" / "models"
    default = in_repository if in_repository.is_dir() else here / "models"
    given = os.environ.get("INFERENCE_MODELS_DIR")
    return read_settings({**os.environ, "INFERENCE_MODELS_DIR": given or str(default)})


def _tabular(manifest: Manifest) -> Pipeline:
    session = Session(manifest.model_bytes, data_folder=manifest.data_folder, threads=THREADS)
    return TabularPipeline(manifest, session, rows_max=SETTINGS.rows_max, read=reader(SETTINGS))


def _tensor(manifest: Manifest) -> Pipeline:
    return TensorPipeline(manifest, Session(manifest.model_bytes, data_folder=manifest.data_folder, threads=THREADS))


SETTINGS = _settings()
MODELS = load_models(SETTINGS, {**dict.fromkeys(TABULAR_TASKS, _tabular), "tensor": _tensor})
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


def _model_route(rest: str, method: str = "GET") -> Callable[[Handler], Handler]:
    """Bind a handler to one model's route on /v2, and under a name of its own to the same route by version."""

    def bind(handler: Handler) -> Handler:
        @functools.wraps(handler)
        def by_version(req: func.HttpRequest) -> func.HttpResponse:
            return handler(req)

        by_version.__name__ = f"{handler.__name__}_by_version"
        _route(f"v2/models/{{name}}/versions/{{version}}{rest}", method)(by_version)
        return _route(f"v2/models/{{name}}{rest}", method)(handler)

    return bind


@functools.cache
def _tensor_calls() -> "TensorCalls":
    """What answers calls by tensor. Imported on the first of them: the cold start of a prediction need not wait."""
    from tensor_calls import TensorCalls  # noqa: PLC0415

    return TensorCalls(MODELS, SETTINGS)


def _body(req: func.HttpRequest) -> bytes:
    """The request's body, inflated. Raises TooLarge past the limit, before and after."""
    body = req.get_body()
    if len(body) > SETTINGS.body_bytes_max:
        raise TooLarge(f"The body is larger than the limit of {SETTINGS.body_bytes_max} bytes.")
    encoding = req.headers.get("content-encoding")
    if not encoding:
        return body
    from inference_core.compression import inflate  # noqa: PLC0415 (as above)

    return inflate(body, encoding, bytes_max=SETTINGS.body_bytes_max)


@_route("v1/models/{name}/predict", "POST")
def predict(req: func.HttpRequest) -> func.HttpResponse:
    """Answer rows of named columns with the model or family `name`."""
    pipeline = MODELS.find(req.route_params["name"])
    stats = MODELS.stats[pipeline.manifest.name]
    scale = _scale(req)
    body = _body(req)
    try:
        prediction = pipeline.predict(body, scale=scale)
    except InferenceError:
        stats.add_failure()
        raise
    stats.add(prediction.timings_ms)
    return prediction_reply(prediction)


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
    fields = {"name": "inference-tiers", "version": VERSION, "extensions": _tensor_calls().extensions}
    stands_on = {"hosting": HOSTING, "threads": THREADS, "slots": 1, "onnxruntime": runtime_version()}
    return json_reply({**fields, **stands_on, "models": [pipeline.manifest.name for pipeline in MODELS]})


@_route("v2/health/live", "GET", func.AuthLevel.ANONYMOUS)
def health_live(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """The process answers."""
    return func.HttpResponse(headers=HOSTING_HEADER)


@_route("v2/health/ready", "GET", func.AuthLevel.ANONYMOUS)
def health_ready(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """Models are open and warm: they are since the import. The status says it all."""
    return func.HttpResponse(headers=HOSTING_HEADER)


@_route("v2/models/stats", "GET")
def all_stats(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """What every model has done. Its name comes before `metadata`, whose route would match this one's path."""
    return _tensor_calls().all_stats()


@_model_route("")
def metadata(req: func.HttpRequest) -> func.HttpResponse:
    """Names, types and shapes of a model's tensors."""
    return _tensor_calls().metadata(req)


@_model_route("/ready")
def model_ready(req: func.HttpRequest) -> func.HttpResponse:
    """A model is open and warm. The status says it all."""
    return _tensor_calls().ready(req)


@_model_route("/config")
def model_config(req: func.HttpRequest) -> func.HttpResponse:
    """A model's configuration."""
    return _tensor_calls().config(req)


@_model_route("/stats")
def model_stats(req: func.HttpRequest) -> func.HttpResponse:
    """What a model has done since the start."""
    return _tensor_calls().stats(req)


@_model_route("/infer", "POST")
def infer(req: func.HttpRequest) -> func.HttpResponse:
    """Answer a call by tensor."""
    return _tensor_calls().infer(req, functools.partial(_body, req))


@app.route(route="{*path}")
def unknown(req: func.HttpRequest) -> func.HttpResponse:
    """Any other path. The platform tries routes in the alphabetical order of their functions' names, not the most
    specific first (Azure/azure-functions-host#3153), so this name must stay the last; a test holds it.
    """
    return problem_reply(RouteNotFound("Nothing is served at this path; GET /v1/models lists the models."), req)
