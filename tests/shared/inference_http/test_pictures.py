"""Odd, damaged and hostile pictures through the real service: the right answer or a clear 4xx, never more memory than
stated.
"""

import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.entry import Tier, started
from tests.models import detection_model, encoded, squares_picture
from tests.shared.inference_core.test_image_bounds import chunk, progressive

DETECT = "/v1/models/squares-n/predict"
SQUARE = (16, 32)
BOX = [16, 32, 32, 48]
BYTES_A_PIXEL = 24
"""What decoding may take at most beside the body (README.md of shared/inference_http): the worst measured is an
animated WebP, 16; the rest is room for the allocator."""


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    folder = tmp_path_factory.mktemp("pictures")
    detection_model(folder / "models")
    settings: dict[str, str | Path] = {"INFERENCE_MODELS_DIR": folder / "models", "INFERENCE_THREADS": "1"}
    with started("image_api.main", folder / "log", settings) as running:
        yield running


@pytest.fixture
def client(tier: Tier) -> httpx.Client:
    return tier.client


def grey() -> Image.Image:
    return Image.open(io.BytesIO(squares_picture(64, 64, [SQUARE])))


def deep_grey() -> Image.Image:
    return Image.fromarray(np.asarray(grey()).astype(np.uint16) * 257)


def palette() -> Image.Image:
    image = Image.fromarray(np.asarray(grey()) // 255)
    image.putpalette([0, 0, 0, 255, 255, 255] + [0] * 750)
    return image


def interlaced() -> bytes:
    """Adam7: the rows of each of the seven passes, one after another."""
    pixels = np.asarray(grey())
    starts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = [b"\0" + row.tobytes() for y, x, down, right in starts for row in pixels[y::down, x::right]]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 1))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")


def oriented(orientation: int) -> bytes:
    """The picture as a camera stores it that was held so that `orientation` makes it upright."""
    turns = Image.Transpose
    stored = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_90,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_270,
    }
    image = grey() if orientation == 1 else grey().transpose(stored[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, "JPEG", quality=95, exif=exif)


def after_header(body: bytes, *chunks: bytes) -> bytes:
    return body[:33] + b"".join(chunks) + body[33:]


def multi_page() -> bytes:
    return encoded(grey(), "TIFF", save_all=True, append_images=[Image.new("L", (9, 9))] * 20)


def animation(kind: str) -> bytes:
    return encoded(grey(), kind, save_all=True, append_images=[Image.new("L", (64, 64))] * 3, duration=50)


READ: dict[str, bytes] = {
    "jpeg": encoded(grey(), "JPEG", quality=95),
    "progressive jpeg": encoded(grey(), "JPEG", quality=95, progressive=True),
    "cmyk jpeg": encoded(grey().convert("CMYK"), "JPEG", quality=95),
    "multi-picture jpeg": encoded(grey(), "MPO", save_all=True, append_images=[Image.new("L", (64, 64))], quality=95),
    "jpeg with a film behind": encoded(grey(), "JPEG", quality=95) + b"\0\0\0\x18ftypmp42" + b"\xff\xda" * 3000,
    "jpeg with a large profile": encoded(grey(), "JPEG", quality=95, icc_profile=bytes(3_000_000)),
    "jpeg with a large comment": encoded(grey(), "JPEG", quality=95, comment=b"x" * 60_000),
    "png": encoded(grey()),
    "16-bit png": encoded(deep_grey()),
    "1-bit png": encoded(grey().convert("1")),
    "palette png": encoded(palette()),
    "palette png with transparency": encoded(palette(), transparency=7),
    "rgba png": encoded(grey().convert("RGBA")),
    "grey and alpha png": encoded(grey().convert("LA")),
    "interlaced png": interlaced(),
    "animated png": animation("PNG"),
    "png with a large unknown chunk": after_header(encoded(grey()), chunk(b"teSt", bytes(5_000_000))),
    "png with exif": encoded(grey(), exif=Image.Exif().tobytes()),
    "webp": encoded(grey(), "WEBP", lossless=True),
    "animated webp": animation("WEBP"),
    "tiff": encoded(grey(), "TIFF"),
    "16-bit tiff": encoded(deep_grey(), "TIFF"),
    "lzw tiff": encoded(grey(), "TIFF", compression="tiff_lzw"),
    "deflate tiff": encoded(grey(), "TIFF", compression="tiff_adobe_deflate"),
    "packbits tiff": encoded(grey(), "TIFF", compression="packbits"),
    "fax tiff": encoded(grey().convert("1"), "TIFF", compression="group4"),
    "tiff of many pages": multi_page(),
    "cmyk tiff": encoded(grey().convert("CMYK"), "TIFF"),
    "bmp": encoded(grey(), "BMP"),
    "mislabelled png": encoded(grey()),
}


@pytest.mark.parametrize("kind", READ)
def test_an_odd_picture_gets_the_right_answer(client: httpx.Client, kind: str) -> None:
    reply = client.post(DETECT, content=READ[kind], headers={"content-type": "image/jpeg"})
    assert reply.status_code == 200, reply.text
    assert reply.json()["image"] == {"width": 64, "height": 64}
    assert [[round(side) for side in found["box"]] for found in reply.json()["detections"]] == [BOX]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_in_the_picture_as_a_person_sees_it(client: httpx.Client, orientation: int) -> None:
    reply = client.post(DETECT, content=oriented(orientation))
    assert [[round(side) for side in found["box"]] for found in reply.json()["detections"]] == [BOX]


def png_of(width: int, height: int, depth: int = 8, *more: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND")


def bomb_of_megapixels() -> bytes:
    """A whole, sound PNG of a megabyte at most that holds 280 megapixels of one grey."""
    deflate = zlib.compressobj(9)
    packed = [deflate.compress(bytes(20_001)) for _ in range(14_000)]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 14_000, 8, 0, 0, 0, 0))
    data = chunk(b"IDAT", b"".join(packed) + deflate.flush())
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND")


def resized(body: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header says another size than its data have."""
    at = body.index(b"\xff\xc0") + 5
    return body[:at] + struct.pack(">HH", height, width) + body[at + 4 :]


def text_bomb(kind: bytes) -> bytes:
    inflated = zlib.compress(bytes(100_000_000), 9)
    text = (b"x\0\1\0\0\0" if kind == b"iTXt" else b"x\0\0") + inflated
    return after_header(encoded(grey()), chunk(kind, text))


def many_texts() -> bytes:
    """Each text below Pillow's limit of one, together a gigabyte."""
    one = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(1_000_000), 9))
    return after_header(encoded(grey()), *[one] * 1000)


def bmp_of_runs() -> bytes:
    body = bytearray(encoded(grey(), "BMP"))
    body[30] = 1
    return bytes(body)


REFUSED: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 415),
    "text": (b"no picture", 415),
    "gif": (encoded(grey(), "GIF"), 415),
    "pdf": (encoded(grey(), "PDF"), 415),
    "280 megapixels in a header": (png_of(20_000, 14_000), 413),
    "280 megapixels in a megabyte": (bomb_of_megapixels(), 413),
    "a strip a pixel high": (png_of(64_000_000, 1), 413),
    "a webp canvas of 268 megapixels": (b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xfe\x3f\0\xfe\x3f\0", 422),
    "thousands of scans": (progressive(3000), 413),
    "a png of small chunks": (after_header(encoded(grey()), chunk(b"teSt") * 30_000), 413),
    "a run-length bmp": (bmp_of_runs(), 415),
    "floats": (encoded(Image.new("F", (64, 64)), "TIFF"), 415),
    "a text that inflates": (text_bomb(b"zTXt"), 422),
    "an international text that inflates": (text_bomb(b"iTXt"), 422),
    "many texts that inflate": (many_texts(), 422),
    "a cut png": (encoded(grey())[:80], 422),
    "a cut jpeg": (encoded(grey(), "JPEG")[:-30], 422),
    "a cut webp": (encoded(grey(), "WEBP", lossless=True)[:-20], 422),
    "a cut tiff": (encoded(grey(), "TIFF")[:-300], 422),
    "a cut bmp": (encoded(grey(), "BMP")[:-30], 422),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_answered_is_a_clear_4xx(client: httpx.Client, kind: str) -> None:
    body, status = REFUSED[kind]
    reply = client.post(DETECT, content=body)
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert "object at 0x" not in reply.text
    assert "/" not in reply.json()["detail"]


def memory_bytes(tier: Tier, name: str) -> int:
    """`VmRSS` or `VmHWM` (the most so far) of the service."""
    lines = Path(f"/proc/{tier.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from /proc")
def test_no_refused_picture_takes_memory(tier: Tier) -> None:
    tier.client.post(DETECT, content=READ["png"])
    for body, status in REFUSED.values():
        before = reset_peak(tier)
        assert tier.client.post(DETECT, content=body).status_code == status
        grown = memory_bytes(tier, "VmHWM") - before
        assert grown < 4 * len(body) + (80 << 20)  # 64 MiB is what Pillow lets texts inflate to


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "JPEG", {}),
        ("RGB", "JPEG", {"progressive": True}),
        ("CMYK", "JPEG", {}),
        ("RGBA", "PNG", {"compress_level": 1}),
        ("LA", "PNG", {"compress_level": 1}),
        ("I;16", "PNG", {"compress_level": 1}),
        ("RGB", "WEBP", {"method": 0}),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_memory_is_bounded_by_the_pixels_of_every_kind(
    tier: Tier, mode: str, kind: str, options: dict[str, Any]
) -> None:
    side = 2000
    noise = Image.effect_noise((side, side), 30)
    deep = Image.fromarray(np.asarray(noise).astype(np.uint16) * 257)
    body = encoded(deep if mode == "I;16" else noise.convert(mode), kind, **options)
    before = reset_peak(tier)
    assert tier.client.post(DETECT, content=body, params={"scale": 0.05}).status_code == 200
    assert memory_bytes(tier, "VmHWM") - before < side * side * BYTES_A_PIXEL + 3 * len(body)


def reset_peak(tier: Tier) -> int:
    """Forget the service's peak; its memory now."""
    Path(f"/proc/{tier.process.pid}/clear_refs").write_text("5")
    return memory_bytes(tier, "VmRSS")


def test_a_gzip_of_zeros_takes_no_more_than_the_limit(tier: Tier) -> None:
    bomb = gzip.compress(bytes(1 << 30), 1)
    before = reset_peak(tier)
    reply = tier.client.post(DETECT, content=bomb, headers={"content-encoding": "gzip"})
    assert reply.status_code == 413
    assert memory_bytes(tier, "VmHWM") - before < (3 * 64 << 20) + 4 * len(bomb)


def test_a_jpeg_that_promises_more_pixels_than_it_has_is_no_fault_of_ours(client: httpx.Client) -> None:
    """Libjpeg fills the rest with grey and says nothing that Pillow passes on: the answer is one of that picture."""
    reply = client.post(DETECT, content=resized(encoded(grey(), "JPEG"), 640, 640))
    assert reply.status_code in {200, 422}


def test_a_picture_carries_no_metadata_out(client: httpx.Client) -> None:
    """What a picture says of itself (place, owner) is neither in the answer nor needed for it."""
    info = PngImagePlugin.PngInfo()
    info.add_text("owner", "a name that must not leave")
    reply = client.post(DETECT, content=encoded(grey(), pnginfo=info))
    assert reply.status_code == 200
    assert "must not leave" not in reply.text + str(reply.headers)
