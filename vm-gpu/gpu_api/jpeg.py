"""JPEG decoding by nvImageCodec, in the place of `images.decode`: a 4K picture takes a core of the CPU several times as
long as a GPU takes for all its tiles.

What the GPU is not asked for goes to `images.decode` as before: other formats, pictures that are shrunk (libjpeg
decodes them straight to a fraction), unusual colours, and whatever nvImageCodec cannot read, so that a damaged picture
gets the same refusal on every tier.
"""

import threading
from typing import Any

import numpy as np
from inference_core import images
from inference_core.errors import ProviderError
from inference_core.images import Colour, Picture

_JPEG = b"\xff\xd8"
_HEAD_BYTES = 65_536
_AS_LIBJPEG = ":fancy_upsampling=1"
"""Colour planes of half the size are interpolated, as libjpeg does it."""


class JpegDecoder:
    """Decodes on the GPU `device_id`, or for tests by nvImageCodec's own CPU code where that is None. Safe to call from
    several threads: each has a decoder of its own.
    """

    def __init__(self, device_id: int | None) -> None:
        """Raises ProviderError where the package is missing or cannot decode a JPEG here."""
        try:
            from nvidia import nvimgcodec  # noqa: PLC0415 - only the requirements `gpu-decode` bring it
        except ImportError as error:
            raise ProviderError(
                f"INFERENCE_GPU_DECODE=1 needs nvImageCodec ({error}); install the requirements `gpu-decode`."
            ) from None
        self._codec: Any = nvimgcodec
        self._device_id = device_id
        self._own = threading.local()
        self._plain = (nvimgcodec.ColorSpec.GRAY, nvimgcodec.ColorSpec.SYCC)
        grey, rgb = nvimgcodec.ColorSpec.GRAY, nvimgcodec.ColorSpec.SRGB
        self._params = {
            colour: nvimgcodec.DecodeParams(apply_exif_orientation=True, color_spec=grey if colour == "grey" else rgb)
            for colour in ("grey", "rgb", "bgr")
        }
        if self._pixels(images.blank_jpeg(), "grey") is None:
            raise ProviderError("INFERENCE_GPU_DECODE=1, but nvImageCodec decodes no JPEG here: is nvJPEG installed?")

    def __call__(self, body: bytes, *, colour: Colour, scale: float, pixels_max: int, side_max: int) -> Picture:
        """As `images.decode`, which also says what it raises."""
        images.check(body, pixels_max=pixels_max, side_max=side_max)
        pixels = self._pixels(body, colour) if self.takes(body, scale) else None
        if pixels is None:
            return images.decode(body, colour=colour, scale=scale, pixels_max=pixels_max, side_max=side_max)
        return Picture(pixels if colour != "bgr" else pixels[:, :, ::-1], pixels.shape[1], pixels.shape[0])

    def takes(self, body: bytes, scale: float) -> bool:
        """Whether `body`, read at `scale`, is tried here, and not left to `images.decode` from the start."""
        return scale == 1.0 and body.startswith(_JPEG)

    def _pixels(self, body: bytes, colour: Colour) -> images.Pixels | None:
        try:
            code = self._codec.CodeStream(body)
        except RuntimeError:  # no header that it can parse
            return None
        # Adobe's marker says which colours the planes are; nvImageCodec takes them all for YCbCr.
        if code.color_spec not in self._plain or b"Adobe" in body[:_HEAD_BYTES]:
            return None
        image = self._decoder().decode(code, params=self._params[colour])
        return None if image is None else np.asarray(image.cpu())

    def _decoder(self) -> Any:
        if not hasattr(self._own, "decoder"):
            codec, on_cpu = self._codec, self._device_id is None
            backends = [codec.Backend(codec.BackendKind.CPU_ONLY)] if on_cpu else None
            self._own.decoder = codec.Decoder(
                device_id=codec.NVIMGCODEC_DEVICE_CPU_ONLY if on_cpu else self._device_id,
                max_num_cpu_threads=1,
                backends=backends,
                options=_AS_LIBJPEG,
            )
        return self._own.decoder
