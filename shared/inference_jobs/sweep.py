"""What expires: results after their time, and the jobs themselves after the same time again."""

import time

from inference_jobs.job import born_at, job_key
from inference_jobs.jobs import Jobs

_PAGE = 500


def sweep(jobs: Jobs) -> int:
    """Let go of what has expired; how many jobs were forgotten. Any number of processes may do so at once.

    Only jobs old enough to have expired are read: an id says when it was made.
    """
    keep_s = jobs.settings.jobs_keep_s
    forgotten, token = 0, None
    while True:
        page = jobs.store.page(job_key(""), limit=_PAGE, token=token)
        now = time.time()
        names = [key.removeprefix(job_key("")) for key in page.keys]
        for name in names:
            if now - born_at(name) < min(keep_s, jobs.settings.jobs_deadline_s) or (job := jobs.read(name)) is None:
                continue
            job = jobs.settle(job)
            if job.status == "expired" and now > (job.expires_at or now) + keep_s:
                jobs.forget(job)
                forgotten += 1
        if (token := page.token) is None:
            return forgotten
