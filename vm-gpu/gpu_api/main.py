"""The GPU tier's wiring, and all of it: environment, settings, CUDA or a declared stand-in, application, process."""

import logging
import os
from collections.abc import Mapping

from fastapi import FastAPI
from inference_core.errors import ProviderError
from inference_core.session import require_cuda
from inference_core.settings import Settings, read_settings
from inference_http.app import create_app
from inference_http.server import read_address, run
from inference_http.service import Service, builders, open_service
from inference_jobs.serving import with_jobs
from inference_jobs.settings import read_job_settings

_LOG = logging.getLogger("inference.gpu")


def open_app(environ: Mapping[str, str]) -> FastAPI:
    """The application that `environ` describes, models loaded and warmed. Raises StartupError saying what to mend."""
    service = service_of(read_settings(environ))
    _LOG.info("%s", service.summary())
    return with_jobs(create_app(service), service, read_job_settings(environ))


def service_of(settings: Settings) -> Service:
    """On CUDA; without it only where `settings.allow_cpu` declares a stand-in. Never silently on the CPU."""
    try:
        require_cuda()
        return open_service(settings, "cuda", builders(settings, "cuda"))
    except ProviderError as error:
        if not settings.allow_cpu:
            raise ProviderError(
                f"{error} vm-gpu/README.md says what fits; INFERENCE_ALLOW_CPU=1 starts a declared CPU stand-in."
            ) from None
        _LOG.warning("CPU stand-in: %s Every reply says so; its figures say nothing about a GPU.", error)
    return open_service(settings, "cpu-stand-in", builders(settings, "cpu"))


def app() -> FastAPI:
    """The application of this process's environment, for `uvicorn --factory gpu_api.main:app`."""
    return open_app(os.environ)


def serve(host: str, port: int) -> None:
    """Serve until stopped. A start that cannot succeed says so in one sentence and exits with status 2."""
    run(app, host, port)


if __name__ == "__main__":
    serve(*read_address())
