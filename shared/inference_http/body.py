"""The body of a request as the caller meant it: raw bytes, or the one file of a form; never more than the limit."""

from collections.abc import AsyncGenerator, Mapping

from inference_core.errors import InvalidRequest, TooLarge, UnsupportedMedia
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Receive, Scope

from inference_http.problems import ClientGone

_FORM = b"multipart/form-data"
_FORM_FIELDS_MAX = 20


def content_length(headers: Mapping[bytes, bytes]) -> int | None:
    """The body's size in bytes as announced, None where it is not."""
    text = headers.get(b"content-length", b"")
    return int(text) if text.isdigit() else None


async def read_body(scope: Scope, receive: Receive, headers: Mapping[bytes, bytes], *, bytes_max: int) -> bytes:
    """The body, whatever its Content-Type says; of a multipart form, its file.

    Raises TooLarge before or while reading, UnsupportedMedia for a compressed body, InvalidRequest for a form
    without exactly one file, ClientGone when the client leaves.
    """
    if (content_length(headers) or 0) > bytes_max:
        raise _too_large(bytes_max)
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise UnsupportedMedia("The body is compressed (Content-Encoding); send it as it is.")
    chunks = _chunks(receive, bytes_max)
    if headers.get(b"content-type", b"")[: len(_FORM)].lower() == _FORM:
        return await _form_file(Headers(scope=scope), chunks, bytes_max)
    return b"".join([chunk async for chunk in chunks])


async def until_gone(receive: Receive) -> None:
    """Return when the client has left. For after the whole body was read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _chunks(receive: Receive, bytes_max: int) -> AsyncGenerator[bytes, None]:
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(chunk)
        if size > bytes_max:
            raise _too_large(bytes_max)
        if chunk:
            yield chunk


async def _form_file(headers: Headers, chunks: AsyncGenerator[bytes, None], bytes_max: int) -> bytes:
    parser = MultiPartParser(headers, chunks, max_files=1, max_fields=_FORM_FIELDS_MAX)
    parser.spool_max_size = bytes_max  # the body is bounded already: no temporary file, no thread to write it
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidRequest(f"The form cannot be read: {error.message}") from None
    try:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise InvalidRequest(f"A form needs exactly one file; this one has {len(files)}.")
        return await files[0].read()
    finally:
        await form.close()


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(f"The body is larger than the limit of {bytes_max} bytes.")
