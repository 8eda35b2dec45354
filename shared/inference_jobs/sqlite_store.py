"""The store of one machine: a SQLite file for documents and queues, a folder of files for blobs."""

import errno
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, LifoQueue
from secrets import token_hex

from inference_jobs.errors import StoreFull, StoreUnavailable
from inference_jobs.store import Document, Message, Page

_BUSY_S = 20
_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (key TEXT PRIMARY KEY, data BLOB NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blobs (key TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
  number INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, data BLOB NOT NULL, visible_at REAL NOT NULL,
  deliveries INTEGER NOT NULL DEFAULT 0, receipt TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS messages_in_order ON messages (queue, number);
"""
_WAITING = """
SELECT number, data, deliveries FROM messages WHERE queue = ? AND visible_at <= ? ORDER BY number LIMIT ?
"""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_PART_S_MAX = 3600
_LAST = "\U0010ffff"


class SqliteStore:
    """A folder: `jobs.sqlite` (WAL) and `blobs/`. Several processes of one machine may use it, none over a network
    file system (SQLite's locks do not hold there).
    """

    def __init__(self, folder: Path, *, bytes_max: int) -> None:
        """Open or create the store in `folder`, with room for `bytes_max` bytes of blobs. Raises StoreUnavailable."""
        self._folder, self._bytes_max = folder, bytes_max
        self._idle: LifoQueue[sqlite3.Connection] = LifoQueue()
        with _translated():
            for part in ("blobs", "parts"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            _forget_parts(folder / "parts")
            connection = self._connect()
            _set_up(connection)
            self._idle.put(connection)

    def put(self, key: str, data: bytes) -> None:
        """See Store."""
        path = self._path(key)
        with self._transaction() as db:
            (used,) = db.execute("SELECT coalesce(sum(bytes), 0) FROM blobs WHERE key != ?", (key,)).fetchone()
            if used + len(data) > self._bytes_max:
                raise StoreFull(f"The store holds {used} of at most {self._bytes_max} bytes.", retry_after_s=60)
            db.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?)", (key, len(data)))
        try:
            with _translated():
                _write(path, data, self._folder / "parts")
        except BaseException:
            self._count_again(key)
            raise

    def get(self, key: str) -> bytes | None:
        """See Store."""
        with _translated():
            try:
                return self._path(key).read_bytes()
            except FileNotFoundError:
                return None

    def delete(self, key: str) -> None:
        """See Store."""
        with _translated():
            path = self._path(key)
            path.unlink(missing_ok=True)
        with self._transaction() as db:
            db.execute("DELETE FROM blobs WHERE key = ?", (key,))

    def create(self, key: str, data: bytes) -> bool:
        """See Store."""
        with self._transaction() as db:
            return db.execute("INSERT OR IGNORE INTO documents VALUES (?, ?, 1)", (key, data)).rowcount == 1

    def read(self, key: str) -> Document | None:
        """See Store."""
        with self._connection() as db:
            row = db.execute("SELECT data, version FROM documents WHERE key = ?", (key,)).fetchone()
        return Document(row[0], str(row[1])) if row else None

    def replace(self, key: str, data: bytes, version: str) -> bool:
        """See Store."""
        statement = "UPDATE documents SET data = ?, version = version + 1 WHERE key = ? AND version = ?"
        with self._transaction() as db:
            return db.execute(statement, (data, key, int(version))).rowcount == 1

    def remove(self, key: str) -> None:
        """See Store."""
        with self._transaction() as db:
            db.execute("DELETE FROM documents WHERE key = ?", (key,))

    def page(self, prefix: str, *, limit: int, token: str | None = None) -> Page:
        """See Store."""
        if token is not None and not token.startswith(prefix):
            raise ValueError(f"{token!r} comes from no page of {prefix!r}.")
        statement = "SELECT key FROM documents WHERE key > ? AND key < ? ORDER BY key LIMIT ?"
        with self._connection() as db:
            keys = [key for (key,) in db.execute(statement, (token or prefix, prefix + _LAST, limit + 1))]
        return Page(keys[:limit], keys[limit - 1] if len(keys) > limit else None)

    def send(self, queue: str, data: bytes, *, delay_s: float = 0.0) -> None:
        """See Store."""
        statement = "INSERT INTO messages (queue, data, visible_at) VALUES (?, ?, ?)"
        with self._transaction() as db:
            db.execute(statement, (queue, data, time.time() + delay_s))

    def receive(self, queue: str, *, lease_s: float) -> Message | None:
        """See Store."""
        # Looked for without the write lock first: an idle worker that polls must not hold up those who write.
        with self._connection() as db:
            if not db.execute(_WAITING, (queue, time.time(), 1)).fetchone():
                return None
        with self._transaction() as db:
            now = time.time()
            row = db.execute(_WAITING, (queue, now, 1)).fetchone()
            if row is None:
                return None
            number, data, deliveries = row
            receipt = token_hex(8)
            statement = "UPDATE messages SET visible_at = ?, deliveries = ?, receipt = ? WHERE number = ?"
            db.execute(statement, (now + lease_s, deliveries + 1, receipt, number))
        return Message(queue, str(number), receipt, data, deliveries + 1)

    def renew(self, message: Message, *, lease_s: float) -> Message | None:
        """See Store."""
        statement = "UPDATE messages SET visible_at = ? WHERE number = ? AND receipt = ?"
        with self._transaction() as db:
            values = (time.time() + lease_s, int(message.id), message.receipt)
            return message if db.execute(statement, values).rowcount else None

    def acknowledge(self, message: Message) -> bool:
        """See Store."""
        with self._transaction() as db:
            values = (int(message.id), message.receipt)
            return db.execute("DELETE FROM messages WHERE number = ? AND receipt = ?", values).rowcount == 1

    def peek(self, queue: str, *, limit: int) -> list[bytes]:
        """See Store."""
        with self._connection() as db:
            return [data for _, data, _ in db.execute(_WAITING, (queue, time.time(), limit))]

    def length(self, queue: str) -> int:
        """See Store."""
        with self._connection() as db:
            (count,) = db.execute("SELECT count(*) FROM messages WHERE queue = ?", (queue,)).fetchone()
        return int(count)

    def close(self) -> None:
        """See Store."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return

    def _path(self, key: str) -> Path:
        return self._folder / "blobs" / key

    def _count_again(self, key: str) -> None:
        """What a blob takes after a write that failed: the file that was there before, or nothing."""
        path = self._path(key)
        with self._transaction() as db:
            if path.exists():
                db.execute("UPDATE blobs SET bytes = ? WHERE key = ?", (path.stat().st_size, key))
            else:
                db.execute("DELETE FROM blobs WHERE key = ?", (key,))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._folder / "jobs.sqlite", timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        # FULL: what was accepted is still there after a power cut, not only after the end of a process.
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection of one's own for the block; as many are kept as were ever used at once."""
        with _translated():
            try:
                connection = self._idle.get_nowait()
            except Empty:
                connection = self._connect()
            try:
                yield connection
            finally:
                self._idle.put(connection)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block or nothing of it, with the write lock from the start: no two processes interleave."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


def _set_up(connection: sqlite3.Connection) -> None:
    """Switch to WAL and create the tables. SQLite does not wait by itself where two processes switch at once."""
    give_up_at = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
        except sqlite3.OperationalError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)
        else:
            return


def _forget_parts(folder: Path) -> None:
    """Remove what processes that were killed while they wrote left behind."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _PART_S_MAX:
                path.unlink()


def _write(path: Path, data: bytes, parts: Path) -> None:
    """The file appears whole or not at all, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = parts / token_hex(8)
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of SQLite and the file system as those of the contract."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or getattr(error, "errno", None) in _NO_ROOM:
            raise StoreFull("The disk of the store is full.", retry_after_s=60) from error
        raise StoreUnavailable(f"The store failed: {error}.", retry_after_s=5) from error
