"""The stores that the tests run on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inference_jobs.sqlite_store import SqliteStore
from inference_jobs.store import Store

BYTES_MAX = 1 << 30


@contextmanager
def sqlite_store(folder: Path, bytes_max: int = BYTES_MAX) -> Iterator[Store]:
    """A store in `folder`, closed at the end of the block."""
    store = SqliteStore(folder, bytes_max=bytes_max)
    try:
        yield store
    finally:
        store.close()
