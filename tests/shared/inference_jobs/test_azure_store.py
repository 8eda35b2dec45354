"""What only the Azure store does: the identity of the machine, and its words for what went wrong."""

from pathlib import Path

import pytest
from inference_jobs.errors import StoreUnavailable
from inference_jobs.serving import open_store
from inference_jobs.settings import JobSettings

from tests.shared.inference_jobs.azurite import Azurite, azurite, certificate_in, identity_endpoint

blob = pytest.importorskip("azure.storage.blob", reason="the extra jobs-azure is not installed")
queue = pytest.importorskip("azure.storage.queue", reason="the extra jobs-azure is not installed")


def test_the_identity_of_the_machine_opens_it(
    emulator: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certificate_in(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    monkeypatch.setenv("AZURE_CLIENT_ID", "0d2f6b5c-1111-4222-8333-444455556666")
    with azurite(tmp_path / "azurite", certificate=certificate) as secured, identity_endpoint() as (variables, asked):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        account = secured.account()
        settings = JobSettings(jobs_blob_url=secured.blob_url(account), jobs_queue_url=secured.queue_url(account))
        store = open_store(settings)
        assert store
        store.put("inputs/a", b"picture")
        assert store.get("inputs/a") == b"picture"
        assert store.create("jobs/a", b"job")
        store.send("jobs", b"a")
        message = store.receive("jobs", lease_s=30)
        assert message
        assert store.renew(message, lease_s=30)
        store.close()
    assert asked
    assert all("client_id=0d2f6b5c" in path and "storage.azure.com" in path for path in asked)


def test_an_account_that_cannot_be_reached_is_said_in_a_sentence(emulator: Azurite) -> None:
    connection = emulator.connection("jobs0").replace(str(emulator.blob_port), "9")
    with pytest.raises(Exception, match="store of jobs cannot be opened: Azure Storage:"):
        open_store(JobSettings(jobs_connection=connection))


def test_queues_and_containers_have_the_names_of_the_deployment(emulator: Azurite) -> None:
    connection = emulator.connection(emulator.account())
    store = open_store(JobSettings(jobs_connection=connection, jobs_queue="jobs"))
    assert store
    store.close()
    with queue.QueueServiceClient.from_connection_string(connection) as queues:
        assert {found.name for found in queues.list_queues()} == {"jobs", "jobs-poison", "jobs-webhooks"}
    with blob.BlobServiceClient.from_connection_string(connection) as blobs:
        assert {found.name for found in blobs.list_containers()} == {"job-inputs", "job-results"}
    assert StoreUnavailable.status == 503
