"""Pictures whose decoding would cost far more than their pixels: found in the file's own structure, before Pillow
opens it. Each bound is far above what cameras, scanners and editors write.
"""

import re
import struct
from collections.abc import Iterator

from inference_core.errors import TooLarge, UnsupportedMedia

SCANS_MAX = 100
"""Of a progressive JPEG (usual: 10). Each passes over all pixels: 270 KB of them kept a core busy for 8 s."""
CHUNKS_MAX = 20_000
"""Of a PNG (usual: one in 8 KB). Pillow takes 3 us and 90 bytes of memory for each, however small."""
TAG_VALUES_MAX = 100_000
"""Numbers in one TIFF tag (usual: one a strip of rows). Each becomes a Python object, and an entry of a list."""

_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)
_SCAN, _END = 0xDA, 0xD9
_WITHOUT_LENGTH = (0x01, 0xD8)
_BMP_COMPRESSION_AT = 30
_BMP_RUN_LENGTH = (b"\x01\0\0\0", b"\x02\0\0\0")
_TIFF_BYTE_TYPES = (1, 2, 6, 7)
"""Values of one byte, kept as a text of bytes, not as a list (TIFF 6.0, page 15)."""


def check(body: bytes) -> None:
    """Raise TooLarge for a picture past one of the bounds, UnsupportedMedia for a run-length BMP (Pillow decodes it
    in Python, a microsecond a run). What is no picture, or a damaged one, is left to the decoder.
    """
    if body.startswith(b"\xff\xd8"):
        _check_count("scans", _jpeg_scans(body), SCANS_MAX)
    elif body.startswith(b"\x89PNG"):
        _check_count("chunks", _png_chunks(body), CHUNKS_MAX)
    elif body.startswith((b"II", b"MM")):
        _check_count("values in one tag", _tiff_values(body), TAG_VALUES_MAX)
    elif body.startswith(b"BM") and body[_BMP_COMPRESSION_AT : _BMP_COMPRESSION_AT + 4] in _BMP_RUN_LENGTH:
        raise UnsupportedMedia("A run-length encoded BMP is not read; save it uncompressed or as PNG.")


def _check_count(what: str, count: int, most: int) -> None:
    if count > most:
        raise TooLarge(f"The picture has more than {most} {what}, which is the limit.")


def _jpeg_scans(body: bytes) -> int:
    """Scans up to the end of the picture, or just more than the limit. Marker bytes inside metadata count for nothing:
    motion photographs carry a film.
    """
    if body.count(b"\xff\xda") <= SCANS_MAX:  # as nearly every picture, at a nanosecond a byte
        return 0
    scans, place = 0, 2
    while scans <= SCANS_MAX and (found := _MARKER.search(body, place)):
        marker, place = found.group(1)[0], found.end()
        if marker == _END:
            break
        scans += marker == _SCAN
        if marker not in _WITHOUT_LENGTH:
            place += int.from_bytes(body[place : place + 2], "big")
    return scans


def _png_chunks(body: bytes) -> int:
    """Chunks as their lengths chain them, or just more than the limit."""
    chunks, place = 0, 8
    while place + 12 <= len(body) and chunks <= CHUNKS_MAX:
        place += 12 + int.from_bytes(body[place : place + 4], "big")
        chunks += 1
    return chunks


def _tiff_values(body: bytes) -> int:
    """The most numbers in one tag of the first directory."""
    return max(_tiff_counts(body), default=0)


def _tiff_counts(body: bytes) -> Iterator[int]:
    order = "<" if body.startswith(b"II") else ">"
    is_big = body[2:4] in (b"+\x00", b"\x00+")
    head, entry = ("QQ", "HHQQ") if is_big else ("IH", "HHII")
    try:
        (place,) = struct.unpack_from(order + head[0], body, 8 if is_big else 4)
        (tags,) = struct.unpack_from(order + head[1], body, place)
        place += struct.calcsize(order + head[1])
        for number in range(min(tags, TAG_VALUES_MAX)):
            _, kind, count, _ = struct.unpack_from(order + entry, body, place + number * struct.calcsize(order + entry))
            if kind not in _TIFF_BYTE_TYPES:
                yield count
        yield tags
    except (struct.error, OverflowError):
        return
