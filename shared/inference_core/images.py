"""The one file that decodes pictures (Pillow): limits before work, DCT scaling, EXIF orientation."""

import io
import warnings
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from inference_core import image_bounds
from inference_core.errors import TooLarge, UnreadableImage, UnsupportedMedia

Pixels = NDArray[np.uint8]
Colour = Literal["grey", "rgb", "bgr"]
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation (Exif 2.32, tag 0x0112); 1 is upright."""
_SIDEWAYS = (5, 6, 7, 8)
# Our own limit is checked from the header, before Pillow decodes; its warning would say it a second time.
Image.MAX_IMAGE_PIXELS = None
# Odd metadata in a sound picture is no news; a damaged picture is refused by an exception.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture: `pixels` uint8 [height, width, channels] at the scale asked for; `width` and `height` are
    those of the whole picture as a person sees it (EXIF applied), in pixels.
    """

    pixels: Pixels
    width: int
    height: int


class Decode(Protocol):
    """`decode`, or what takes its place."""

    def __call__(self, body: bytes, *, colour: Colour, scale: float, pixels_max: int, side_max: int) -> Picture:
        """The picture in `body`; see `decode`."""
        ...


def decode(body: bytes, *, colour: Colour, scale: float, pixels_max: int, side_max: int) -> Picture:
    """Decode `body` with its sides times `scale` (0 < scale <= 1).

    Raises UnsupportedMedia for what is no picture we read, TooLarge past `pixels_max`, `side_max` or a bound of
    image_bounds.py (known from the header, nothing is decoded), UnreadableImage for a damaged or truncated picture.
    """
    image = _opened(body, pixels_max, side_max)
    width, height = image.size
    target = scaled(width, height, scale)
    orientation, image = _read(image, "L" if colour == "grey" else "RGB", target)
    pixels = _upright(_shrunk(image, target), orientation, colour)
    if orientation in _SIDEWAYS:
        width, height = height, width
    return Picture(pixels, width, height)


def blank_jpeg() -> bytes:
    """A grey JPEG of 16 x 16 px, to try a decoder on."""
    file = io.BytesIO()
    Image.new("L", (16, 16), "white").save(file, "JPEG")
    return file.getvalue()


def scaled(width: int, height: int, scale: float) -> tuple[int, int]:
    """The sides in pixels to which `decode` brings a picture of `width` x `height`."""
    return max(1, round(width * scale)), max(1, round(height * scale))


def check(body: bytes, *, pixels_max: int, side_max: int) -> tuple[int, int]:
    """Width and height of the picture as it is stored, in pixels. Raises what `decode` would as far as the header
    tells; nothing is decoded.
    """
    return _opened(body, pixels_max, side_max).size


def _opened(body: bytes, pixels_max: int, side_max: int) -> Image.Image:
    image_bounds.check(body)
    image = _open(body)
    width, height = image.size
    if width * height > pixels_max:
        raise TooLarge(f"The picture has {width} x {height} pixels; the limit is {pixels_max} pixels.")
    if max(width, height) > side_max:
        raise TooLarge(f"The picture has {width} x {height} pixels; the limit of a side is {side_max} pixels.")
    return image


def _open(body: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(body), formats=FORMATS)
    except UnidentifiedImageError:
        raise UnsupportedMedia(f"The body is no picture of a kind read here ({', '.join(FORMATS)}).") from None
    except Exception as error:  # Pillow raises a dozen unrelated classes on damaged input
        raise _unreadable(error) from None


def _read(image: Image.Image, mode: str, target: tuple[int, int]) -> tuple[int, Image.Image]:
    """The EXIF orientation, and the picture decoded in `mode`. A JPEG is decoded straight to the nearest 1/2, 1/4 or
    1/8 above `target` and, for grey, without its colour planes (libjpeg's scaled DCT).
    """
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
        image.draft(mode, target)
        image.load()
    except Exception as error:  # as above
        raise _unreadable(error) from None
    if image.mode == "F":
        raise UnsupportedMedia("A picture of floating-point numbers does not say what is white; send 8 or 16 bits.")
    image = _on_white(_eight_bits(image))
    return orientation, image if image.mode == mode else image.convert(mode)


def _unreadable(error: Exception) -> UnreadableImage:
    # What else Pillow raises (TypeError, struct.error) tells a caller nothing.
    reason = f": {error}" if isinstance(error, OSError | ValueError | SyntaxError) else ""
    return UnreadableImage(f"The picture is damaged or cut short{reason}.")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16 bits are scaled to 8; Pillow's own conversion would clip everything above 255 to white."""
    if image.mode in ("I;16", "I;16B", "I;16L"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "I":
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    return image


def _on_white(image: Image.Image) -> Image.Image:
    """Without its transparency. One canvas of three colours and a mask: half the memory of Pillow's own compositing."""
    if not image.has_transparency_data:
        return image
    image = image if image.mode == "RGBA" else image.convert("RGBA")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas


def _shrunk(image: Image.Image, target: tuple[int, int]) -> Image.Image:
    """Resampled to `target` by area, which keeps small objects: bilinear from the full size differs from area by
    8 grey levels on average, scaled decoding followed by area by 2 (two-core AMD EPYC, 2026-11).
    """
    if image.size == target:
        return image
    return image.resize(target, Image.Resampling.BOX)


def shrink(pixels: Pixels, factor: float) -> Pixels:
    """`pixels` uint8 [H, W, C] with sides divided by `factor` >= 1, resampled by area. What is left over at the right
    and the bottom, less than one new pixel, is dropped, so that the factor is exact.
    """
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    size = max(1, int(image.width / factor)), max(1, int(image.height / factor))
    if factor == int(factor) and min(image.size) >= factor:
        # The same means, up to rounding, in a third of the time of a resize (4K to 640 px, two-core AMD EPYC, 2026-11).
        reduced = image.reduce(int(factor), (0, 0, size[0] * int(factor), size[1] * int(factor)))
        return np.asarray(reduced).reshape(size[1], size[0], -1)
    box = (0, 0, min(image.width, size[0] * factor), min(image.height, size[1] * factor))
    shrunk: Pixels = np.asarray(image.resize(size, Image.Resampling.BOX, box)).reshape(size[1], size[0], -1)
    return shrunk


def _upright(image: Image.Image, orientation: int, colour: Colour) -> Pixels:
    turn = _UPRIGHT.get(orientation)
    pixels = np.asarray(image if turn is None else image.transpose(turn))
    if colour == "grey":
        return pixels[:, :, np.newaxis]
    return pixels if colour == "rgb" else pixels[:, :, ::-1]
