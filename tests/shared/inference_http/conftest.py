"""Services of tiny real models, and an application served by a real uvicorn on a loopback port."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from inference_core.settings import Settings
from inference_http.app import create_app
from inference_http.protocol import bounded_protocol
from inference_http.server import bound
from inference_http.service import Service, builders, open_service

ServiceOf = Callable[..., Service]
ClientOf = Callable[..., httpx.Client]
START_S = 20


@pytest.fixture
def service_of(models_dir: Path) -> ServiceOf:
    """A service of the tiny models with the settings given."""

    def make(**given: object) -> Service:
        settings = Settings(models_dir=models_dir, **given)  # type: ignore[arg-type]
        return open_service(settings, "cpu", builders(settings, "cpu"))

    return make


@pytest.fixture
def client_of(service_of: ServiceOf) -> Iterator[ClientOf]:
    """A client of an application with the settings given (or of the one given), served by uvicorn."""
    with ExitStack() as stack:

        def make(app: FastAPI | None = None, **given: object) -> httpx.Client:
            url = stack.enter_context(served(app or create_app(service_of(**given))))
            # No pool: what a test leaves unanswered must not sit in the way of its next request.
            limits = httpx.Limits(max_keepalive_connections=0)
            return stack.enter_context(httpx.Client(base_url=url, timeout=30, limits=limits))

        yield make


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The address of `app` while a real server answers for it."""
    listener = bound("127.0.0.1", 0)
    protocol = bounded_protocol(app.state.settings)
    server = uvicorn.Server(uvicorn.Config(app, loop="uvloop", http=protocol, access_log=False, log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + START_S
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.started
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(START_S)
        listener.close()


@pytest.fixture
def client(client_of: ClientOf) -> httpx.Client:
    """A client of an application with default settings."""
    return client_of()
