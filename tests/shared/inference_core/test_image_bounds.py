"""Pictures built to cost far more than their pixels are refused before they are decoded."""

import struct
import time
import zlib

import numpy as np
import pytest
from inference_core import image_bounds, images
from inference_core.errors import TooLarge, UnreadableImage, UnsupportedMedia
from PIL import Image

from tests.models import encoded

SIDE = 64


def grey(side: int = SIDE) -> Image.Image:
    return Image.fromarray(np.tile(np.linspace(0, 255, side).astype(np.uint8), (side, 1)))


def decoded(body: bytes) -> images.Picture:
    return images.decode(body, colour="grey", scale=1.0, pixels_max=1_000_000, side_max=2000)


def progressive(scans: int, side: int = SIDE, between: bytes = b"") -> bytes:
    """A JPEG whose last scan is repeated until there are `scans` of them."""
    body = encoded(Image.new("L", (side, side), 100), "JPEG", progressive=True)
    last = body[body.rindex(b"\xff\xda") : -2]
    return body[:-2] + (between + last) * (scans - body.count(b"\xff\xda")) + b"\xff\xd9"


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def chunky(chunks: int) -> bytes:
    """A PNG of so many chunks, all but three of them empty."""
    sound = encoded(grey())
    return sound[:33] + chunk(b"teSt") * (chunks - 3) + sound[33:]


def tiff(order: str, values: int) -> bytes:
    """A TIFF whose strip offsets are so many numbers."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    tags = [(256, 4, 1, 1), (257, 4, 1, values), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, values, 200), (278, 4, 1, 1)]
    directory = struct.pack(order + "H", len(tags)) + b"".join(struct.pack(order + "HHII", *tag) for tag in tags)
    return (mark + struct.pack(order + "I", 8) + directory).ljust(200, b"\0") + bytes(4 * values)


def test_a_progressive_jpeg_of_the_most_scans_is_read_and_one_more_is_refused() -> None:
    assert decoded(progressive(image_bounds.SCANS_MAX)).width == SIDE
    with pytest.raises(TooLarge, match="100 scans"):
        decoded(progressive(image_bounds.SCANS_MAX + 1))


@pytest.mark.parametrize("between", [b"\xff\x01", b"\xff\xff\xff", b"\xff\xfe\x00\x04\xff\xd9"])
def test_no_marker_between_the_scans_hides_them(between: bytes) -> None:
    with pytest.raises(TooLarge, match="100 scans"):
        decoded(progressive(image_bounds.SCANS_MAX + 20, between=between))


def test_a_film_behind_a_photograph_counts_for_nothing() -> None:
    assert decoded(encoded(grey(), "JPEG") + b"\xff\xda" * 5000).width == SIDE


def test_markers_in_metadata_count_for_nothing() -> None:
    sound = encoded(grey(), "JPEG")
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 2000) + b"\xff\xda" * 1000
    assert decoded(sound[:2] + comment + sound[2:]).width == SIDE


def test_the_refusal_of_a_scan_bomb_costs_a_fraction_of_its_decoding() -> None:
    # The bound's worth of scans stands for the bomb, which would take as much again for each hundred.
    body = progressive(image_bounds.SCANS_MAX, side=900)
    started = time.process_time()
    decoded(body)
    served_s = time.process_time() - started
    bomb = progressive(image_bounds.SCANS_MAX * 20, side=900)
    started = time.process_time()
    with pytest.raises(TooLarge):
        decoded(bomb)
    assert time.process_time() - started < served_s / 10


def test_a_png_of_the_most_chunks_is_read_and_one_more_is_refused() -> None:
    assert decoded(chunky(image_bounds.CHUNKS_MAX)).width == SIDE
    with pytest.raises(TooLarge, match="20000 chunks"):
        decoded(chunky(image_bounds.CHUNKS_MAX + 1))


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_tag_of_too_many_numbers_is_refused(order: str) -> None:
    image_bounds.check(tiff(order, image_bounds.TAG_VALUES_MAX))
    with pytest.raises(TooLarge, match="100000 values"):
        image_bounds.check(tiff(order, image_bounds.TAG_VALUES_MAX + 1))


def test_a_big_tiff_of_too_many_tags_is_refused() -> None:
    head = b"II+\0" + struct.pack("<HHQ", 8, 0, 16)
    with pytest.raises(TooLarge, match="100000 values"):
        image_bounds.check(head + struct.pack("<Q", 1 << 40) + bytes(20) * (image_bounds.TAG_VALUES_MAX + 1))


def test_a_run_length_bmp_is_refused_by_its_header() -> None:
    body = bytearray(encoded(grey(), "BMP"))
    body[30] = 1
    with pytest.raises(UnsupportedMedia, match="run-length"):
        decoded(bytes(body))


def test_a_picture_of_floats_is_refused_for_it_has_no_white() -> None:
    with pytest.raises(UnsupportedMedia, match="floating-point"):
        decoded(encoded(Image.new("F", (8, 8), 0.5), "TIFF"))


@pytest.mark.parametrize(("width", "height", "good"), [(2000, 4, True), (2001, 4, False), (4, 2001, False)])
def test_a_side_over_the_limit_is_refused(width: int, height: int, good: bool) -> None:
    body = encoded(Image.new("L", (width, height)))
    if good:
        assert decoded(body).width == width
    else:
        with pytest.raises(TooLarge, match="limit of a side is 2000 pixels"):
            decoded(body)


@pytest.mark.parametrize("start", [b"\xff\xd8", b"\x89PNG", b"II*\0", b"MM\0*", b"II+\0", b"BM"])
@pytest.mark.parametrize("rest", [b"", b"\xff" * 50, bytes(50), b"\xff\xda" * 500])
def test_damaged_structures_are_left_to_the_decoder(start: bytes, rest: bytes) -> None:
    with pytest.raises((UnsupportedMedia, UnreadableImage, TooLarge)):
        decoded(start + rest)
