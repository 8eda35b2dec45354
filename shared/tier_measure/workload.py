"""What one answer is computed from: the same picture for every detector, rows for tables."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference_core.manifest import TABULAR_TASKS, Manifest
from PIL import Image
from training.boards import make_board

from loadtest.pictures import FIRST_SEED, JPEG_QUALITY
from tier_measure.errors import MeasureError

Row = dict[str, float | str | None]
BOARD_WIDTH, BOARD_HEIGHT = 3840, 2160


@dataclass(frozen=True)
class Workload:
    """A body for each kind of request, and in words what it is."""

    text: str
    picture: bytes
    rows: list[Row]

    def body(self, manifest: Manifest, rows: int | None) -> bytes:
        """What `predict` of the model is asked: the picture, or as many rows (those there are, over and over)."""
        if manifest.task not in TABULAR_TASKS:
            return self.picture
        known = self.rows or _golden_rows(manifest)
        columns = columns_of(manifest)
        try:
            asked = [{name: known[at % len(known)][name] for name in columns} for at in range(rows or 1)]
        except KeyError as error:
            raise MeasureError(f"The rows have no column {error}, which {manifest.name} takes.") from None
        return json.dumps({"rows": asked}).encode()


def board_workload() -> Workload:
    """A board of 4K that neither training nor evaluation draws."""
    file = io.BytesIO()
    Image.fromarray(make_board(FIRST_SEED, BOARD_WIDTH, BOARD_HEIGHT).pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    return _picture_workload("4K JPEG of a generated board", file.getvalue())


def file_workload(picture: Path) -> Workload:
    """The picture in a file. Raises MeasureError when it is none."""
    try:
        return _picture_workload(picture.name, picture.read_bytes())
    except OSError as error:  # Pillow's own error is one too
        raise MeasureError(f"{picture} is no picture: {error.strerror or error}.") from None


def _picture_workload(name: str, body: bytes) -> Workload:
    with Image.open(io.BytesIO(body)) as image:
        width, height = image.size
    return Workload(f"{name}, {width} x {height} px, {len(body) / 1e6:.1f} MB", body, [])


def rows_workload(manifests: Sequence[Manifest], data: Path | None, counts: Sequence[int]) -> Workload:
    """Rows of the CSV file `data`, or the golden rows of each model."""
    rows = read_rows(data) if data else []
    for manifest in manifests:
        if not rows:
            _golden_rows(manifest)
    *few, most = map(str, counts)
    count = f"{', '.join(few)} and {most} rows" if few else "1 row" if most == "1" else f"{most} rows"
    return Workload(f"{count} of {data.name if data else 'the golden rows'}, JSON", b"", rows)


def columns_of(manifest: Manifest) -> tuple[str, ...]:
    """What a tabular model takes, by name."""
    columns: tuple[str, ...] = getattr(manifest.input, "columns", ())
    return columns


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV file with a head: numbers where they are numbers, None where a cell is empty, else text."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [{name: _cell(text) for name, text in row.items()} for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MeasureError(f"{path} cannot be read as CSV: {error}.") from None
    if not rows:
        raise MeasureError(f"{path} holds no rows below its head.")
    return rows


def _cell(text: Any) -> float | str | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        return str(text)


def _golden_rows(manifest: Manifest) -> list[Row]:
    path = manifest.folder / "golden.json"
    try:
        rows: list[Row] = json.loads(path.read_text())["rows"]
    except (OSError, ValueError, KeyError):
        raise MeasureError(f"{manifest.name} has no golden rows to send; name a CSV file with --data.") from None
    return rows
