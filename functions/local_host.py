"""Serves the function app on loopback for trials, without the Functions host.

What the platform does around the app is done here with the `azure-functions` library's own objects: the app's
functions and their bindings say what is routed, `HttpRequest` and `HttpResponse` go in and out, in the order and
with the limits of the platform. One thread of one core computes, as on a one-core instance with a concurrency of 1.
Where the platform would start another instance, requests wait here: `INFERENCE_QUEUE_MAX` of them, the next is
refused at once. Function keys are not asked for, as the platform's own local host does not.
"""

import argparse
import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl, unquote

import azure.functions as func
import uvicorn
from azure.functions.decorators.http import HttpTrigger
from azure.functions.http import HttpResponseConverter
from inference_core.errors import InferenceError, Overloaded, StartupError, TooLarge
from replies import problem_reply

PLATFORM_BODY_BYTES_MAX = 210_000_000
_KEEP_ALIVE_S = 240
"""Azure's load balancer gives an idle connection four minutes."""
_GRACE_S = 230
"""How long requests in flight may go on after SIGTERM: the platform's wall for an answer."""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Handler = Callable[[func.HttpRequest], func.HttpResponse]


class LocalHost:
    """An ASGI application that routes requests to the functions of `app`."""

    def __init__(self, app: func.FunctionApp, *, queue_max: int) -> None:
        self._routes = routes(app.get_functions())
        self._queue_max = queue_max
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="function")
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request. The event loop reads and writes for many connections, an idle one holds up
        nobody; the worker alone computes, one request after another.
        """
        if scope["type"] == "http" and (body := await _body(receive)) is not None:
            path = scope["raw_path"].decode("latin-1")
            handler, route_params = self._match(path)
            await _send(await self._answer(handler, _request(scope, path, route_params, body)), send)

    async def _answer(self, handler: Handler, request: func.HttpRequest) -> func.HttpResponse:
        refusal: InferenceError | None = None
        if len(request.get_body()) > PLATFORM_BODY_BYTES_MAX:
            refusal = TooLarge(f"The body is larger than the platform's limit of {PLATFORM_BODY_BYTES_MAX} bytes.")
        elif self._in_flight > self._queue_max:
            refusal = Overloaded(f"{self._queue_max} requests wait already; try again.", retry_after_s=1)
        if refusal is not None:
            return problem_reply(refusal, request)
        self._in_flight += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, handler, request)
        finally:
            self._in_flight -= 1

    def _match(self, path: str) -> tuple[Handler, dict[str, str]]:
        for pattern, handler in self._routes:
            if match := pattern.fullmatch(path):
                return handler, {name: unquote(value) for name, value in match.groupdict().items()}
        return _no_function, {}


def _no_function(_: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(status_code=404)


def routes(functions: Iterable[func.Function]) -> list[tuple[re.Pattern[str], Handler]]:
    """The HTTP functions in the order in which the platform tries them: by name, not most specific first
    (Azure/azure-functions-host#3153). A method that a binding does not list would not match; ours list none.
    """
    found = []
    for function in sorted(functions, key=lambda function: str(function.get_function_name())):
        trigger = function.get_trigger()
        if isinstance(trigger, HttpTrigger):
            found.append((route_pattern(str(trigger.route)), function.get_user_function()))
    return found


def route_pattern(route: str) -> re.Pattern[str]:
    """`v1/models/{name}` or `{*path}` as a pattern of a path, percent-encoding still in it."""
    parts = re.split(r"\{(\*?)(\w+)\}", route)
    text = "/" + re.escape(parts[0])
    for stars, name, literal in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        text += f"(?P<{name}>{'.*' if stars else '[^/]+'})" + re.escape(literal)
    return re.compile(text if route.startswith("{*") else text + "/?", re.DOTALL | re.IGNORECASE)


async def _body(receive: Receive) -> bytes | None:
    """The body, of one that is larger than the platform's limit little more than that; None when the client left."""
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        if size <= PLATFORM_BODY_BYTES_MAX:
            chunks.append(message["body"])
        size += len(message["body"])
        more = message["more_body"]
    return b"".join(chunks)


def _request(scope: Scope, path: str, route_params: dict[str, str], body: bytes) -> func.HttpRequest:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    query = scope["query_string"].decode("latin-1")
    url = f"http://{headers.get('host', 'localhost')}{path}{'?' * bool(query)}{query}"
    params = dict(parse_qsl(query, keep_blank_values=True))
    return func.HttpRequest(scope["method"], url, headers=headers, params=params, route_params=route_params, body=body)


async def _send(response: func.HttpResponse, send: Send) -> None:
    """`response` as the worker encodes it for the host (it is what adds the content type)."""
    encoded = HttpResponseConverter.encode(response, expected_type=None).value
    body: bytes = encoded["body"].value
    headers = {name.lower(): datum.value for name, datum in encoded["headers"].items()}
    headers["content-length"] = str(len(body))
    lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": lines})
    await send({"type": "http.response.body", "body": body})


def pin_to_one_core() -> None:
    """Keep this thread, and all that it starts later, on the last of our cores: what a one-core instance has."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def serve(host: str, port: int) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish the requests in flight; port 0 is any free one, stderr names it.

    An app that cannot start, or an address that cannot be had, becomes one sentence on stderr and exit status 2.
    """
    signal.signal(signal.SIGTERM, _stop)
    pin_to_one_core()
    try:
        listener = _bound(host, port)
        # Only now: numpy and ONNX Runtime start their threads on import, and those inherit the core.
        import function_app  # noqa: PLC0415
    except StartupError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    local_host = LocalHost(function_app.app, queue_max=function_app.SETTINGS.queue_max)
    config = uvicorn.Config(
        local_host,
        lifespan="off",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )
    sys.stderr.write("serving the function tier on http://{}:{}\n".format(*listener.getsockname()[:2]))
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn passes the signal on after it has shut down
        _stop()


def _stop(*_: object) -> None:
    raise SystemExit(0)


def _bound(host: str, port: int) -> socket.socket:
    """A socket on the address, taken before the models are opened: a long start must not end in "in use"."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except (OSError, OverflowError) as error:
        raise StartupError(f"Cannot listen on {host}:{port}: {error}. Is another process there?") from None
    return listener


def main() -> None:
    """Serve where the command line says."""
    parser = argparse.ArgumentParser(description="Serve the function tier on loopback, without the Functions host.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    parser.add_argument("--port", type=int, default=7071)
    options = parser.parse_args()
    serve(options.host, options.port)


if __name__ == "__main__":
    main()
