"""The pictures of a run: boards that neither training nor evaluation draws, as JPEG and as BMP, made on every core."""

import io
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

from inference_core.cpu import usable_cores
from PIL import Image
from training.boards import make_board

from loadtest.pictures import FIRST_SEED, JPEG_QUALITY


def make_pictures(folder: Path, count: int, picture_px: tuple[int, int]) -> str:
    """Draw `count` boards of `picture_px` (width, height) into `folder`; says in words what one is."""
    for old in folder.glob("board-*"):
        old.unlink()
    with ProcessPoolExecutor(min(usable_cores(), count)) as pool:
        sizes = list(pool.map(_make, repeat(folder), range(count), repeat(picture_px)))
    width, height = picture_px
    mean_mb = sum(sizes) / len(sizes) / 1e6
    return f"generated boards, grey, {width} x {height} px, JPEG of {mean_mb:.1f} MB on average, {count} of them"


def _make(folder: Path, number: int, picture_px: tuple[int, int]) -> int:
    """One board in both forms; returns the bytes of its JPEG."""
    image = Image.fromarray(make_board(FIRST_SEED + number, *picture_px).pixels)
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=JPEG_QUALITY)
    (folder / f"board-{number:02d}.jpg").write_bytes(jpeg.getvalue())
    image.save(folder / f"board-{number:02d}.bmp")
    return len(jpeg.getvalue())
