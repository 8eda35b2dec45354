"""The container tier's wiring, and all of it: environment, settings, models, application, process."""

import logging
import os
from collections.abc import Mapping

from fastapi import FastAPI
from inference_core.settings import read_settings
from inference_http.app import create_app
from inference_http.server import read_address, run
from inference_http.service import builders, open_service

_LOG = logging.getLogger("inference.container")


def open_app(environ: Mapping[str, str]) -> FastAPI:
    """The application that `environ` describes, models loaded and warmed. Raises StartupError saying what to mend."""
    settings = read_settings(environ)
    service = open_service(settings, "cpu", builders(settings, "cpu"))
    _LOG.info("%s", service.summary())
    return create_app(service)


def app() -> FastAPI:
    """The application of this process's environment, for `uvicorn --factory image_api.main:app`."""
    return open_app(os.environ)


def serve(host: str, port: int) -> None:
    """Serve until stopped. A start that cannot succeed says so in one sentence and exits with status 2."""
    run(app, host, port)


if __name__ == "__main__":
    serve(*read_address())
