"""One generated board: its picture and its defects, from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.boards.camera import LOOKS, Look, View, choose_view, photograph, sheet_margin
from training.boards.canvas import Canvas
from training.boards.defects import RIM, Defect, add_defects
from training.boards.layout import draw_layout

DEFECTS_PER_MEGAPIXEL = 3.0  # at zoom 1: about 25 on a 4K board


@dataclass(frozen=True)
class Board:
    """A picture and what is wrong on it.

    pixels: uint8[H, W], grey. boxes: float32[K, 4], left, top, right, bottom edges in pixels.
    labels: int64[K], indices into `LABELS`. look: how the camera showed it.
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    look: Look


@dataclass(frozen=True)
class Sheet:
    """A board before the camera: copper without and with its defects, both bool[h, w]."""

    canvas: Canvas
    good: NDArray[np.bool_]
    copper: NDArray[np.bool_]
    defects: list[Defect]
    view: View
    look: Look


def make_sheet(
    rng: np.random.Generator,
    width: int,
    height: int,
    *,
    zoom: float = 1.0,
    look: Look | None = None,
    defect_count: int | None = None,
) -> Sheet:
    """Draw the copper for a picture of `width` x `height` pixels and put its defects in."""
    chosen = LOOKS[int(rng.integers(len(LOOKS)))] if look is None else look
    view = choose_view(rng, chosen, width, height)
    margin = sheet_margin(width, height)
    canvas = draw_layout(rng, width + 2 * margin, height + 2 * margin, zoom)
    if defect_count is None:
        defect_count = max(1, round(DEFECTS_PER_MEGAPIXEL * width * height / zoom**2 / 1e6))
    good = canvas.copper()
    copper = good.copy()
    # Twice the margin: what a turn moves out of the picture at one end it moves in at the other.
    defects = add_defects(rng, canvas, copper, defect_count, 2 * margin, zoom)
    return Sheet(canvas, good, copper, defects, view, chosen)


def make_board(
    seed: int,
    width: int = 3840,
    height: int = 2160,
    *,
    zoom: float = 1.0,
    look: Look | None = None,
    defect_count: int | None = None,
) -> Board:
    """The board of `seed`: the same bytes every time.

    `zoom` scales every feature (1 is the size on a 4K picture), `look` fixes how it is shown
    (otherwise the seed decides), `defect_count` is how many defects are tried for (by default
    3 a megapixel at zoom 1); fewer are there when the board has no place for them.
    """
    rng = np.random.default_rng(seed)
    sheet = make_sheet(rng, width, height, zoom=zoom, look=look, defect_count=defect_count)
    drills = sheet.canvas.drills
    pixels = photograph(rng, sheet.copper, drills, sheet.view, sheet.look, zoom)
    boxes = [defect_box(defect, sheet.view, zoom) for defect in sheet.defects]
    return Board(
        pixels,
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array([defect.label for defect in sheet.defects], dtype=np.int64),
        sheet.look,
    )


def defect_box(defect: Defect, view: View, zoom: float) -> tuple[float, float, float, float]:
    """The box of the changed pixels as the picture shows them, grown by the rim."""
    corners = (defect.pixels[:, None, :] + np.array([(0, 0), (0, 1), (1, 0), (1, 1)])).reshape(-1, 2)
    shown = view.to_picture(corners.astype(np.float64))
    low, high = shown.min(axis=0) - RIM * zoom, shown.max(axis=0) + RIM * zoom
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
