"""Write boards as JPEG pictures with their defects in COCO form.

python -m training.boards --count 4 --seed 9000000 --out DIR
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from PIL import Image

from training.boards import LABELS, LOOKS, Board, make_board

JPEG_QUALITY = 90


def main(arguments: list[str] | None = None) -> None:
    """Draw `--count` boards from consecutive seeds into `--out`."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for number in range(options.count):
        seed = options.seed + number
        board = make_board(
            seed,
            options.width,
            options.height,
            zoom=options.zoom,
            look=options.look,
            defect_count=options.defects,
        )
        name = f"board-{seed:07d}.jpg"
        Image.fromarray(board.pixels).save(options.out / name, quality=JPEG_QUALITY)
        entries.append(_entry(number + 1, name, board))
        boxes.extend(_boxes(number + 1, len(boxes), board))
        print(f"{name}: {board.look}, {len(board.labels)} defects")
    (options.out / "annotations.json").write_text(json.dumps(_coco(entries, boxes), indent=1))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.boards", description=__doc__)
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--seed", type=int, default=9_000_000, help="the first board's seed")
    parser.add_argument("--width", type=int, default=3840)
    parser.add_argument("--height", type=int, default=2160)
    parser.add_argument("--zoom", type=float, default=1.0, help="scale of every feature")
    parser.add_argument("--look", choices=LOOKS, default=None, help="by default the seed decides")
    parser.add_argument("--defects", type=int, default=None, help="by default 3 a megapixel")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def _entry(number: int, name: str, board: Board) -> dict[str, Any]:
    height, width = board.pixels.shape
    entry = {"id": number, "file_name": name, "width": width, "height": height}
    return {**entry, "look": board.look}


def _boxes(image: int, already: int, board: Board) -> list[dict[str, Any]]:
    rows = []
    for index, (box, label) in enumerate(zip(board.boxes, board.labels, strict=True)):
        left, top, right, bottom = (round(float(edge), 2) for edge in box)
        width, height = round(right - left, 2), round(bottom - top, 2)
        rows.append(
            {
                "id": already + index + 1,
                "image_id": image,
                "category_id": int(label) + 1,
                "bbox": [left, top, width, height],
                "area": round(width * height, 2),
                "iscrowd": 0,
            }
        )
    return rows


def _coco(entries: list[dict[str, Any]], boxes: list[dict[str, Any]]) -> dict[str, Any]:
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(LABELS)]
    return {"images": entries, "annotations": boxes, "categories": categories}


if __name__ == "__main__":
    main()
