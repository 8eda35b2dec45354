"""The head of a request (its line and headers) as it comes off the wire: bounded in bytes and in time, and refused in
the shape of every other error. uvicorn and httptools bound neither.
"""

import asyncio
import logging
from http import HTTPStatus
from secrets import token_hex
from typing import Any

from inference_core.errors import BodyTimeout, HeadersTooLarge, InferenceError, MalformedRequest
from inference_core.settings import Settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from inference_http.problems import error_reply

_LOG = logging.getLogger("inference.access")
_AROUND_HEADER = len(": \r\n")


class BoundedProtocol(HttpToolsProtocol):
    """One connection. The counting costs a tenth of a microsecond a request; only a head that may be too long is
    measured.
    """

    settings = Settings()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected: its first request must come within the time for a head."""
        self._head_bytes = 0
        self._is_in_head = True
        self._head_timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client, or we, closed."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a head, a body, or both."""
        if self._is_in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if not (self._is_in_head and self._head_bytes) or self.transport.is_closing():
            return
        if self._head_bytes > self.settings.header_bytes_max:
            self._refuse(head_too_large(self.settings))
        elif self._head_timer is None:
            self._start_timer()

    def on_headers_complete(self) -> None:
        """The head is here; what belongs to the body is not ours to count."""
        self._is_in_head = False
        self._stop_timer()
        if self._head_bytes > self.settings.header_bytes_max:
            head = sum(len(name) + len(value) + _AROUND_HEADER for name, value in self.headers) + len(self.url)
            # The application answers, as it does for too many headers: a body may be on its way.
            self.scope["state"][OVERSIZED] = head > self.settings.header_bytes_max
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next byte begins another head."""
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets our error, not uvicorn's plain text."""
        del msg
        self._refuse(MalformedRequest("The bytes are no HTTP/1.1 request."))

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.settings.body_s_max, self._head_is_late)

    def _stop_timer(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._head_bytes:
            self._refuse(BodyTimeout(f"The headers took longer than the limit of {self.settings.body_s_max:g} s."))
        else:
            self.transport.close()

    def _refuse(self, error: InferenceError) -> None:
        """Answer without the application, which has no request yet, and close."""
        request_id = token_hex(8)
        path = getattr(self, "url", b"").decode("latin-1").split("?")[0]
        reply = error_reply(error, path=path, request_id=request_id)
        lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()]
        lines += [name + b": " + value for name, value in reply.raw_headers]
        lines += [b"x-request-id: " + request_id.encode(), b"connection: close", b"", bytes(reply.body)]
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()
        client = self.client[0] if self.client else "-"
        _LOG.info("%s before any request id=%s client=%s", error.status, request_id, client)


OVERSIZED = "inference.oversized"
"""Set in an ASGI scope's state where the head is longer than the limit."""


def head_too_large(settings: Settings) -> HeadersTooLarge:
    """The error that names both limits of a head."""
    return HeadersTooLarge(
        f"The request line and headers exceed the limit of {settings.headers_max} headers or "
        f"{settings.header_bytes_max} bytes."
    )


def bounded_protocol(settings: Settings) -> Any:
    """The protocol class for uvicorn's `http` option, with the limits of `settings`."""
    return type("Protocol", (BoundedProtocol,), {"settings": settings})
