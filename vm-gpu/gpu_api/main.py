"""The GPU tier's wiring, and all of it: environment, settings, CUDA or a declared stand-in, application, process."""

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import replace

from fastapi import FastAPI
from inference_core.cpu import usable_cores
from inference_core.errors import ProviderError
from inference_core.session import Provider, require_cuda
from inference_core.settings import GpuSettings, Settings, read_as, read_settings
from inference_http.app import create_app
from inference_http.server import read_address, run
from inference_http.service import Service, builders, open_service
from inference_jobs.serving import with_jobs
from inference_jobs.settings import read_job_settings

from gpu_api.engines import Engines
from gpu_api.lost import end_process
from gpu_api.metrics import GpuMetrics

_LOG = logging.getLogger("inference.gpu")


def open_app(environ: Mapping[str, str]) -> FastAPI:
    """The application that `environ` describes, models loaded and warmed. Raises StartupError saying what to mend."""
    service = service_of(read_settings(environ), environ)
    _LOG.info("%s", service.summary())
    app = create_app(service)
    assert isinstance(service.engines, Engines)
    app.metrics.add(GpuMetrics(service.engines))
    return with_jobs(app, service, read_job_settings(environ))


def service_of(settings: Settings, environ: Mapping[str, str]) -> Service:
    """On CUDA; where there is none, only where `settings.allow_cpu` declares a stand-in. Never silently on the CPU: a
    GPU that is there and cannot be used as the settings say stops the start.
    """
    gpu = read_as(GpuSettings, environ)
    try:
        require_cuda()
    except ProviderError as error:
        if not settings.allow_cpu:
            raise ProviderError(
                f"{error} vm-gpu/README.md says what fits; INFERENCE_ALLOW_CPU=1 starts a declared CPU stand-in."
            ) from None
        _LOG.warning("CPU stand-in: %s Every reply says so; its figures say nothing about a GPU.", error)
        return _service(replace(settings, threads=settings.threads or usable_cores()), gpu, "cpu")
    if not environ.get("INFERENCE_SLOTS", "").strip():
        # Decoding is what the CPU does here: a picture a core, and some whose tiles are with the GPU meanwhile.
        settings = replace(settings, slots=cuda_slots())
    return _service(settings, gpu, "cuda")


def cuda_slots() -> int:
    """Pictures at the same time on CUDA, unless the settings say otherwise: a quarter more than cores. A 4K picture was
    60 ms of work for a core beside an H100, and a small model's 9 to 29 ms on it; more pictures of a large model would
    wait for each other longer, and end no sooner.
    """
    return math.ceil(1.25 * usable_cores())


def _service(settings: Settings, gpu: GpuSettings, provider: Provider) -> Service:
    engines = Engines(gpu, lost=end_process)
    try:
        ours = engines.builders(settings, provider, builders(settings, provider))
        return open_service(settings, "cuda" if provider == "cuda" else "cpu-stand-in", ours, engines)
    except BaseException:
        engines.close()
        raise


def app() -> FastAPI:
    """The application of this process's environment, for `uvicorn --factory gpu_api.main:app`."""
    return open_app(os.environ)


def serve(host: str, port: int) -> None:
    """Serve until stopped. A start that cannot succeed says so in one sentence and exits with status 2."""
    run(app, host, port)


if __name__ == "__main__":
    serve(*read_address())
