"""Job settings that cannot be used are named."""

import pytest
from inference_core.errors import SettingsError
from inference_jobs.settings import JobSettings, read_job_settings


def test_nothing_given_are_the_defaults() -> None:
    assert read_job_settings({}) == JobSettings()


def test_what_is_given_is_read() -> None:
    given = {"INFERENCE_JOBS_DIR": "/data", "INFERENCE_JOBS_WORKERS": "0", "INFERENCE_JOBS_SHARE": "0.5"}
    settings = read_job_settings(given)
    assert (settings.jobs_dir, settings.jobs_workers, settings.jobs_share) == ("/data", 0, 0.5)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"JOBS_SHARE": "2"}, "INFERENCE_JOBS_SHARE='2' is more than 1"),
        ({"JOBS_LEASE_S": "0"}, "INFERENCE_JOBS_LEASE_S='0'"),
        ({"JOBS_BLOB_URL": "https://x"}, "JOBS_BLOB_URL and INFERENCE_JOBS_QUEUE_URL belong together"),
        ({"JOBS_WEBHOOK_HOSTS": "a.example"}, "JOBS_WEBHOOK_SECRET needs at least 24 characters"),
    ],
)
def test_what_cannot_be_used_is_named(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        read_job_settings({f"INFERENCE_{key}": value for key, value in given.items()})


def test_secrets_are_not_shown() -> None:
    settings = JobSettings(jobs_webhook_secret="hidden", jobs_connection="hidden")  # noqa: S106
    assert "hidden" not in repr(settings)
