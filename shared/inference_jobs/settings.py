"""The settings of jobs, read as those of the core are."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from inference_core.errors import SettingsError
from inference_core.settings import read_as

GIBIBYTE = 1 << 30


@dataclass(frozen=True)
class JobSettings:
    """Every setting of jobs, named as in the environment less the prefix `INFERENCE_`."""

    jobs_dir: str = ""
    """Folder of the embedded store. Neither it nor `jobs_queue_url` given: no jobs."""
    jobs_bytes_max: int = 10 * GIBIBYTE
    """Bytes of pictures and results that the embedded store takes."""
    jobs_blob_url: str = ""
    """Azure Storage in place of the folder: the account's blob endpoint …"""
    jobs_queue_url: str = ""
    """… and its queue endpoint. The identity is the machine's own (`AZURE_CLIENT_ID` where it has several)."""
    jobs_connection: str = field(default="", repr=False)
    """Azure Storage by connection string instead: for Azurite on loopback."""
    jobs_queue: str = "jobs"
    """Azure Storage: name of the queue; `<name>-poison` and `<name>-webhooks` stand beside it."""
    jobs_workers: int = 1
    """Jobs that the service process itself computes at the same time; 0: workers are processes of their own."""
    jobs_share: float = 0.2
    """Share of the slots' time that jobs may take while requests wait; what requests leave free is theirs anyway."""
    jobs_queue_max: int = 10_000
    """Jobs that may wait; the next one is refused."""
    jobs_images_max: int = 100
    """Pictures of one job."""
    jobs_lease_s: float = 60.0
    """When a worker was not heard of for so long, its job is given to another."""
    jobs_attempts_max: int = 5
    """Attempts before a job is failed and put on the poison list."""
    jobs_retry_s: float = 5.0
    """Seconds before the second attempt; doubled before every further one."""
    jobs_deadline_s: float = 86_400.0
    """Seconds from its acceptance in which a job must be finished, where it names none itself."""
    jobs_keep_s: float = 86_400.0
    """Seconds for which a finished job's result is kept, and the same again until it is forgotten."""
    jobs_grace_s: float = 200.0
    """Seconds that a job may go on after SIGTERM before it is handed back."""
    jobs_webhook_hosts: tuple[str, ...] = ()
    """Host names that webhooks may call; empty: no webhooks."""
    jobs_webhook_secret: str = field(default="", repr=False)
    """What webhooks are signed with, at least 24 characters."""


def read_job_settings(environ: Mapping[str, str]) -> JobSettings:
    """Job settings from `environ`. Raises SettingsError naming key and value."""
    settings = read_as(JobSettings, environ)
    if settings.jobs_share > 1:
        raise SettingsError(f"INFERENCE_JOBS_SHARE='{settings.jobs_share:g}' is more than 1.")
    if settings.jobs_webhook_hosts and len(settings.jobs_webhook_secret) < 24:
        raise SettingsError("INFERENCE_JOBS_WEBHOOK_SECRET needs at least 24 characters where webhooks are allowed.")
    if bool(settings.jobs_blob_url) != bool(settings.jobs_queue_url):
        raise SettingsError("INFERENCE_JOBS_BLOB_URL and INFERENCE_JOBS_QUEUE_URL belong together; one is missing.")
    return settings
