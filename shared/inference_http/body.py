"""The body of a request as the caller meant it: raw bytes, or the files of a form; never more than the limit."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from time import monotonic
from typing import Any

from inference_core.errors import BodyTimeout, InvalidRequest, Overloaded, TooLarge, UnsupportedMedia
from inference_core.settings import Settings
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Receive, Scope

from inference_http.problems import ClientGone

SMALL_BYTES = 64 << 10
"""A body of this size fits the buffer that every connection has anyway; it takes no one's place."""
_FORM = b"multipart/form-data"
_FORM_FIELDS_MAX = 20


def content_length(headers: Mapping[bytes, bytes]) -> int | None:
    """The body's size in bytes as announced, None where it is not."""
    text = headers.get(b"content-length", b"")
    return int(text) if text.isdigit() else None


class Bodies:
    """Reads the bodies of one application: bounded in bytes, in time, and in how many are read at once."""

    def __init__(self, settings: Settings) -> None:
        self._bytes_max = settings.body_bytes_max
        self._reads_max = settings.bodies_max
        self._limit_s = settings.body_s_max
        self._late = LateReads(settings.body_s_max)
        self.reading = 0
        """Large bodies on their way in."""

    async def read(self, scope: Scope, receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
        """The one body that `read_all` gives."""
        return (await self.read_all(scope, receive, headers, files_max=1))[0]

    async def read_all(
        self, scope: Scope, receive: Receive, headers: Mapping[bytes, bytes], *, files_max: int
    ) -> list[bytes]:
        """The body, whatever its Content-Type says; of a multipart form, its files, all within one body's limit. A
        compressed body comes as it is (`inflate` is for a thread).

        Raises TooLarge before or while reading, Overloaded when too many are read already, BodyTimeout for one that
        comes too slowly, UnsupportedMedia for a compressed form, InvalidRequest for a form without a file or with
        more than `files_max`, ClientGone when the client leaves.
        """
        announced = content_length(headers)
        if announced is not None and announced > self._bytes_max:
            raise _too_large(self._bytes_max)
        if announced is not None and announced <= SMALL_BYTES:
            return await self._read(scope, receive, headers, files_max)
        if self.reading >= self._reads_max:
            raise Overloaded(f"The limit of {self._reads_max} bodies is being read already.", retry_after_s=1)
        self.reading += 1
        try:
            return await self._read(scope, receive, headers, files_max)
        finally:
            self.reading -= 1

    async def _read(
        self, scope: Scope, receive: Receive, headers: Mapping[bytes, bytes], files_max: int
    ) -> list[bytes]:
        task = asyncio.current_task()
        assert task is not None
        self._late.begin(task)
        try:
            return await read_body(scope, receive, headers, bytes_max=self._bytes_max, files_max=files_max)
        except asyncio.CancelledError:
            if not self._late.has_cut(task):
                raise
            raise BodyTimeout(f"The body took longer than the limit of {self._limit_s:g} s.") from None
        finally:
            self._late.end(task)


class LateReads:
    """Cancels tasks that go on for longer than `limit_s` seconds. All may go on equally long, so the first to begin is
    the first to be late, and one timer a second looks after all of them: 0.5 us a request where `asyncio.timeout`
    takes 4.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._look_every_s = min(1.0, limit_s / 4)
        self._due: dict[asyncio.Task[Any], float] = {}
        self._cut: set[asyncio.Task[Any]] = set()
        self._is_looking = False

    def begin(self, task: asyncio.Task[Any]) -> None:
        """`task` begins what it may be late with."""
        self._due[task] = monotonic() + self._limit_s
        if not self._is_looking:
            self._look_later()

    def end(self, task: asyncio.Task[Any]) -> None:
        """`task` is done with it."""
        self._due.pop(task, None)
        self._cut.discard(task)

    def has_cut(self, task: asyncio.Task[Any]) -> bool:
        """Whether the cancellation that `task` has just received is ours; if so, it is undone."""
        return task in self._cut and task.uncancel() == 0

    def _look_later(self) -> None:
        self._is_looking = True
        asyncio.get_running_loop().call_later(self._look_every_s, self._look)

    def _look(self) -> None:
        self._is_looking = False
        now = monotonic()
        for task, due in list(self._due.items()):
            if due > now:
                break
            del self._due[task]
            self._cut.add(task)
            task.cancel()
        if self._due:
            self._look_later()


async def read_body(
    scope: Scope, receive: Receive, headers: Mapping[bytes, bytes], *, bytes_max: int, files_max: int = 1
) -> list[bytes]:
    """The body up to `bytes_max`, as `Bodies.read_all` says."""
    if headers.get(b"content-type", b"")[: len(_FORM)].lower() == _FORM:
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise UnsupportedMedia("A compressed form is not taken; send the form as it is, or the file compressed.")
        return await _form_files(Headers(scope=scope), _chunks(receive, bytes_max), bytes_max, files_max)
    body, more = await _piece(receive)
    if more or len(body) > bytes_max:
        return [b"".join([chunk async for chunk in _chunks(receive, bytes_max, body)])]
    return [body]


async def until_gone(receive: Receive) -> None:
    """Return when the client has left. For after the whole body was read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _piece(receive: Receive) -> tuple[bytes, bool]:
    """What has arrived, and whether more will."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


async def _chunks(receive: Receive, bytes_max: int, first: bytes = b"") -> AsyncGenerator[bytes, None]:
    """The pieces after `first`, and that itself, until one too many has come."""
    piece, size, more = first, 0, True
    while True:
        size += len(piece)
        if size > bytes_max:
            raise _too_large(bytes_max)
        if piece:
            yield piece
        if not more:
            return
        piece, more = await _piece(receive)


async def _form_files(
    headers: Headers, chunks: AsyncGenerator[bytes, None], bytes_max: int, files_max: int
) -> list[bytes]:
    parser = MultiPartParser(headers, chunks, max_files=files_max, max_fields=_FORM_FIELDS_MAX)
    parser.spool_max_size = bytes_max  # the body is bounded already: no temporary file, no thread to write it
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidRequest(f"The form cannot be read: {error.message}") from None
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if not files:
            wanted = "exactly one file" if files_max == 1 else "at least one file"
            raise InvalidRequest(f"A form needs {wanted}; this one has none.")
        return [await file.read() for file in files]
    finally:
        await form.close()


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(f"The body is larger than the limit of {bytes_max} bytes.")
