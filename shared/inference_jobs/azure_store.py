"""The store of many machines: Azure Storage. Blobs hold pictures, results and documents; a document's version is its
ETag. Queues hold messages; their lease is the queue's visibility timeout.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure.storage.queue import QueueServiceClient

from inference_jobs.errors import StoreFull, StoreUnavailable
from inference_jobs.settings import JobSettings
from inference_jobs.store import Document, Message, Page

INPUTS, RESULTS = "job-inputs", "job-results"
"""The containers; documents stand among the results."""
_FOREVER = -1
_PEEK_MAX = 32
_FULL = {"AccountIsDisabled", "InsufficientAccountPermissions", "AccountLimitExceeded"}
_LOST = {"PopReceiptMismatch", "MessageNotFound", "QueueNotFound"}
_PATIENCE: dict[str, Any] = {
    "initial_backoff": 1,
    "increment_base": 2,
    "retry_total": 3,
    "connection_timeout": 10,
    "read_timeout": 30,
}
"""The SDK's own repetition takes up to two minutes; a lease would run out meanwhile."""
# The SDK writes every request and its headers at INFO.
logging.getLogger("azure").setLevel(logging.WARNING)


def open_azure_store(settings: JobSettings) -> "AzureStore":
    """The store in the account that `settings` name, by connection string or else by the identity of the machine
    (`AZURE_CLIENT_ID` chooses among several). Raises StoreUnavailable.
    """
    if settings.jobs_connection:
        blobs = BlobServiceClient.from_connection_string(settings.jobs_connection, **_PATIENCE)
        queues = QueueServiceClient.from_connection_string(settings.jobs_connection, **_PATIENCE)
    else:
        credential = DefaultAzureCredential()
        blobs = BlobServiceClient(settings.jobs_blob_url, credential, **_PATIENCE)
        queues = QueueServiceClient(settings.jobs_queue_url, credential, **_PATIENCE)
    return AzureStore(blobs, queues, settings.jobs_queue)


class AzureStore:
    """One storage account. Any number of machines may use it."""

    def __init__(self, blobs: BlobServiceClient, queues: QueueServiceClient, queue: str) -> None:
        """Uses queues named `queue`, `<queue>-poison` and `<queue>-webhooks`; what is missing is created. Raises
        StoreUnavailable.
        """
        self._closing = ExitStack()
        self._closing.enter_context(blobs)
        self._closing.enter_context(queues)
        self._blobs = {name: blobs.get_container_client(name) for name in (INPUTS, RESULTS)}
        names = {"jobs": queue, "poison": f"{queue}-poison", "webhooks": f"{queue}-webhooks"}
        self._queues = {ours: queues.get_queue_client(name) for ours, name in names.items()}
        for container in self._blobs.values():
            _create(container.create_container)
        for client in self._queues.values():
            _create(client.create_queue)

    def put(self, key: str, data: bytes) -> None:
        """See Store."""
        with _translated():
            self._container(key).upload_blob(key, data, overwrite=True)

    def get(self, key: str) -> bytes | None:
        """See Store."""
        with _translated():
            try:
                return self._container(key).download_blob(key).readall()
            except ResourceNotFoundError:
                return None

    def delete(self, key: str) -> None:
        """See Store."""
        with _translated():
            try:
                self._container(key).delete_blob(key)
            except ResourceNotFoundError:
                return

    def create(self, key: str, data: bytes) -> bool:
        """See Store."""
        with _translated():
            try:
                self._container(key).upload_blob(key, data, overwrite=False)
            except ResourceExistsError:
                return False
            return True

    def read(self, key: str) -> Document | None:
        """See Store."""
        with _translated():
            try:
                blob = self._container(key).download_blob(key)
                return Document(blob.readall(), blob.properties.etag)
            except ResourceNotFoundError:
                return None

    def replace(self, key: str, data: bytes, version: str) -> bool:
        """See Store."""
        with _translated():
            try:
                self._container(key).upload_blob(
                    key, data, overwrite=True, etag=version, match_condition=MatchConditions.IfNotModified
                )
            except (ResourceExistsError, ResourceNotFoundError):
                return False
            except HttpResponseError as error:
                if error.status_code == 412:
                    return False
                raise
            return True

    def remove(self, key: str) -> None:
        """See Store."""
        self.delete(key)

    def page(self, prefix: str, *, limit: int, token: str | None = None) -> Page:
        """See Store."""
        if token is not None and not token.startswith(prefix):
            raise ValueError(f"{token!r} comes from no page of {prefix!r}.")
        with _translated():
            listing = self._container(prefix).list_blob_names(name_starts_with=prefix, results_per_page=limit)
            pages = listing.by_page(token.removeprefix(prefix) if token else None)
            keys = list(next(pages, iter(())))
            following = getattr(pages, "continuation_token", None)
        return Page(keys, prefix + following if following else None)

    def send(self, queue: str, data: bytes, *, delay_s: float = 0.0) -> None:
        """See Store."""
        with _translated():
            self._queues[queue].send_message(
                data.decode(), visibility_timeout=round(delay_s) or None, time_to_live=_FOREVER
            )

    def receive(self, queue: str, *, lease_s: float) -> Message | None:
        """See Store."""
        with _translated():
            found = self._queues[queue].receive_message(visibility_timeout=_whole(lease_s))
        if found is None:
            return None
        return Message(queue, found.id, found.pop_receipt or "", found.content.encode(), found.dequeue_count or 1)

    def renew(self, message: Message, *, lease_s: float) -> Message | None:
        """See Store."""
        with _translated():
            try:
                newer = self._queues[message.queue].update_message(
                    message.id,
                    message.receipt,
                    visibility_timeout=_whole(lease_s) if lease_s else 0,
                    content=message.data.decode(),
                )
            except HttpResponseError as error:
                if _is_lost(error):
                    return None
                raise
        return Message(message.queue, message.id, newer.pop_receipt or "", message.data, message.deliveries)

    def acknowledge(self, message: Message) -> bool:
        """See Store."""
        with _translated():
            try:
                self._queues[message.queue].delete_message(message.id, message.receipt)
            except HttpResponseError as error:
                if _is_lost(error):
                    return False
                raise
        return True

    def peek(self, queue: str, *, limit: int) -> list[bytes]:
        """See Store."""
        with _translated():
            found = self._queues[queue].peek_messages(max_messages=min(limit, _PEEK_MAX))
        return [message.content.encode() for message in found]

    def length(self, queue: str) -> int:
        """See Store."""
        with _translated():
            return self._queues[queue].get_queue_properties().approximate_message_count or 0

    def close(self) -> None:
        """See Store."""
        self._closing.close()

    def _container(self, key: str) -> ContainerClient:
        return self._blobs[INPUTS if key.startswith("inputs/") else RESULTS]


def _create(create: Callable[[], object]) -> None:
    """Create a container or queue unless it is there: the deployment makes them, Azurite begins empty."""
    with _translated():
        try:
            create()
        except ResourceExistsError:
            return


def _whole(lease_s: float) -> int:
    """Azure counts leases in whole seconds, from 1."""
    return max(1, round(lease_s))


def _is_lost(error: HttpResponseError) -> bool:
    return getattr(error, "error_code", None) in _LOST or error.status_code == 404


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the SDK as those of the contract. It has tried again by itself."""
    try:
        yield
    except AzureError as error:
        if getattr(error, "error_code", None) in _FULL or getattr(error, "status_code", None) == 507:
            raise StoreFull("The storage account takes no more.", retry_after_s=60) from error
        reason = str(error).partition("\n")[0]
        raise StoreUnavailable(f"Azure Storage: {reason}", retry_after_s=5) from error
