"""The stores of the chaos run, each with a way to fill it up or take it away, and to give it back."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from inference_jobs.errors import StoreFull
from inference_jobs.sqlite_store import SqliteStore

from tests.shared.inference_jobs.azurite import azurite

_DISK_BYTES = 48 << 20
_QUOTA_BYTES = 16 << 20


@dataclass(frozen=True)
class Stage:
    """One store: how processes are told of it, and what `deny` and `allow` do to it."""

    settings: dict[str, str]
    trouble: str
    deny: Callable[[], None]
    allow: Callable[[], None]


@contextmanager
def sqlite_stage(folder: Path) -> Iterator[Stage]:
    """A folder on a small disk of its own, where that can be had; else with a small quota."""
    store = folder / "store"
    store.mkdir(parents=True)
    with _small_disk(store) as is_disk:
        hog = Hog(store, _DISK_BYTES) if is_disk else Hog(store, _QUOTA_BYTES)
        settings = {"INFERENCE_JOBS_DIR": str(store)}
        if not is_disk:
            settings["INFERENCE_JOBS_BYTES_MAX"] = str(_QUOTA_BYTES)
        trouble = "the disk was full" if is_disk else "the quota was used up"
        yield Stage(settings, trouble, hog.fill_disk if is_disk else hog.fill_quota, hog.go)


@contextmanager
def _small_disk(folder: Path) -> Iterator[bool]:
    """A disk in memory at `folder`; False where this user may not mount one."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "chaos", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Hog:
    """Takes all the room there is."""

    def __init__(self, folder: Path, room: int) -> None:
        self._folder, self._room = folder, room

    def fill_disk(self) -> None:
        """Until the system refuses one more byte."""
        with (self._folder / "hog").open("wb", buffering=0) as file:
            for size in (1 << 16, 1):
                while True:
                    try:
                        file.write(bytes(size))
                    except OSError:
                        break

    def fill_quota(self) -> None:
        """Until the store refuses one more byte."""
        store = SqliteStore(self._folder, bytes_max=self._room)
        number, size = 0, self._room
        while size:
            try:
                store.put(f"results/hog-{number}", bytes(size))
                number += 1
            except StoreFull:
                size //= 2
        store.close()

    def go(self) -> None:
        """Give it all back."""
        (self._folder / "hog").unlink(missing_ok=True)
        store = SqliteStore(self._folder, bytes_max=self._room)
        for path in (self._folder / "blobs" / "results").glob("hog-*"):
            store.delete(f"results/{path.name}")
        store.close()


@contextmanager
def azure_stage(folder: Path) -> Iterator[Stage]:
    """Azurite. It has no disk to fill: the account cannot be reached for a while instead."""
    with azurite(folder / "azurite") as running:
        settings = {"INFERENCE_JOBS_CONNECTION": running.connection(running.account())}

        def send(number: int) -> Callable[[], None]:
            return lambda: running.process.send_signal(number)

        yield Stage(settings, "the account was out of reach", send(signal.SIGSTOP), send(signal.SIGCONT))
