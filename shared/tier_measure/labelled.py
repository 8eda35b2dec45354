"""Labelled pictures: a COCO file, a YOLO folder, or boards from the generator (`boards:40`, `boards:40:1280x960`)."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from training.boards import LABELS
from training.evaluate import make_samples, truth_of
from training.scoring import Truth
from training.seeds import EVALUATION_START

from tier_measure.errors import MeasureError

BOARDS = re.compile(r"boards:(\d+)(?::(\d+)x(\d+))?")
PICTURE_ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}


@dataclass(frozen=True)
class LabelledPicture:
    """A picture as a client would send it, and what it holds."""

    source: bytes | Path
    truth: Truth

    @property
    def body(self) -> bytes:
        """The encoded picture."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()


@dataclass(frozen=True)
class LabelledSet:
    """Pictures in a fixed order, and in words where they are from."""

    text: str
    pictures: list[LabelledPicture]


def read_labelled(data: str, labels: Sequence[str]) -> LabelledSet:
    """The labelled pictures that `data` names, their labels as indexes of `labels`, the model's. Raises MeasureError
    for what cannot be read, and for a label that the model does not know.
    """
    if match := BOARDS.fullmatch(data):
        return _boards(int(match[1]), int(match[2] or 3840), int(match[3] or 2160), labels)
    path = Path(data)
    if path.is_dir():
        found = LabelledSet(f"YOLO folder {path.name}", list(_yolo(path, labels)))
    elif path.suffix == ".json":
        found = LabelledSet(f"COCO file {path.name}", list(_coco(path, labels)))
    else:
        raise MeasureError(f"--data {data}: must be a COCO file (.json), a YOLO folder, boards:N, or CSV for tables.")
    if not found.pictures:
        raise MeasureError(f"--data {data}: holds no labelled pictures.")
    return found


def _boards(count: int, width: int, height: int, labels: Sequence[str]) -> LabelledSet:
    if not count:
        raise MeasureError("--data boards:0: at least one board is needed.")
    indexes = np.array([_index(label, labels, "boards") for label in LABELS])
    pictures = []
    for sample in make_samples(count, width, height):
        truth = truth_of(sample.board)
        truth = Truth(truth.width, truth.height, truth.boxes, indexes[truth.labels])
        pictures.append(LabelledPicture(sample.body, truth))
    return LabelledSet(f"generated boards, {width} x {height} px, seeds {EVALUATION_START} and up", pictures)


def _coco(path: Path, labels: Sequence[str]) -> Iterator[LabelledPicture]:
    """Pictures lie beside the file, or in its `images` folder."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        categories = {category["id"]: str(category["name"]) for category in document["categories"]}
        annotations: dict[Any, list[dict[str, Any]]] = {}
        for annotation in document["annotations"]:
            annotations.setdefault(annotation["image_id"], []).append(annotation)
        images = [(image, annotations.get(image["id"], [])) for image in document["images"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MeasureError(f"{path} cannot be read as COCO annotations: {error!r}.") from None
    for image, objects in images:
        places = (path.parent / image["file_name"], path.parent / "images" / image["file_name"])
        file = next((place for place in places if place.is_file()), None)
        if file is None:
            raise MeasureError(f"{path} names the picture {image['file_name']}, which is not beside it.")
        corners = [(x, y, x + w, y + h) for x, y, w, h in (found["bbox"] for found in objects)]
        names = [categories[found["category_id"]] for found in objects]
        crowd = frozenset(row for row, found in enumerate(objects) if found.get("iscrowd"))
        indexes = [_index(name, labels, str(path)) for name in names]
        yield LabelledPicture(file, _truth((image["width"], image["height"]), corners, indexes, crowd))


def _yolo(folder: Path, labels: Sequence[str]) -> Iterator[LabelledPicture]:
    """`x.jpg` with `x.txt` beside it, or `images/…/x.jpg` with `labels/…/x.txt`; a picture without one holds nothing.
    Each line is a class number and the middle, width and height of a box, relative to the picture.
    """
    indexes = [_index(name, labels, str(folder)) for name in _yolo_names(folder)] or list(range(len(labels)))
    for file in sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_ENDINGS):
        with Image.open(file) as image:
            width, height = image.size
        within = file.relative_to(folder)
        parts = ["labels" if part == "images" else part for part in within.parts]
        text = (folder.joinpath(*parts)).with_suffix(".txt")
        lines = text.read_text().splitlines() if text.is_file() else []
        boxes, found = [], []
        for number, line in enumerate(filter(None, map(str.strip, lines)), 1):
            try:
                index, (x, y, w, h) = int(line.split()[0]), map(float, line.split()[1:])
                found.append(indexes[index])
            except (ValueError, IndexError):
                raise MeasureError(f"{text}, line {number}: {line!r} is not `class x y width height`.") from None
            boxes.append(((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height))
        yield LabelledPicture(file, _truth((width, height), boxes, found))


def _yolo_names(folder: Path) -> list[str]:
    """Class names from `data.yaml` or `classes.txt`; empty where there is neither: then they are the model's labels."""
    if (path := folder / "data.yaml").is_file():
        names = yaml.safe_load(path.read_text()).get("names") or []
        return [str(names[key]) for key in sorted(names)] if isinstance(names, dict) else list(map(str, names))
    if (path := folder / "classes.txt").is_file():
        return [line.strip() for line in path.read_text().splitlines() if line.strip()]
    return []


def _truth(
    size: tuple[int, int],
    boxes: Sequence[tuple[float, float, float, float]],
    indexes: Sequence[int],
    crowd: frozenset[int] = frozenset(),
) -> Truth:
    return Truth(*size, np.array(boxes, np.float64).reshape(-1, 4), np.array(indexes, np.int64), crowd)


def _index(label: str, labels: Sequence[str], where: str) -> int:
    try:
        return list(labels).index(label)
    except ValueError:
        raise MeasureError(f"{where} has the label {label!r}, which the model does not: {', '.join(labels)}.") from None
