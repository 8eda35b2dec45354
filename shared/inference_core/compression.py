"""Compressed request bodies, inflated up to a limit: a kilobyte of gzip may hold a gigabyte of zeros."""

import zlib

from inference_core.errors import InvalidRequest, TooLarge, UnsupportedMedia

_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""zlib's names for the two formats that HTTP calls gzip and deflate (RFC 9110, section 8.4.1)."""


def known_encoding(encoding: str) -> str | None:
    """The name of a `Content-Encoding`, None where there is nothing to undo. Raises UnsupportedMedia for any other
    than gzip and deflate.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return None
    if name not in _WINDOW_BITS:
        raise UnsupportedMedia(f"Content-Encoding {encoding!r} is not taken; send gzip, deflate or the body as it is.")
    return name


def inflate(body: bytes, encoding: str, *, bytes_max: int) -> bytes:
    """`body` as it was before `Content-Encoding: encoding`; `identity` and an empty text leave it alone.

    Raises UnsupportedMedia for an encoding other than gzip and deflate, TooLarge past `bytes_max` of inflated bytes
    (no more than that is ever in memory), InvalidRequest for damaged or cut data.
    """
    name = known_encoding(encoding)
    if name is None:
        return body
    inflater = zlib.decompressobj(_WINDOW_BITS[name])
    try:
        inflated = inflater.decompress(body, bytes_max + 1)
    except zlib.error:
        raise InvalidRequest(f"The body is no {name} data.") from None
    if len(inflated) > bytes_max:
        raise TooLarge(f"The inflated body is larger than the limit of {bytes_max} bytes.")
    if not inflater.eof or inflater.unused_data:
        raise InvalidRequest(f"The {name} body is cut short or followed by other data.")
    return inflated
