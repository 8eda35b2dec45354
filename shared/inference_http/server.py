"""Run an application as a process: its log, its port, its start and its end."""

import argparse
import gc
import ipaddress
import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

import uvicorn
from fastapi import FastAPI
from inference_core.errors import StartupError
from inference_core.heap import keep_freed
from inference_core.settings import Settings

from inference_http.protocol import bounded_protocol

_LOG = logging.getLogger("inference.server")
_GRACE_S = 230
"""How long requests in flight may go on after SIGTERM: the shortest of the platforms' walls (Functions 230 s)."""


def run(open_app: Callable[[], FastAPI], host: str, port: int) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish the requests in flight. Port 0 is any free one; the log names it.

    A StartupError, or an address that cannot be had, becomes one sentence on stderr and exit status 2.
    """
    set_up_log()
    signal.signal(signal.SIGTERM, _stop)  # also while models load; uvicorn raises it again when it has shut down
    try:
        # The port is taken first: a long load of models must not end in "address in use".
        listener = bound(host, port)
        app = open_app()
        # Modules and models live as long as the process: no collection need ever look at them again.
        gc.collect()
        gc.freeze()
        # After the models: what their loading freed is given back.
        keep_freed()
    except StartupError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    settings: Settings = app.state.settings
    if not settings.api_keys and not _is_loopback(listener):
        _LOG.warning(
            "%s is reached from elsewhere and INFERENCE_API_KEYS is empty: whoever reaches it may use it. "
            "Right only behind a front that asks who calls (shared/inference_http/SECURITY.md).",
            host,
        )
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=bounded_protocol(settings),
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    _LOG.info("serving on http://%s:%d", *listener.getsockname()[:2])
    with suppress(KeyboardInterrupt):  # uvicorn raises it again likewise
        uvicorn.Server(config).run(sockets=[listener])


def bound(host: str, port: int) -> socket.socket:
    """A socket bound to the address, not yet listening. Raises StartupError naming what is wrong with it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        raise StartupError(f"Cannot listen on {host}:{port}: {error}. Is another process there?") from None
    return listener


def _is_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def read_address(arguments: Sequence[str] | None = None) -> tuple[str, int]:
    """The address to listen on, from the command line."""
    parser = argparse.ArgumentParser(description="Serve the models of one tier over HTTP.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args(arguments)
    return options.host, options.port


def _stop(*_: object) -> None:
    raise SystemExit(0)


def set_up_log() -> None:
    """One line a message on stderr, for a process of ours."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # What the format does not name need not be looked up: a line takes two thirds of the time without.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
