"""The container tier's wiring, and all of it: environment, settings, models, application, process."""

import logging
import os
from collections.abc import Mapping

from fastapi import FastAPI
from inference_core.settings import Settings, read_settings
from inference_http.app import create_app
from inference_http.server import read_address, run
from inference_http.service import Service, builders, open_service
from inference_jobs.serving import with_jobs
from inference_jobs.settings import read_job_settings

_LOG = logging.getLogger("inference.container")


def open_app(environ: Mapping[str, str]) -> FastAPI:
    """The application that `environ` describes, models loaded and warmed. Raises StartupError saying what to mend."""
    service = service_of(read_settings(environ))
    _LOG.info("%s", service.summary())
    return with_jobs(create_app(service), service, read_job_settings(environ))


def service_of(settings: Settings) -> Service:
    """The models on the CPU, loaded and warmed. Raises StartupError."""
    return open_service(settings, "cpu", builders(settings, "cpu"))


def app() -> FastAPI:
    """The application of this process's environment, for `uvicorn --factory image_api.main:app`."""
    return open_app(os.environ)


def serve(host: str, port: int) -> None:
    """Serve until stopped. A start that cannot succeed says so in one sentence and exits with status 2."""
    run(app, host, port)


if __name__ == "__main__":
    serve(*read_address())
