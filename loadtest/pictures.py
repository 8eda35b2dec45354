"""Make the 4K pictures that the image workloads send: `python -m loadtest.pictures FILE.jpg ...`, one board a file."""

import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from training.boards import make_board
from training.seeds import EVALUATION_START

FIRST_SEED = EVALUATION_START + 900_000
"""Boards that neither training nor evaluation draws."""
JPEG_QUALITY = 90


def main(paths: Sequence[str]) -> None:
    """Draw board number `n` into the n-th path; a file that is there is whole."""
    for number, path in enumerate(map(Path, paths)):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        Image.fromarray(make_board(FIRST_SEED + number).pixels).save(partial, "JPEG", quality=JPEG_QUALITY)
        partial.replace(path)


if __name__ == "__main__":
    main(sys.argv[1:])
