"""Pictures decoded by nvImageCodec are those that libjpeg gives, and what it does not do goes to libjpeg."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_api.engines import Engines
from gpu_api.jpeg import JpegDecoder
from inference_core import images
from inference_core.errors import ProviderError, SettingsError, TooLarge, UnreadableImage, UnsupportedMedia
from inference_core.images import Colour
from inference_core.settings import GpuSettings, Settings
from inference_http.service import builders
from PIL import Image

from tests.conftest import PROJECT
from tests.models import encoded

GOLDEN = PROJECT / "shared" / "models" / "board-defects-n" / "golden.jpg"
LIMITS = {"pixels_max": 1_000_000, "side_max": 5_000}


@pytest.fixture(scope="module")
def decoder() -> JpegDecoder:
    pytest.importorskip("nvidia.nvimgcodec", reason="needs the requirements gpu-decode")
    return JpegDecoder(None)


def coloured(**options: Any) -> bytes:
    noise = np.random.default_rng(5).integers(0, 256, (15, 20, 3), np.uint8)
    return encoded(Image.fromarray(noise).resize((400, 300), Image.Resampling.BICUBIC), "JPEG", quality=90, **options)


def sideways() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return coloured(exif=exif)


@pytest.mark.parametrize("colour", ["grey", "rgb", "bgr"])
@pytest.mark.parametrize(
    "body",
    [GOLDEN.read_bytes(), coloured(), coloured(progressive=True), coloured(subsampling=0), sideways()],
    ids=["grey", "colour", "progressive", "4:4:4", "sideways"],
)
def test_the_picture_is_the_one_that_libjpeg_gives(decoder: JpegDecoder, body: bytes, colour: Colour) -> None:
    wanted = images.decode(body, colour=colour, scale=1.0, **LIMITS)
    found = decoder(body, colour=colour, scale=1.0, **LIMITS)
    assert (found.width, found.height, found.pixels.shape) == (wanted.width, wanted.height, wanted.pixels.shape)
    difference = np.abs(found.pixels.astype(int) - wanted.pixels)
    assert difference.max() <= 8
    assert difference.mean() <= 1


@pytest.mark.parametrize(
    "body",
    [
        encoded(Image.new("L", (64, 48), "white"), "PNG"),
        encoded(Image.new("CMYK", (64, 48), "white"), "JPEG"),
        encoded(Image.new("RGB", (64, 48), "red"), "JPEG", keep_rgb=True),
    ],
    ids=["png", "cmyk", "rgb planes"],
)
def test_what_it_does_not_know_is_decoded_as_before(decoder: JpegDecoder, body: bytes) -> None:
    wanted = images.decode(body, colour="rgb", scale=1.0, **LIMITS)
    found = decoder(body, colour="rgb", scale=1.0, **LIMITS)
    assert np.array_equal(found.pixels, wanted.pixels)


def test_a_picture_that_is_shrunk_is_left_to_libjpeg(decoder: JpegDecoder) -> None:
    wanted = images.decode(GOLDEN.read_bytes(), colour="grey", scale=0.4, **LIMITS)
    found = decoder(GOLDEN.read_bytes(), colour="grey", scale=0.4, **LIMITS)
    assert np.array_equal(found.pixels, wanted.pixels)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (GOLDEN.read_bytes()[:3000], UnreadableImage),
        (b"\xff\xd8no jpeg", UnsupportedMedia),
        (b"no picture", UnsupportedMedia),
        (encoded(Image.new("L", (6000, 10)), "JPEG"), TooLarge),
    ],
)
def test_what_cannot_be_read_is_refused_as_on_every_tier(
    decoder: JpegDecoder, body: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        images.decode(body, colour="grey", scale=1.0, **LIMITS)
    with pytest.raises(error):
        decoder(body, colour="grey", scale=1.0, **LIMITS)


def test_without_the_package_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", None)
    monkeypatch.setitem(sys.modules, "nvidia", None)
    with pytest.raises(ProviderError, match="requirements `gpu-decode`"):
        JpegDecoder(0)


def test_a_stand_in_refuses_the_setting(models_dir: Path) -> None:
    settings = Settings(models_dir=models_dir)
    engines = Engines(GpuSettings(gpu_decode=True), lost=lambda _: None)
    with pytest.raises(SettingsError, match="INFERENCE_GPU_DECODE=1 needs a GPU"):
        engines.builders(settings, "cpu", builders(settings, "cpu"))
