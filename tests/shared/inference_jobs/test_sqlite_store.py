"""What only the store in a folder does: its quota, its files, several processes, a full disk."""

import subprocess
import sys
from pathlib import Path

import pytest
from inference_jobs.errors import StoreFull, StoreUnavailable
from inference_jobs.sqlite_store import SqliteStore

from tests.shared.inference_jobs.stores import sqlite_store


def test_beyond_its_quota_it_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    with sqlite_store(tmp_path, bytes_max=100) as store:
        store.put("inputs/a", b"x" * 90)
        with pytest.raises(StoreFull, match="90 of at most 100"):
            store.put("inputs/b", b"y" * 11)
        assert (store.get("inputs/a"), store.get("inputs/b")) == (b"x" * 90, None)


def test_what_is_deleted_or_replaced_gives_its_room_back(tmp_path: Path) -> None:
    with sqlite_store(tmp_path, bytes_max=100) as store:
        store.put("inputs/a", b"x" * 90)
        store.put("inputs/a", b"x" * 100)
        store.delete("inputs/a")
        store.put("inputs/b", b"y" * 100)


def test_a_blob_that_could_not_be_written_takes_no_room(tmp_path: Path) -> None:
    with sqlite_store(tmp_path, bytes_max=100) as store:
        (tmp_path / "blobs" / "inputs").write_text("in the way of the folder")
        with pytest.raises(StoreUnavailable):
            store.put("inputs/a", b"x" * 90)
        store.put("results/a", b"x" * 90)


def test_what_one_process_wrote_another_reads(tmp_path: Path) -> None:
    with sqlite_store(tmp_path) as store:
        store.put("inputs/a", b"picture")
        store.create("jobs/a", b"job")
        store.send("jobs", b"a")
        code = (
            "import sys, pathlib; from inference_jobs.sqlite_store import SqliteStore\n"
            "store = SqliteStore(pathlib.Path(sys.argv[1]), bytes_max=1000)\n"
            "message = store.receive('jobs', lease_s=60)\n"
            "print(store.get('inputs/a'), store.read('jobs/a').data, message.data, store.acknowledge(message))"
        )
        output = subprocess.run([sys.executable, "-c", code, tmp_path], check=True, capture_output=True, text=True)
        assert output.stdout.strip() == "b'picture' b'job' b'a' True"
        assert store.length("jobs") == 0


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="file"):
        SqliteStore(tmp_path / "file", bytes_max=1)
