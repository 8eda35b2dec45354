"""What a job store must do. It knows bytes and keys, nothing of jobs; the rules of jobs stand above it, once.

Three small parts: *blobs* (pictures and results), *documents* (small, changed by compare-and-set), *queues* (messages
under a lease). Any number of processes may use one store at a time. A call that has returned has happened: it
survives the end of the process. A call that raised may have happened or not.

Every call may raise StoreUnavailable; those that write StoreFull. Keys are lower-case letters, digits, `-` and `/`.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Document:
    """A document's bytes, and the version that `replace` compares with."""

    data: bytes
    version: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some keys in order, and what to ask with for those that follow; None after the last."""

    keys: list[str]
    token: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """A message under lease. Whoever holds the newest `receipt` holds the lease."""

    queue: str
    id: str
    receipt: str
    data: bytes
    deliveries: int
    """How often it was received, this time included."""


class Store(Protocol):
    """The contract, held by one test suite for every store."""

    def put(self, key: str, data: bytes) -> None:
        """Create or replace a blob. Atomic: a reader gets all of the old bytes or all of the new, at any moment."""
        ...

    def get(self, key: str) -> bytes | None:
        """The blob's bytes, None where there is none."""
        ...

    def delete(self, key: str) -> None:
        """Remove the blob and give its room back; nothing happens where there is none."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Create a document. Atomic: of several callers at once exactly one gets True, the others False."""
        ...

    def read(self, key: str) -> Document | None:
        """The document as it was last written, None where there is none."""
        ...

    def replace(self, key: str, data: bytes, version: str) -> bool:
        """Write the document if it still has `version`. Atomic: of several callers with one version exactly one gets
        True; False also where the document is gone.
        """
        ...

    def remove(self, key: str) -> None:
        """Remove the document; nothing happens where there is none."""
        ...

    def page(self, prefix: str, *, limit: int, token: str | None = None) -> Page:
        """Keys of documents that begin with `prefix`, in ascending order, at most `limit`, after those of the page that
        gave `token`. Keys created or removed meanwhile may be in it or not; every other key is in exactly one page.
        Raises ValueError for a token that no page gave.
        """
        ...

    def send(self, queue: str, data: bytes, *, delay_s: float = 0.0) -> None:
        """Append a message that can be received after `delay_s`."""
        ...

    def receive(self, queue: str, *, lease_s: float) -> Message | None:
        """The message that has waited longest, about; None when none can be received. Atomic: nobody else receives it
        before the lease has run out, from then on anybody.
        """
        ...

    def renew(self, message: Message, *, lease_s: float) -> Message | None:
        """Lease the message for `lease_s` more seconds from now; 0 hands it to the next who asks. Returns the message
        to go on with, None when the lease was lost: somebody else received it, or it is gone.
        """
        ...

    def acknowledge(self, message: Message) -> bool:
        """Remove the message for good; False when the lease was lost (it then belongs to somebody else)."""
        ...

    def peek(self, queue: str, *, limit: int) -> list[bytes]:
        """The first messages that could be received now, at most `limit` and as many as the store shows (Azure Storage:
        32); nothing is leased.
        """
        ...

    def length(self, queue: str) -> int:
        """How many messages the queue holds, leased and delayed ones included, about."""
        ...

    def close(self) -> None:
        """Let go of files and connections; the store is not used afterwards."""
        ...
