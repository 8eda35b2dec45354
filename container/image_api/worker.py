"""The container tier without its HTTP: a process that computes jobs, `python -m image_api.worker`."""

import os

from inference_jobs.process import run_worker

from image_api.main import service_of

if __name__ == "__main__":
    run_worker(service_of, os.environ)
