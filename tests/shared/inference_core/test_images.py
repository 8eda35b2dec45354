"""Pictures of every usual kind come out right; others are refused before they cost anything."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from inference_core import images
from inference_core.errors import TooLarge, UnreadableImage, UnsupportedMedia
from PIL import Image

from tests.models import encoded

WIDTH, HEIGHT = 96, 64
LIMIT = 1_000_000
SIDE = 20_000


def gradient() -> Image.Image:
    """Grey, brightest at the right and a little at the bottom, so that every turn and flip is told apart."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return Image.fromarray((x * 2 + y * 0.5).astype(np.uint8))


def decoded(body: bytes, colour: images.Colour = "grey", scale: float = 1.0) -> images.Picture:
    return images.decode(body, colour=colour, scale=scale, pixels_max=LIMIT, side_max=SIDE)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_lossless_pictures_come_out_exactly(kind: str) -> None:
    picture = decoded(encoded(gradient(), kind))
    assert (picture.width, picture.height) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(picture.pixels[:, :, 0], np.asarray(gradient()))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_pictures_come_out_nearly(kind: str) -> None:
    picture = decoded(encoded(gradient(), kind, quality=95))
    assert np.abs(picture.pixels[:, :, 0].astype(int) - np.asarray(gradient())).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_every_exif_orientation_is_turned_upright(orientation: int, scale: float) -> None:
    undo = images._UPRIGHT.get(orientation)
    turns = Image.Transpose
    inverse = {turns.ROTATE_90: turns.ROTATE_270, turns.ROTATE_270: turns.ROTATE_90}
    stored = gradient() if undo is None else gradient().transpose(inverse.get(undo, undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decoded(encoded(stored, "JPEG", quality=95, exif=exif), scale=scale)
    assert (picture.width, picture.height) == (WIDTH, HEIGHT)
    upright = gradient().resize((round(WIDTH * scale), round(HEIGHT * scale)), Image.Resampling.BOX)
    assert picture.pixels.shape[:2] == (upright.height, upright.width)
    assert np.abs(picture.pixels[:, :, 0].astype(int) - np.asarray(upright)).mean() < 3


def test_orientation_6_shows_the_stored_left_column_on_top() -> None:
    """Exif 2.32: value 6, row 0 is the visual right side, column 0 the visual top."""
    stored = np.zeros((HEIGHT, WIDTH), np.uint8)
    stored[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = decoded(encoded(Image.fromarray(stored), "JPEG", quality=95, exif=exif))
    assert picture.pixels.shape[:2] == (WIDTH, HEIGHT)
    assert picture.pixels[:12].mean() > 250
    assert picture.pixels[20:].mean() < 5


@pytest.mark.parametrize(("colour", "expected"), [("rgb", (200, 100, 50)), ("bgr", (50, 100, 200)), ("grey", (124,))])
def test_colours_come_in_the_order_wanted(colour: images.Colour, expected: tuple[int, ...]) -> None:
    body = encoded(Image.new("RGB", (8, 8), (200, 100, 50)))
    assert tuple(decoded(body, colour).pixels[0, 0].tolist()) == expected


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_every_pixel_mode_of_png_is_read(mode: str) -> None:
    white = Image.new("I;16", (8, 8), 65535) if mode == "I;16" else Image.new("RGB", (8, 8), "white").convert(mode)
    assert decoded(encoded(white), "rgb").pixels.min() >= 254


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    half = Image.fromarray(np.full((8, 8), 32768, np.uint16))
    assert decoded(encoded(half)).pixels[0, 0, 0] == 128


def test_cmyk_jpeg_is_read() -> None:
    body = encoded(Image.new("RGB", (16, 16), "white").convert("CMYK"), "JPEG")
    assert decoded(body, "rgb").pixels.min() > 250


def test_transparency_is_laid_on_white() -> None:
    assert decoded(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0)))).pixels.min() == 255


def test_an_animation_gives_its_first_frame() -> None:
    first, second = Image.new("L", (8, 8), 255), Image.new("L", (8, 8), 0)
    body = encoded(first, "WEBP", save_all=True, append_images=[second], lossless=True)
    assert decoded(body).pixels.min() > 250


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.3, 0.25, 0.1])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_scaled_picture_has_the_scaled_sides_and_the_whole_size(kind: str, scale: float) -> None:
    picture = decoded(encoded(gradient(), kind), scale=scale)
    assert picture.pixels.shape == (round(HEIGHT * scale), round(WIDTH * scale), 1)
    assert (picture.width, picture.height) == (WIDTH, HEIGHT)


def test_a_check_tells_the_stored_size_and_refuses_as_decoding_does() -> None:
    assert images.check(encoded(gradient()), pixels_max=LIMIT, side_max=SIDE) == (WIDTH, HEIGHT)
    for body in (b"no picture", png_header(20_000, 14_000)):
        with pytest.raises((UnsupportedMedia, TooLarge)):
            images.check(body, pixels_max=LIMIT, side_max=SIDE)


def test_a_bomb_is_refused_from_its_header() -> None:
    """A PNG that declares 280 megapixels is refused without decoding one of them."""
    started = time.process_time()
    with pytest.raises(TooLarge, match="20000 x 14000 pixels; the limit is 1000000"):
        decoded(png_header(20_000, 14_000))
    assert time.process_time() - started < 1


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("body", [b"", b"no picture", b"%PDF-1.4", b"GIF89a" + bytes(20), b"\xff\xd8"])
def test_what_is_no_picture_is_refused(body: bytes) -> None:
    with pytest.raises((UnsupportedMedia, UnreadableImage)):
        decoded(body)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_picture_cut_short_is_refused_not_half_read(kind: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH), np.uint8))
    body = encoded(noise, kind)
    with pytest.raises((UnreadableImage, UnsupportedMedia)):
        decoded(body[: int(len(body) * share)])


def test_random_damage_never_raises_anything_else() -> None:
    rng = np.random.default_rng(2)
    sound = [encoded(gradient(), kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP")]
    for attempt in range(600):
        body = bytearray(sound[attempt % len(sound)])
        for place in rng.integers(0, len(body), rng.integers(1, 12)):
            body[place] = rng.integers(0, 256)
        try:
            decoded(bytes(body))
        except (UnreadableImage, UnsupportedMedia, TooLarge):
            continue


def test_nothing_is_printed_about_a_damaged_picture(capfd: pytest.CaptureFixture[str]) -> None:
    body = encoded(gradient(), "JPEG")
    with pytest.raises(UnreadableImage):
        decoded(body[: len(body) // 2])
    assert capfd.readouterr() == ("", "")
    assert io.BytesIO(body).read(2) == b"\xff\xd8"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("width", "height", "factor"),
    [(384, 192, 6.0), (100, 333, 5.2), (1000, 999, 15.625), (1003, 999, 5.0)],
)
def test_pixels_are_shrunk_by_area_and_by_the_factor_exactly(
    width: int, height: int, factor: float, channels: int
) -> None:
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.repeat((x / width * 150 + y / height * 90).astype(np.uint8)[:, :, None], channels, axis=2)
    shrunk = images.shrink(pixels, factor)
    assert shrunk.shape == (int(height / factor), int(width / factor), channels)
    rows, columns = (np.arange(side) + 0.5 for side in shrunk.shape[:2])
    expected = columns[None, :] * factor / width * 150 + rows[:, None] * factor / height * 90
    assert np.abs(shrunk.astype(float) - expected[:, :, None]).max() <= 3
