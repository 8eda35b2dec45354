"""The GPU tier without its HTTP: a process that computes jobs, `python -m gpu_api.worker`."""

import os
from functools import partial

from inference_jobs.process import run_worker

from gpu_api.main import service_of

if __name__ == "__main__":
    run_worker(partial(service_of, environ=os.environ), os.environ)
