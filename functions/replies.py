"""What goes back on the wire: JSON, and problems in the shape that every tier answers with."""

import json
import logging
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import azure.functions as func
from inference_core.errors import InferenceError, InternalError, MethodNotAllowed, OutOfMemory
from inference_core.results import Prediction

HOSTING = "cpu"
HOSTING_HEADER = {"Inference-Hosting": HOSTING}

_LOG = logging.getLogger("inference.function")
_SANE_ID = re.compile(r"[\w.:-]{1,80}", re.ASCII)
# Made once: `json.dumps` makes an encoder each time it is given separators.
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False).encode


def json_reply(fields: Mapping[str, Any]) -> func.HttpResponse:
    """`fields` as they are."""
    return func.HttpResponse(_encode(fields), headers=HOSTING_HEADER, mimetype="application/json")


def prediction_reply(prediction: Prediction) -> func.HttpResponse:
    """A prediction with its stage times, in the body and as `Server-Timing`."""
    fields = prediction.reply()
    headers = HOSTING_HEADER | {"Server-Timing": server_timing(fields["timings_ms"])}
    fields["hosting"] = HOSTING
    return func.HttpResponse(_encode(fields), headers=headers, mimetype="application/json")


def server_timing(timings_ms: Mapping[str, float]) -> str:
    """Milliseconds of each stage as the header's value."""
    return ", ".join([f"{stage};dur={spent_ms}" for stage, spent_ms in timings_ms.items()])


def problem_reply(error: InferenceError, req: func.HttpRequest) -> func.HttpResponse:
    """`application/problem+json`, but on /v2 `{"error": …}`: clients of the Open Inference Protocol read nothing else.
    What the log says of a fault of ours stands under the reply's request_id.
    """
    request_id = _request_id(req)
    if isinstance(error, InternalError | OutOfMemory):
        _LOG.error("request_id=%s failed", request_id, exc_info=error.__cause__)
    fields: dict[str, Any] = {"type": "about:blank", **error.problem()}
    mimetype = "application/problem+json"
    if f"{urlsplit(req.url).path}/".startswith("/v2/"):
        fields, mimetype = {"error": error.detail}, "application/json"
    headers = HOSTING_HEADER | {"X-Request-Id": request_id}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.allow
    body = _encode(fields | {"request_id": request_id})
    return func.HttpResponse(body, status_code=error.status, headers=headers, mimetype=mimetype)


def _request_id(req: func.HttpRequest) -> str:
    given = req.headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else os.urandom(8).hex()
