"""Errors on the wire: `application/problem+json` on every route but /v2, where only `{"error": …}` is readable
(tritonclient shows nothing else).
"""

from typing import Any

import orjson
from inference_core.errors import (
    BodyTimeout,
    HeadersTooLarge,
    InferenceError,
    InternalError,
    MethodNotAllowed,
    RouteNotFound,
    Unauthorized,
)
from starlette.exceptions import HTTPException
from starlette.responses import Response

STATUS_CLIENT_GONE = 499
"""What the log and the metrics say of a request whose client left before its answer (nginx's number)."""


class ClientGone(Exception):
    """The client closed the connection; nobody waits for an answer."""


def from_http(error: HTTPException, method: str) -> InferenceError:
    """What the router raises for a path or method that it does not have, as an error of ours."""
    if error.status_code == MethodNotAllowed.status:
        allow = (error.headers or {}).get("Allow", "")
        return MethodNotAllowed(f"{method} is not taken here; {allow} is.", allow=allow)
    if error.status_code == RouteNotFound.status:
        return RouteNotFound("Nothing is served at this path; GET /v1/models lists the models.")
    return InternalError()


def error_reply(error: InferenceError, *, path: str, request_id: str) -> Response:
    """The reply for `error` in the shape that `path` promises, with `Retry-After` and `Allow` where they apply."""
    body: dict[str, Any]
    if path == "/v2" or path.startswith("/v2/"):
        body, media_type = {"error": error.detail}, "application/json"
    else:
        body, media_type = {"type": "about:blank", **error.problem()}, "application/problem+json"
    reply = Response(orjson.dumps(body | {"request_id": request_id}), error.status, media_type=media_type)
    if error.retry_after_s is not None:
        reply.headers["retry-after"] = str(error.retry_after_s)
    if isinstance(error, MethodNotAllowed):
        reply.headers["allow"] = error.allow
    if isinstance(error, Unauthorized):
        reply.headers["www-authenticate"] = "Bearer"
    if isinstance(error, BodyTimeout | HeadersTooLarge):
        # The rest of such a request is not worth reading; it would hold the connection.
        reply.headers["connection"] = "close"
    return reply
