"""Lettering on boards: a 5 x 7 dot alphabet, kept here so that no font decides the bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROWS = {
    "0": (14, 17, 19, 21, 25, 17, 14),
    "1": (4, 12, 4, 4, 4, 4, 14),
    "2": (14, 17, 1, 2, 4, 8, 31),
    "3": (31, 2, 4, 2, 1, 17, 14),
    "4": (2, 6, 10, 18, 31, 2, 2),
    "5": (31, 16, 30, 1, 1, 17, 14),
    "6": (6, 8, 16, 30, 17, 17, 14),
    "7": (31, 1, 2, 4, 8, 8, 8),
    "8": (14, 17, 17, 14, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 2, 12),
    "C": (14, 17, 16, 16, 16, 17, 14),
    "J": (7, 2, 2, 2, 2, 18, 12),
    "L": (16, 16, 16, 16, 16, 16, 31),
    "R": (30, 17, 17, 30, 20, 18, 17),
    "T": (31, 4, 4, 4, 4, 4, 4),
    "U": (17, 17, 17, 17, 17, 17, 14),
}
_LETTERS = "CJLRTU"


def random_text(rng: np.random.Generator) -> str:
    """A part reference such as `R102`."""
    letter = _LETTERS[int(rng.integers(len(_LETTERS)))]
    return f"{letter}{int(rng.integers(1, 1000))}"


def text_dots(text: str) -> NDArray[np.bool_]:
    """`text` as bool[7, 6 * len(text) - 1], one dot an element."""
    columns: list[NDArray[np.bool_]] = []
    for character in text:
        rows = np.array(_ROWS[character], dtype=np.uint8)[:, None]
        columns.append((rows >> np.arange(4, -1, -1, dtype=np.uint8)) & 1 == 1)
        columns.append(np.zeros((7, 1), dtype=np.bool_))
    return np.concatenate(columns[:-1], axis=1)
