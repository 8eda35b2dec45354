"""`python -m inference_jobs`: look at the store's poison list, and give its jobs another chance."""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from inference_core.errors import InferenceError, StartupError

from inference_jobs.jobs import Jobs
from inference_jobs.poison import poison_list, requeue
from inference_jobs.process import jobs_of
from inference_jobs.settings import read_job_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command on the store that the environment names. Returns 1 for a job that cannot be requeued, 2 when the
    store cannot be reached.
    """
    parser = argparse.ArgumentParser(prog="python -m inference_jobs", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("poison", help="jobs that failed at every attempt, and why")
    again = commands.add_parser("requeue", help="give failed jobs all their attempts again")
    again.add_argument("job", nargs="+", help="id of a job, or `all` of the poison list")
    options = parser.parse_args(arguments)
    try:
        jobs = jobs_of(read_job_settings(os.environ))
        try:
            return _show(jobs) if options.command == "poison" else _requeue(jobs, options.job)
        finally:
            jobs.store.close()
    except (InferenceError, StartupError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def _show(jobs: Jobs) -> int:
    entries = poison_list(jobs)
    for entry in entries:
        at = datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="seconds")
        reason = entry.reason.get("cause") or entry.reason.get("detail")
        print(f"{entry.job}  {at}  {entry.model}  attempts={entry.attempts}  {reason}")
    print(f"{len(entries)} on the poison list, {jobs.store.length('jobs')} in the queue")
    return 0


def _requeue(jobs: Jobs, names: list[str]) -> int:
    if names == ["all"]:
        names = [entry.job for entry in poison_list(jobs)]
    refused = [name for name in names if requeue(jobs, name) is None]
    print(f"{len(names) - len(refused)} requeued")
    for name in refused:
        sys.stderr.write(f"error: {name} is not a failed job of this store\n")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
