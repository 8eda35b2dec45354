"""Calls by tensor (`/v2`, the Open Inference Protocol): what they answer is the core's, this is their transport."""

from collections.abc import Callable, Mapping

import azure.functions as func
from inference_core.documents import reader
from inference_core.open_inference import EXTENSIONS, OpenInference
from inference_core.registry import Registry
from inference_core.settings import Settings
from inference_core.wire import LENGTH_HEADER, InferReply, read_length
from replies import HOSTING_HEADER, json_reply, server_timing


class TensorCalls:
    """The protocol over the function's own requests and replies. Everything here raises InferenceError."""

    def __init__(self, models: Registry, settings: Settings) -> None:
        self.extensions = list(EXTENSIONS)
        self._stats = models.stats
        self._protocol = OpenInference(models, elements_max=settings.elements_max, read=reader(settings))

    def all_stats(self) -> func.HttpResponse:
        """What every model has done."""
        return json_reply(self._protocol.stats())

    def metadata(self, req: func.HttpRequest) -> func.HttpResponse:
        """A model's tensors."""
        return json_reply(self._protocol.metadata(*_target(req)))

    def ready(self, req: func.HttpRequest) -> func.HttpResponse:
        """Whether a model is served, by status alone."""
        self._protocol.find(*_target(req))
        return func.HttpResponse(headers=HOSTING_HEADER)

    def config(self, req: func.HttpRequest) -> func.HttpResponse:
        """A model's configuration."""
        return json_reply(self._protocol.config(*_target(req)))

    def stats(self, req: func.HttpRequest) -> func.HttpResponse:
        """What a model has done."""
        return json_reply(self._protocol.stats(*_target(req)))

    def infer(self, req: func.HttpRequest, body: Callable[[], bytes]) -> func.HttpResponse:
        """A model's outputs; `body` is asked for once the model is known to be here."""
        name, version = _target(req)
        self._protocol.find(name, version)
        json_length = read_length(req.headers.get(LENGTH_HEADER))
        reply, timings_ms = self._protocol.infer(name, version, body(), json_length)
        self._stats[name].add(timings_ms)
        return _infer_reply(reply, timings_ms)


def _target(req: func.HttpRequest) -> tuple[str, str | None]:
    return req.route_params["name"], req.route_params.get("version")


def _infer_reply(reply: InferReply, timings_ms: Mapping[str, float]) -> func.HttpResponse:
    """Stage times as `Server-Timing` alone: the body is the protocol's."""
    headers = HOSTING_HEADER | {
        "Server-Timing": server_timing({stage: round(spent_ms, 3) for stage, spent_ms in timings_ms.items()})
    }
    if reply.json_length is None:
        return func.HttpResponse(reply.body, headers=headers, mimetype="application/json")
    headers[LENGTH_HEADER] = str(reply.json_length)
    return func.HttpResponse(reply.body, headers=headers, mimetype="application/octet-stream")
