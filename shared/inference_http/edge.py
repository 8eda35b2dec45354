"""Around every request: its id, its log line, and the translation of whatever went wrong."""

import asyncio
import logging
import re
from collections.abc import Mapping
from itertools import count
from secrets import token_hex
from time import perf_counter
from typing import Any

from inference_core.errors import InferenceError, InternalError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inference_http.keys import Keys
from inference_http.metrics import Metrics
from inference_http.problems import STATUS_CLIENT_GONE, ClientGone, error_reply
from inference_http.protocol import OVERSIZED, head_too_large
from inference_http.service import Service

CALL = "inference.call"
"""Where the request's `Call` stands in the ASGI scope."""
_LOG = logging.getLogger("inference.access")
_FAULTS = logging.getLogger("inference.fault")
_SANE_ID = re.compile(rb"[\w.:-]{1,80}", re.ASCII)
_LINES_MAX = 128
_LINES_LATE_S = 0.1
_PROCESS = token_hex(4)
_NUMBERS = count(1)
_NO_STATE: dict[str, bool] = {}


class Call:
    """What is known of one request while it runs."""

    __slots__ = ("headers", "is_predict", "model", "request_id", "started", "status", "timings_ms")

    def __init__(self, headers: dict[bytes, bytes]) -> None:
        self.headers = headers
        given = headers.get(b"x-request-id", b"")
        # A process's own name and a number: unique, and a tenth of the cost of a UUID.
        self.request_id = given.decode() if _SANE_ID.fullmatch(given) else f"{_PROCESS}-{next(_NUMBERS)}"
        self.started = perf_counter()
        self.status = 0
        self.is_predict = False
        self.model = ""
        self.timings_ms: Mapping[str, float] = {}


class Edge:
    """Outermost ASGI layer: gives each request its `Call`, answers its errors, counts it, writes its log line."""

    def __init__(self, inner: ASGIApp, metrics: Metrics, service: Service) -> None:
        self._inner, self._metrics, self._settings = inner, metrics, service.settings
        self._hosting = (b"inference-hosting", service.hosting.encode())
        self.keys = Keys(service.keys)
        self._lines: list[tuple[Any, ...]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request. Nothing but a broken connection leaves this method as an exception."""
        call = scope[CALL] = Call(dict(scope["headers"]))
        headers = [self._hosting, (b"x-request-id", call.request_id.encode())]

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                call.status = message["status"]
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        try:
            self._let_in(scope, call)
            await self._inner(scope, receive, send_marked)
        except ClientGone:
            pass
        except InferenceError as error:
            if error.status >= InternalError.status and error.__cause__ is not None:
                _FAULTS.error("request_id=%s failed", call.request_id, exc_info=error.__cause__)
            await error_reply(error, path=scope["path"], request_id=call.request_id)(scope, receive, send_marked)
        except Exception:
            _FAULTS.exception("request_id=%s failed", call.request_id)
            if not call.status:
                reply = error_reply(InternalError(), path=scope["path"], request_id=call.request_id)
                await reply(scope, receive, send_marked)
        finally:
            self._end(scope, call)

    def _let_in(self, scope: Scope, call: Call) -> None:
        """Raise HeadersTooLarge or Unauthorized for a request that is not even to be looked at."""
        if len(scope["headers"]) > self._settings.headers_max or scope.get("state", _NO_STATE).get(OVERSIZED):
            raise head_too_large(self._settings)
        if self.keys:
            self.keys.require(scope["path"], call.headers)

    def _end(self, scope: Scope, call: Call) -> None:
        call.status = call.status or STATUS_CLIENT_GONE
        duration_s = perf_counter() - call.started
        if call.is_predict:
            self._metrics.count(call.model, call.status, duration_s, call.timings_ms)
        if not self._lines:
            asyncio.get_running_loop().call_later(_LINES_LATE_S, self.flush)
        self._lines.append(_line(scope, call, duration_s))
        if len(self._lines) >= _LINES_MAX:
            self.flush()

    def flush(self) -> None:
        """Write the access log's lines of the requests that ended. Together, a little later, they take 12 us each;
        between two tabular requests 36 us (caches), more than the prediction itself.
        """
        lines, self._lines = self._lines, []
        for line in lines:
            _LOG.info("%s %s %d %.1fms id=%s client=%s%s", *line)


def _line(scope: Scope, call: Call, duration_s: float) -> tuple[Any, ...]:
    stages = "".join([f" {stage}={spent_ms:.1f}" for stage, spent_ms in call.timings_ms.items()])
    # The raw path is still percent-encoded: a line break in it cannot forge a line of the log.
    path = scope.get("raw_path", b"").decode("latin-1")
    client = (scope.get("client") or ("-",))[0]
    return scope["method"], path, call.status, duration_s * 1e3, call.request_id, client, stages
