"""What `tiers jobs submit` writes: every reply as JSON, all objects in one CSV, the pictures with their boxes drawn."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_COLUMNS = ("picture", "label", "score", "x1", "y1", "x2", "y2", "error")
_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")


@dataclass(frozen=True)
class Outcome:
    """A picture, and the service's reply to it or why there is none."""

    picture: Path
    reply: bytes | None = None
    problem: dict[str, Any] = field(default_factory=dict)


def write_outcomes(outcomes: Sequence[Outcome], out: Path) -> None:
    """Write `results.csv`, `json/` and `annotated/` into the folder `out`."""
    for folder in ("json", "annotated"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    names = _names(outcomes)
    with (out / "results.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(_COLUMNS)
        for outcome in outcomes:
            if outcome.reply is None:
                rows.writerow([outcome.picture, *[""] * 6, outcome.problem.get("code")])
                continue
            (out / "json" / f"{names[outcome.picture]}.json").write_bytes(outcome.reply)
            detections = json.loads(outcome.reply).get("detections", [])
            rows.writerows([outcome.picture, found["label"], found["score"], *found["box"], ""] for found in detections)
            _annotate(outcome.picture, detections, out / "annotated" / f"{names[outcome.picture]}.jpg")


def _names(outcomes: Sequence[Outcome]) -> dict[Path, str]:
    """A file name for each picture; two of the same name in different folders get a number."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for outcome in outcomes:
        name, number = outcome.picture.stem, 1
        while name in taken:
            number += 1
            name = f"{outcome.picture.stem}-{number}"
        taken.add(name)
        names[outcome.picture] = name
    return names


def _annotate(picture: Path, detections: Sequence[dict[str, Any]], target: Path) -> None:
    """The picture as a person sees it (boxes are in those pixels), each label in a colour of its own."""
    # Loaded here alone: the other commands of `tiers` must not pay for it.
    from PIL import Image, ImageDraw, ImageOps  # noqa: PLC0415

    with Image.open(picture) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    draw = ImageDraw.Draw(upright)
    width = max(2, max(upright.size) // 800)
    labels = sorted({found["label"] for found in detections})
    for found in detections:
        colour = _COLOURS[labels.index(found["label"]) % len(_COLOURS)]
        x1, y1, x2, y2 = found["box"]
        draw.rectangle((x1, y1, x2, y2), outline=colour, width=width)
        draw.text(
            (x1, max(0, y1 - 6 * width)), f"{found['label']} {found['score']:.2f}", fill=colour, font_size=6 * width
        )
    upright.save(target, quality=90)
