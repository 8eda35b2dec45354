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
from training.evaluate import make_samples
from training.scoring import Truth
from training.seeds import EVALUATION_START

from tier_measure.errors import MeasureError

BOARDS = re.compile(r"boards:(\d+)(?::(\d+)x(\d+))?")
PICTURE_ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}


@dataclass(frozen=True)
class LabelledPicture:
    """A picture as a client would send it, and what it holds."""

    file: Path
    truth: Truth


@dataclass(frozen=True)
class LabelledSet:
    """Pictures in a fixed order, and in words where they are from."""

    text: str
    pictures: list[LabelledPicture]


def read_labelled(path: Path, labels: Sequence[str]) -> LabelledSet:
    """The labelled pictures at `path`, their labels as indexes of `labels`, the model's. Raises MeasureError for what
    cannot be read, and for a label that the model does not know.
    """
    if path.is_dir():
        found = LabelledSet(f"YOLO folder {path.name}", list(_yolo(path, labels)))
    elif path.suffix == ".json":
        document = _document(path)
        text = (document.get("info") or {}).get("description") or f"COCO file {path.name}"
        found = LabelledSet(text, list(_coco(path, document, labels)))
    else:
        raise MeasureError(f"--data {path}: must be a COCO file (.json), a YOLO folder, boards:N, or CSV for tables.")
    if not found.pictures:
        raise MeasureError(f"--data {path}: holds no labelled pictures.")
    return found


def draw_boards(data: str, folder: Path) -> Path | None:
    """For `boards:N` the boards of the evaluation as a COCO file in `folder`: drawing one takes a second, and every
    variant looks at them at every scale. None for other data.
    """
    if not (match := BOARDS.fullmatch(data)):
        return None
    count, width, height = int(match[1]), int(match[2] or 3840), int(match[3] or 2160)
    if not count:
        raise MeasureError("--data boards:0: at least one board is needed.")
    images, annotations = [], []
    for number, sample in enumerate(make_samples(count, width, height)):
        name = f"{number}.jpg"
        (folder / name).write_bytes(sample.body)
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for (x1, y1, x2, y2), label in zip(sample.board.boxes.tolist(), sample.board.labels.tolist(), strict=True):
            annotations.append({"image_id": number, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1]})
    path = folder / "boards.json"
    text = f"generated boards, {width} x {height} px, seeds {EVALUATION_START} and up"
    categories = [{"id": index, "name": label} for index, label in enumerate(LABELS)]
    document = {"info": {"description": text}, "categories": categories, "images": images, "annotations": annotations}
    path.write_text(json.dumps(document))
    return path


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MeasureError(f"{path} cannot be read as COCO annotations: {error}.") from None
    return document if isinstance(document, dict) else {}


def _coco(path: Path, document: dict[str, Any], labels: Sequence[str]) -> Iterator[LabelledPicture]:
    """Pictures lie beside the file, or in its `images` folder."""
    try:
        categories = {category["id"]: str(category["name"]) for category in document["categories"]}
        annotations: dict[Any, list[dict[str, Any]]] = {}
        for annotation in document["annotations"]:
            annotations.setdefault(annotation["image_id"], []).append(annotation)
        images = [(image, annotations.get(image["id"], [])) for image in document["images"]]
        for image, objects in images:
            yield _coco_picture(path, image, objects, categories, labels)
    except (KeyError, TypeError, ValueError) as error:
        raise MeasureError(f"{path} cannot be read as COCO annotations: {error!r}.") from None


def _coco_picture(
    path: Path,
    image: dict[str, Any],
    objects: list[dict[str, Any]],
    categories: dict[Any, str],
    labels: Sequence[str],
) -> LabelledPicture:
    places = (path.parent / image["file_name"], path.parent / "images" / image["file_name"])
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise MeasureError(f"{path} names the picture {image['file_name']}, which is not beside it.")
    corners = [(x, y, x + w, y + h) for x, y, w, h in (found["bbox"] for found in objects)]
    names = [categories[found["category_id"]] for found in objects]
    crowd = frozenset(row for row, found in enumerate(objects) if found.get("iscrowd"))
    indexes = [_index(name, labels, str(path)) for name in names]
    return LabelledPicture(file, _truth((image["width"], image["height"]), corners, indexes, crowd))


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
